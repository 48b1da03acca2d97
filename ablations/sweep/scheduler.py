"""The loop: what waits goes to the executor, what ends is recorded."""

import errno
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from rich.console import Console

from ablations.study import Trial
from ablations.sweep.executors import Executor
from ablations.sweep.job import Job, Order, Outcome
from ablations.sweep.progress import Display
from ablations.workspace import State, Workspace, read_json, write_json

ATTEMPTS = 3


@dataclass
class Swept:
    """How a sweep ended.

    Attributes:
        interrupted: By a person or a signal.
        stopped: The option that ended it before all was trained.
        errors: The last of each arm.
    """

    done: int = 0
    failed: int = 0
    interrupted: bool = False
    stopped: str = ""
    errors: dict[str, str] = field(default_factory=dict)


class Work(Protocol):
    """What a sweep trains; it is told how each trial ended."""

    @property
    def took(self) -> Mapping[str, Sequence[float]]:
        """Seconds that each arm's finished trials took."""

    @property
    def left(self) -> Mapping[str, int]:
        """Each arm's trials that are planned now and have not ended."""

    def take(self) -> Trial | None:
        """The next trial to launch; None: none before one that runs has ended."""

    def others(self, trial: Trial, most: int, without: Set[str]) -> list[Trial]:
        """So many trials at most that can be fused with one that was taken; they are taken too.

        None are of the arms ``without``.
        """

    def launch(self, trial: Trial, attempt: int) -> Order:
        """Record that an attempt starts."""

    def ended(self, trial: Trial, result: Mapping[str, Any] | None, state: State | None) -> None:
        """Record how an attempt ended; without a state the trial is tried again."""

    def watch(self, running: Sequence[Trial]) -> None:
        """Look at the trials that run; called about once a second."""

    def named(self, trial: Trial) -> str:
        """The trial in a line of the display."""

    def value(self, trial: Trial, result: Mapping[str, Any]) -> str:
        """What came out of it."""


@dataclass(frozen=True)
class Budget:
    """How much one command may train.

    Attributes:
        trials: Launched at most; attempts of one trial count once.
        until: On the monotonic clock: when what runs is stopped, its checkpoints kept.
    """

    trials: int | None = None
    until: float | None = None

    @property
    def spent(self) -> bool:
        """Whether the time is over."""
        return self.until is not None and time.monotonic() >= self.until


class Sweep:
    """Runs work until there is none, the budget is spent, or somebody interrupts.

    Args:
        workspace: Locked by the caller.
        executor: Where trials run.
        console: For the display.
        budget: Of all that this sweep runs.
        timeout: Seconds without progress after which a trial's worker ends.
        fuse: Trials that are trained as one, at most.
    """

    def __init__(
        self,
        workspace: Workspace,
        executor: Executor,
        console: Console,
        budget: Budget,
        timeout: float | None = None,
        fuse: int = 1,
    ) -> None:
        self.workspace = workspace
        self.fuse = fuse
        self._alone: set[tuple[str, str]] = set()
        self._apart: set[str] = set()
        self.executor = executor
        self.console = console
        self.budget = budget
        self.swept = Swept()
        self.timeout = timeout
        self._launched: set[str] = set()
        self._deaths: Counter[str] = Counter()

    def run(self, work: Work, *, fail_fast: bool) -> Swept:
        """Launch what the work gives; a dead worker costs an attempt of each trial in its job.

        Returns:
            How this and all former runs of the sweep ended.
        """
        again: deque[tuple[Trial, int]] = deque()
        running: dict[Future[Any], list[tuple[Trial, int]]] = {}
        swept = self.swept
        with Display(self.console, self.executor.abreast) as display, _stop_signals():
            try:
                while True:
                    while len(running) < self.executor.capacity and not self.budget.spent:
                        if again:
                            group = [again.popleft()]
                        elif not (fail_fast and swept.failed) and (
                            found := self._take(work, swept)
                        ):
                            group = [(trial, 1) for trial in (found, *self._others(work, found))]
                        else:
                            break
                        display.plan(work.left)
                        running[self._launch(work, group)] = group
                    if self.budget.spent:
                        swept.stopped = "--max-hours"
                        self._interrupt(work, _trials(running))
                        break
                    if not running:
                        break
                    ended, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
                    for future in ended:
                        group = running.pop(future)
                        # The file lies with the first of those that are fused.
                        hung = any(self._hang(trial) for trial, _ in group)
                        for trial, attempt in group:
                            if self._ended(work, trial, attempt, future, hung, display):
                                again.append((trial, attempt + 1))
                    if fail_fast and swept.failed:
                        again.clear()
                    work.watch(_trials(running))
            except KeyboardInterrupt:
                self._interrupt(work, _trials(running))
                swept.interrupted = True
            except Exception:
                # The ledger is left as it is: on a full disk it may end in half a line.
                self.executor.stop(kill=True)
                raise
        return swept

    def _take(self, work: Work, swept: Swept) -> Trial | None:
        most = self.budget.trials
        if most is not None and len(self._launched) >= most:
            swept.stopped = "--max-trials"
            return None
        return work.take()

    def _others(self, work: Work, trial: Trial) -> list[Trial]:
        """What is fused with a trial: no more than leaves work for every worker."""
        left, most = sum(work.left.values()), self.budget.trials
        share = -(-left // self.executor.capacity)
        room = share if most is None else min(share, most - len(self._launched))
        # A checkpoint is of one trial.
        if self._lies(trial) or min(self.fuse, room) < 2 or trial.arm in self._apart:
            return []
        return work.others(trial, min(self.fuse, room) - 1, self._apart)

    def _lies(self, trial: Trial) -> bool:
        return (self.workspace.trial_folder(trial.id) / "checkpoint.ckpt").exists()

    def _launch(self, work: Work, group: Sequence[tuple[Trial, int]]) -> "Future[Any]":
        self._launched.update(trial.id for trial, _ in group)
        orders = [replace(work.launch(*each), timeout=self.timeout) for each in group]
        return self.executor.submit(Job(tuple(orders), fused=len(orders) > 1))

    def _ended(
        self,
        work: Work,
        trial: Trial,
        attempt: int,
        future: "Future[Any]",
        hung: bool,
        display: Display,
    ) -> bool:
        """Record how an attempt ended; True where it shall be tried again."""
        swept = self.swept
        result = self.workspace.result(trial.id)
        folder = self.workspace.trial_folder(trial.id)
        died = future.exception()
        if result is None and died is not None and not isinstance(died, BrokenExecutor):
            raise died
        if result is None and (why := self._tried_again(trial, hung, future)):
            work.ended(trial, None, None)
            display.line(f"  {work.named(trial)}  {why}")
            return True
        state: State = "failed"
        if result is not None:
            state = "diverged" if result["status"] == "diverged" else "done"
            swept.done += 1
            told, seconds = work.value(trial, result), float(result["seconds"])
        else:
            swept.failed += 1
            failure = read_json(folder / "failure.json")
            if failure is None:
                failure = self._death_notice(trial, attempt)
                write_json(folder / "failure.json", failure)
            told, seconds = f"failed: {failure['error']}", 0.0
            swept.errors[trial.arm] = str(failure["error"])
        work.ended(trial, result, state)
        self._note_alone(trial, future, display)
        display.trial_ended(work.named(trial), told, seconds, work.left, work.took)
        return False

    def _tried_again(self, trial: Trial, hung: bool, future: "Future[Any]") -> str:
        """Why a trial without a result shall be tried again; empty where it shall not."""
        outcome = _outcome(trial, future)
        if outcome is not None:
            if outcome.status == "no space":
                full = errno.ENOSPC, os.strerror(errno.ENOSPC)
                raise OSError(*full, str(self.workspace.trial_folder(trial.id)))
            return "was told to end; going on with it" if outcome.status == "preempted" else ""
        self._deaths[trial.id] += 1
        if self._deaths[trial.id] == ATTEMPTS:
            return ""
        return f"the worker {'made no progress' if hung else 'died'}; trying again"

    def _note_alone(self, trial: Trial, future: "Future[Any]", display: Display) -> None:
        """Say once of each arm why its seeds were not fused, and fuse no more if none can be."""
        outcome = _outcome(trial, future)
        if outcome is not None and outcome.apart:
            self._apart.add(trial.arm)
        if outcome is not None and outcome.alone and (trial.arm, outcome.alone) not in self._alone:
            self._alone.add((trial.arm, outcome.alone))
            display.line(f"  {trial.arm}: seed {trial.seed} trained alone: {outcome.alone}")

    def _death_notice(self, trial: Trial, attempt: int) -> dict[str, Any]:
        hang, times = self._hang(trial), self._deaths[trial.id]
        died = f"the worker died {times} times (out of memory?)"
        return {
            "error": f"no progress for {self.timeout:g} s, {times} times" if hang else died,
            "traceback": hang,
            "attempts": attempt,
            "time": time.time(),
        }

    def _hang(self, trial: Trial) -> str:
        """Where each thread was when a worker ended itself for want of progress; else empty."""
        file = self.workspace.trial_folder(trial.id) / "hang.txt"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def _interrupt(self, work: Work, running: Sequence[Trial]) -> None:
        self.executor.stop(kill=True)
        for trial in running:
            result = self.workspace.result(trial.id)
            work.ended(trial, result, "interrupted" if result is None else "done")


def _trials(running: Mapping[Any, Sequence[tuple[Trial, int]]]) -> list[Trial]:
    return [trial for group in running.values() for trial, _ in group]


def _outcome(trial: Trial, future: "Future[Any]") -> Outcome | None:
    """What the worker said of a trial; None: it died."""
    if future.exception() is not None:
        return None
    told: Outcome = next(each for each in future.result() if each.trial == trial.id)
    return told


@contextmanager
def _stop_signals() -> Iterator[None]:
    """Let SIGTERM stop a sweep as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
