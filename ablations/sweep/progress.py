"""What a person sees while a sweep runs: bars on a terminal, plain lines elsewhere."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from statistics import fmean
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
        abreast: How many trials run at once, for the time left.
    """

    def __init__(self, console: Console, abreast: int) -> None:
        self.console = console
        self.abreast = abreast
        self.total = 0
        self.ended = 0
        self._bars: Progress | None = None
        self._sweep: Any = None

    def __enter__(self) -> "Display":
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
            self._sweep = self._bars.add_task("trials", total=None, left="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def line(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def plan(self, left: Mapping[str, int]) -> None:
        """Take these, for each arm its trials that have not ended, for what is to come."""
        self.total = self.ended + sum(left.values())
        if self._bars is not None:
            self._bars.update(self._sweep, total=self.total)

    def trial_ended(
        self,
        name: str,
        told: str,
        seconds: float,
        left: Mapping[str, int],
        took: Mapping[str, Sequence[float]],
    ) -> None:
        """One trial ended; `left` and `took` as of :func:`seconds_left`."""
        self.ended += 1
        total = seconds_left(left, took)
        rest = "" if total is None else duration(total / min(self.abreast, sum(left.values())))
        rest = rest and f"about {rest} left"
        number = f"{self.ended:>{len(str(self.total))}}/{self.total}"
        tail = f"  {rest}" if self._bars is None and rest else ""
        self.line(f"  {number}  {name} {told}  {seconds:.1f} s{tail}")
        if self._bars is not None:
            self._bars.update(self._sweep, completed=self.ended, left=rest)


def seconds_left(left: Mapping[str, int], took: Mapping[str, Sequence[float]]) -> float | None:
    """What trials will take one worker, by those that have ended; None: nothing to go by.

    Args:
        left: Each arm's trials that have not ended.
        took: Seconds of each arm's finished trials; other arms' count where it has none.
    """
    known = [seconds for each in took.values() for seconds in each]
    if not known or not any(left.values()):
        return None
    mean = fmean(known)
    return sum(n * (fmean(took[arm]) if took.get(arm) else mean) for arm, n in left.items())


def duration(seconds: float) -> str:
    """A time as a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def phase(console: Console, text: str) -> AbstractContextManager[Any]:
    """Something short that is under way: a spinner on a terminal, else a line."""
    if console.is_terminal:
        return console.status(text)
    console.print(text, markup=False, highlight=False)
    return nullcontext()
