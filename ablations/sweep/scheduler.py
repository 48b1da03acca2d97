"""The loop: what waits goes to the executor, what ends is recorded."""

import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from ablations.study import InputError, Study, Trial, trials
from ablations.sweep.build import Recipe
from ablations.sweep.executors import Executor
from ablations.sweep.job import Job, Order, Rehearsal
from ablations.sweep.ledger import Ledger
from ablations.sweep.progress import Display
from ablations.sweep.tracking import Tracker
from ablations.workspace import State, Workspace, read_json, write_json

ATTEMPTS = 3
_MIRROR_SECONDS = 3.0


@dataclass
class Swept:
    """How a sweep ended."""

    done: int = 0
    failed: int = 0
    interrupted: bool = False
    errors: dict[str, str] = field(default_factory=dict)


def order_for(study: Study, arm: str, seed: int, trial: str, folder: Path, attempt: int) -> Order:
    """The order that makes a worker train a trial."""
    named = study.arm(arm)
    metrics = tuple(sorted({study.metric.logged, study.metric_of(arm).logged}))
    recipe = Recipe.of(study, named)
    return Order(recipe, seed, trial, folder, metrics, study.weights, study.threads, attempt)


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
        except BrokenProcessPool:
            error = InputError(
                "the worker died in the rehearsal (out of memory?)",
                file=study.file,
                key=f"arms.{arm}",
            )
            rehearsals[arm] = Rehearsal(arm, {}, (), None, None, error=error)
    return rehearsals


def waiting(study: Study, workspace: Workspace) -> list[Trial]:
    """The trials that have no result, each once though several arms may share it."""
    unique = {trial.id: trial for trial in trials(study)}
    states = workspace.states(set(unique))
    return [trial for trial in unique.values() if states[trial.id] not in ("done", "diverged")]


class Sweep:
    """One run of a study's waiting trials.

    Args:
        study: The study.
        workspace: Locked by the caller.
        executor: Where trials run.
        ledger: The record.
        tracker: The mirror.
        console: For the display.
    """

    def __init__(
        self,
        study: Study,
        workspace: Workspace,
        executor: Executor,
        ledger: Ledger,
        tracker: Tracker,
        console: Console,
    ) -> None:
        self.study = study
        self.workspace = workspace
        self.executor = executor
        self.ledger = ledger
        self.tracker = tracker
        self.console = console
        self.plan = trials(study)
        self.arms_of: dict[str, list[Trial]] = {}
        for trial in self.plan:
            self.arms_of.setdefault(trial.id, []).append(trial)
        self._mirrored = time.monotonic()

    def run(self, todo: Sequence[Trial], *, fail_fast: bool) -> Swept:
        """Launch every trial of ``todo``; a dead worker costs one attempt of one trial."""
        queue = deque((trial, 1) for trial in todo)
        running: dict[Future[Any], tuple[Trial, int]] = {}
        swept = Swept()
        capacity = self.executor.capacity
        with Display(self.console, len(todo), capacity) as display, _stop_signals():
            try:
                while queue or running:
                    while queue and len(running) < capacity:
                        trial, attempt = queue.popleft()
                        running[self._launch(trial, attempt)] = trial, attempt
                    ended, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
                    for future in ended:
                        trial, attempt = running.pop(future)
                        again = self._ended(trial, attempt, future, swept, display)
                        if again:
                            queue.appendleft((trial, attempt + 1))
                    if fail_fast and swept.failed:
                        queue.clear()
                    self._mirror_running([trial for trial, _ in running.values()])
            except KeyboardInterrupt:
                self._interrupt([trial for trial, _ in running.values()])
                swept.interrupted = True
        return swept

    def _launch(self, trial: Trial, attempt: int) -> "Future[Any]":
        folder = self.workspace.trial_folder(trial.id)
        arm = self.study.arm(trial.arm)
        order = order_for(self.study, trial.arm, trial.seed, trial.id, folder, attempt)
        self.ledger.launch(trial, arm.overrides)
        return self.executor.submit(Job((order,)))

    def _ended(
        self, trial: Trial, attempt: int, future: "Future[Any]", swept: Swept, display: Display
    ) -> bool:
        """Record how an attempt ended; True where it shall be tried again."""
        result = self.workspace.result(trial.id)
        folder = self.workspace.trial_folder(trial.id)
        died = future.exception()
        if result is None and died is not None and not isinstance(died, BrokenProcessPool):
            raise died
        self.ledger.finish(trial, result)
        if result is None and isinstance(died, BrokenProcessPool) and attempt < ATTEMPTS:
            display.line(f"  the worker of {trial.arm}, seed {trial.seed}, died; trying again")
            return True
        state: State = "failed"
        if result is not None:
            state = "diverged" if result["status"] == "diverged" else "done"
            swept.done += 1
            told, seconds = self._value(trial, result), float(result["seconds"])
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
        self.tracker.sync(self.arms_of[trial.id], {trial.id: state})
        width = max(len(arm.name) for arm in self.study.arms)
        display.trial_ended(trial.arm, trial.seed, told, seconds, width)
        return False

    def _value(self, trial: Trial, result: Mapping[str, Any]) -> str:
        name = self.study.metric_of(trial.arm).name
        value = result["metrics"].get(name)
        if result["status"] == "diverged" or value is None:
            return "diverged"
        return f"{name} {value:.4g}"

    def _mirror_running(self, running: Sequence[Trial]) -> None:
        if time.monotonic() - self._mirrored < _MIRROR_SECONDS:
            return
        self._mirrored = time.monotonic()
        started = [
            t for t in running if (self.workspace.trial_folder(t.id) / "metrics.csv").exists()
        ]
        for trial in started:
            self.tracker.sync(self.arms_of[trial.id], {trial.id: "running"})

    def _interrupt(self, running: Sequence[Trial]) -> None:
        self.executor.stop(kill=True)
        for trial in running:
            result = self.workspace.result(trial.id)
            self.ledger.finish(trial, result)
            state: State = "interrupted" if result is None else "done"
            self.tracker.sync(self.arms_of[trial.id], {trial.id: state})


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
