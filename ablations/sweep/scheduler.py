"""The loop: what waits goes to the executor, what ends is recorded."""

import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from ablations.study import InputError, Study, Trial
from ablations.sweep.build import Recipe
from ablations.sweep.executors import Executor
from ablations.sweep.executors.placement import devices_of
from ablations.sweep.job import Job, Order, Rehearsal
from ablations.sweep.progress import Display
from ablations.sweep.weights import started
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


def order_for(study: Study, arm: str, seed: int, trial: str, folder: Path, attempt: int) -> Order:
    """The order that makes a worker train a trial."""
    named = study.arm(arm)
    metrics = tuple(sorted({study.metric.logged, study.metric_of(arm).logged}))
    recipe = started(Recipe.of(study, named), study.sources.get(arm), seed, folder.parent)
    return Order(
        recipe,
        seed,
        trial,
        folder,
        metrics,
        study.weights,
        study.threads,
        attempt,
        study.keep_weights,
        devices=devices_of(study, named),
    )


def rehearse_arms(study: Study, arms: Sequence[str], executor: Executor) -> dict[str, Rehearsal]:
    """Rehearse arms in the workers, each on one batch."""
    futures: dict[str, Future[Any]] = {}
    for arm in arms:
        order = order_for(study, arm, study.seeds[0], "rehearsal", Path("."), 1)
        futures[arm] = executor.submit(Job((order,), rehearse=True))
    rehearsals = {}
    for arm, future in futures.items():
        try:
            rehearsals[arm] = future.result()[0]
        except BrokenExecutor:
            error = InputError(
                "the worker died in the rehearsal (out of memory?)",
                file=study.file,
                key=f"arms.{arm}",
            )
            rehearsals[arm] = Rehearsal(arm, {}, (), None, None, error=error)
    return rehearsals


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
    """

    def __init__(
        self, workspace: Workspace, executor: Executor, console: Console, budget: Budget
    ) -> None:
        self.workspace = workspace
        self.executor = executor
        self.console = console
        self.budget = budget
        self.swept = Swept()
        self._launched: set[str] = set()

    def run(self, work: Work, *, fail_fast: bool) -> Swept:
        """Launch what the work gives; a dead worker costs one attempt of one trial.

        Returns:
            How this and all former runs of the sweep ended.
        """
        again: deque[tuple[Trial, int]] = deque()
        running: dict[Future[Any], tuple[Trial, int]] = {}
        swept = self.swept
        with Display(self.console, self.executor.capacity) as display, _stop_signals():
            try:
                while True:
                    while len(running) < self.executor.capacity and not self.budget.spent:
                        if again:
                            trial, attempt = again.popleft()
                        elif not (fail_fast and swept.failed) and (
                            found := self._take(work, swept)
                        ):
                            trial, attempt = found, 1
                        else:
                            break
                        display.plan(work.left)
                        running[self._launch(work, trial, attempt)] = trial, attempt
                    if self.budget.spent:
                        swept.stopped = "--max-hours"
                        self._interrupt(work, [trial for trial, _ in running.values()])
                        break
                    if not running:
                        break
                    ended, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
                    for future in ended:
                        trial, attempt = running.pop(future)
                        if self._ended(work, trial, attempt, future, swept, display):
                            again.append((trial, attempt + 1))
                    if fail_fast and swept.failed:
                        again.clear()
                    work.watch([trial for trial, _ in running.values()])
            except KeyboardInterrupt:
                self._interrupt(work, [trial for trial, _ in running.values()])
                swept.interrupted = True
        return swept

    def _take(self, work: Work, swept: Swept) -> Trial | None:
        most = self.budget.trials
        if most is not None and len(self._launched) >= most:
            swept.stopped = "--max-trials"
            return None
        return work.take()

    def _launch(self, work: Work, trial: Trial, attempt: int) -> "Future[Any]":
        self._launched.add(trial.id)
        return self.executor.submit(Job((work.launch(trial, attempt),)))

    def _ended(
        self,
        work: Work,
        trial: Trial,
        attempt: int,
        future: "Future[Any]",
        swept: Swept,
        display: Display,
    ) -> bool:
        """Record how an attempt ended; True where it shall be tried again."""
        result = self.workspace.result(trial.id)
        folder = self.workspace.trial_folder(trial.id)
        died = future.exception()
        if result is None and died is not None and not isinstance(died, BrokenExecutor):
            raise died
        if result is None and isinstance(died, BrokenExecutor) and attempt < ATTEMPTS:
            work.ended(trial, None, None)
            display.line(f"  {work.named(trial)}  the worker died; trying again")
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
                failure = {
                    "error": f"the worker died {attempt} times (out of memory?)",
                    "traceback": "",
                    "attempts": attempt,
                    "time": time.time(),
                }
                write_json(folder / "failure.json", failure)
            told, seconds = f"failed: {failure['error']}", 0.0
            swept.errors[trial.arm] = str(failure["error"])
        work.ended(trial, result, state)
        display.trial_ended(work.named(trial), told, seconds, work.left, work.took)
        return False

    def _interrupt(self, work: Work, running: Sequence[Trial]) -> None:
        self.executor.stop(kill=True)
        for trial in running:
            result = self.workspace.result(trial.id)
            work.ended(trial, result, "interrupted" if result is None else "done")


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
