"""The end of a process that has imported much."""

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import suppress


def leave_quickly() -> Callable[[int], None]:
    """End this process once its exit handlers have run, its modules as they are.

    Taking torch or MLflow apart takes a second or two, for nothing. To be called before they are
    imported, since handlers run in reverse order.

    Returns:
        What has to be told the exit code; untold, the process ends as any other.
    """
    codes: list[int] = []

    def leave() -> None:
        if codes:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(codes[-1])

    atexit.register(leave)
    return codes.append
