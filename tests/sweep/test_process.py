import resource

import pytest
import torch

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
