import resource

import pytest
import torch

from ablations.sweep import process
from ablations.sweep.process import keep_freed_memory


def fresh_pages(times: int) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(1 << 21)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_block_that_was_freed_serves_again_with_its_pages():
    keep_freed_memory()
    pages = 4 * (1 << 21) // resource.getpagesize()
    if (first := fresh_pages(1)) < pages / 2:
        pytest.skip(f"pages here are large: {first} of {pages}")
    fresh_pages(20)  # an aligned block fits into one that was freed only by and by
    assert fresh_pages(10) < 2 * pages


@pytest.mark.parametrize("largest", [1 << 30, 1 << 25, 0])
def test_an_old_library_that_refuses_large_thresholds_is_told_what_it_takes(monkeypatch, largest):
    class Library:
        def __init__(self, name):
            taken.clear()

        def malloc_trim(self, pad):
            return 1

        def mallopt(self, option, value):
            if option == process._MMAP_THRESHOLD and value > largest:
                return 0
            taken.append((option, value))
            return 1

    taken = []
    monkeypatch.setattr(process.ctypes, "CDLL", Library)
    monkeypatch.setattr(process.sys, "platform", "linux")
    keep_freed_memory()
    both = [(process._MMAP_THRESHOLD, largest), (process._TRIM_THRESHOLD, 1 << 30)]
    assert taken == (both if largest else [])
