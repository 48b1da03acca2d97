"""What a person sees while a sweep runs: bars on a terminal, plain lines elsewhere."""

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)


class Display(AbstractContextManager["Display"]):
    """One bar for the sweep, one line for each trial that ends.

    Args:
        console: Where to write.
        total: Trials to run.
        capacity: How many run at once, for the time left.
    """

    def __init__(self, console: Console, total: int, capacity: int) -> None:
        self.console = console
        self.total = total
        self.capacity = capacity
        self.ended = 0
        self._started = time.monotonic()
        self._bars: Progress | None = None
        self._sweep: Any = None

    def __enter__(self) -> "Display":
        self._started = time.monotonic()
        if self.console.is_terminal:
            self._bars = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                console=self.console,
                transient=True,
            )
            self._bars.start()
            self._sweep = self._bars.add_task("trials", total=self.total, left="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def line(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def trial_ended(self, arm: str, seed: int, told: str, seconds: float, width: int) -> None:
        """One trial ended."""
        self.ended += 1
        left = self._left()
        number = f"{self.ended:>{len(str(self.total))}}/{self.total}"
        tail = f"  {left}" if self._bars is None and left else ""
        self.line(f"  {number}  {arm:<{width}}  seed {seed:<3} {told}  {seconds:.1f} s{tail}")
        if self._bars is not None:
            self._bars.update(self._sweep, completed=self.ended, left=left)

    def _left(self) -> str:
        remaining = self.total - self.ended
        if remaining <= 0 or self.ended < self.capacity:
            return ""
        seconds = (time.monotonic() - self._started) / self.ended * remaining
        if seconds < 90:
            return f"about {seconds:.0f} s left"
        return f"about {seconds / 60:.0f} min left"


def phase(console: Console, text: str) -> AbstractContextManager[Any]:
    """Something short that is under way: a spinner on a terminal, else a line."""
    if console.is_terminal:
        return console.status(text)
    console.print(text, markup=False, highlight=False)
    return nullcontext()
