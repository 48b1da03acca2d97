"""What a worker's process does around a trial: output to its log, an end when it hangs."""

import ctypes
import faulthandler
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# A worker that is new has libraries to import before its first batch.
START_SECONDS = 60.0
# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Have malloc use freed blocks again, however large; what is free now goes back to the system.

    Left alone it gives each large block back and asks for it afresh at the next step, and a system
    takes long to clear pages: see docs/performance.md. Only glibc is told.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.malloc_trim(0)
        # Before 2.35 it takes 32 MiB at most. Trimming alone would freeze what it adapts by itself.
        if any(library.mallopt(_MMAP_THRESHOLD, most) for most in (1 << 30, 1 << 25)):
            library.mallopt(_TRIM_THRESHOLD, 1 << 30)


@contextmanager
def no_longer_than(seconds: float | None, folder: Path) -> Iterator[Callable[[], None]]:
    """End this process once it makes no progress; hang.txt then says where each thread was.

    The timer is no Python thread, so that a call which never gives back the interpreter's lock is
    ended too. What is yielded tells it of progress.
    """
    file = folder / "hang.txt"
    if seconds is None:
        yield lambda: None
        return
    told = 0.0

    def progressed() -> None:
        nonlocal told
        if time.monotonic() - told > seconds / 10:
            told = time.monotonic()
            faulthandler.dump_traceback_later(seconds, exit=True, file=log)

    with file.open("w") as log:
        faulthandler.dump_traceback_later(max(seconds, START_SECONDS), exit=True, file=log)
        try:
            yield progressed
        finally:
            faulthandler.cancel_dump_traceback_later()
    file.unlink(missing_ok=True)


@contextmanager
def output_to(log: Path) -> Iterator[None]:
    """Send everything printed, by C code too, to a file."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    saved = os.dup(1), os.dup(2)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(file, 1)
        os.dup2(file, 2)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (file, *saved):
            os.close(descriptor)
