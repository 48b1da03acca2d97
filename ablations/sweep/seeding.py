"""The seeds of one or more studies: which trials are wanted now, and what each look decided."""

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.study import Study, Trial, trials, wanted_trials
from ablations.sweep.job import Order
from ablations.sweep.ledger import Ledger
from ablations.sweep.orders import order_for
from ablations.sweep.tracking import Tracker
from ablations.workspace import State, Workspace, write_atomic

MIRROR_SECONDS = 3.0


@dataclass(frozen=True)
class Part:
    """A study in a sweep, with its records.

    Attributes:
        wanted: How many seeds each arm should have by what has ended so far.
        mark: Stands behind the names of its arms where a sweep has several parts.
    """

    study: Study
    ledger: Ledger
    tracker: Tracker
    wanted: Callable[[], Mapping[str, int]]
    mark: str = ""


class Seeds:
    """Trials seed by seed over all parts: a sweep that fuses none is balanced when it is stopped.

    Args:
        parts: Of equal seeds; equal trials of several are trained once.
        workspace: Where they are.
        say: Prints a line.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        workspace: Workspace,
        say: Callable[[str], None],
    ) -> None:
        self.parts = parts
        self.workspace = workspace
        self.took: dict[str, list[float]] = {}
        self.left: Counter[str] = Counter()
        self._say = say
        self._serves: dict[str, list[tuple[Part, Trial]]] = {}
        for part in parts:
            for trial in trials(part.study):
                self._serves.setdefault(trial.id, []).append((part, trial))
        for key in self._serves:
            result = workspace.result(key)
            if result is not None:
                self.took.setdefault(self._arm(key), []).append(float(result["seconds"]))
        self._queue: deque[Trial] = deque()
        self._open: set[str] = set()
        self._ended: set[str] = set()
        self._asked = False
        self._told = {part.study.name: workspace.arms(part.study.name) for part in parts}
        self._mirrored = time.monotonic()

    def take(self) -> Trial | None:
        """The next trial; when a look is complete, those of the next one."""
        if not self._queue and not self._open:
            self._look()
        if not self._queue:
            return None
        trial = self._queue.popleft()
        self._open.add(trial.id)
        return trial

    def others(self, trial: Trial, most: int, without: Set[str]) -> list[Trial]:
        """Waiting trials of the same arm, then of arms alike; nothing was begun of them."""
        part, own = self._serves[trial.id][0]
        if own.arm in part.study.sources:
            return []
        kind, arm = self._kind(trial.id), self._arm(trial.id)
        waits = (other for other in self._queue if other.arm not in without)
        alike = [other for other in waits if self._kind(other.id) == kind]
        alike.sort(key=lambda other: (self._arm(other.id) != arm, self._arm(other.id)))
        found: list[Trial] = []
        for other in alike:
            begun = (self.workspace.trial_folder(other.id) / "checkpoint.ckpt").exists()
            if not begun and len(found) < most:
                found.append(other)
        for other in found:
            self._queue.remove(other)
            self._open.add(other.id)
        return found

    def _kind(self, key: str) -> tuple[Any, ...]:
        """The same for arms that may fit into one stack.

        They have as many parameters, and only settings of the modules that differ.
        """
        part, trial = self._serves[key][0]
        told = self._told[part.study.name].get(trial.arm)
        if told is None:
            return part.study.name, trial.arm
        other = {
            name: values
            for name, values in told["changes"].items()
            if not name.startswith(("model.", "data.")) or name.endswith("class_path")
        }
        return part.study.name, told["parameters"], str(other)

    def _look(self) -> None:
        if self._asked and all(part.study.plan is None for part in self.parts):
            return
        self._asked = True
        missing: dict[str, Trial] = {}
        for part in self.parts:
            wants = part.wanted()
            own = waiting(part.study, self.workspace, wants, self._ended)
            if part.study.plan is not None:
                file = self.workspace.study_folder(part.study.name) / "decisions.jsonl"
                for line in note_look(file, part.study, wants, complete=not own):
                    self._say(line + part.mark)
            missing |= {trial.id: trial for trial in own}
        at = {seed: number for number, seed in enumerate(self.parts[0].study.seeds)}
        self.left.update(self._arm(key) for key in missing)
        self._queue.extend(sorted(missing.values(), key=lambda trial: at[trial.seed]))

    def launch(self, trial: Trial, attempt: int) -> Order:
        """Record that an attempt starts."""
        part, own = self._serves[trial.id][0]
        part.ledger.launch(own, part.study.arm(own.arm).overrides)
        folder = self.workspace.trial_folder(own.id)
        return order_for(part.study, own.arm, own.seed, own.id, folder, attempt)

    def ended(self, trial: Trial, result: Mapping[str, Any] | None, state: State | None) -> None:
        """Record how an attempt ended, for every part and arm that it serves."""
        (first, own), *others = self._serves[trial.id]
        first.ledger.finish(own, result)
        if state is None:
            return
        self._open.discard(trial.id)
        self._ended.add(trial.id)
        self.left[self._arm(trial.id)] -= 1
        if result is not None:
            self.took.setdefault(self._arm(trial.id), []).append(float(result["seconds"]))
            for part, same in others:
                if part is not first:
                    part.ledger.record(same, result)
        self._sync(trial.id, state)

    def watch(self, running: Sequence[Trial]) -> None:
        """Mirror the metrics of what runs, now and then."""
        if time.monotonic() - self._mirrored < MIRROR_SECONDS:
            return
        self._mirrored = time.monotonic()
        for trial in running:
            if (self.workspace.trial_folder(trial.id) / "metrics.csv").exists():
                self._sync(trial.id, "running")

    def _sync(self, key: str, state: State) -> None:
        for part in self.parts:
            served = [trial for other, trial in self._serves[key] if other is part]
            if served:
                part.tracker.sync(served, {key: state})

    def named(self, trial: Trial) -> str:
        """Arm and seed."""
        arms = (arm.name + part.mark for part in self.parts for arm in part.study.arms)
        return f"{self._arm(trial.id):<{max(map(len, arms))}}  seed {trial.seed:<3}"

    def value(self, trial: Trial, result: Mapping[str, Any]) -> str:
        """The metric that the arm is judged by, as it was last logged."""
        part, own = self._serves[trial.id][0]
        name = part.study.metric_of(own.arm).logged
        value = result["metrics"].get(name)
        if result["status"] == "diverged" or value is None:
            return "diverged"
        return f"{name} {value:.4g}"

    def _arm(self, key: str) -> str:
        part, trial = self._serves[key][0]
        return trial.arm + part.mark


def waiting(
    study: Study, workspace: Workspace, wanted: Mapping[str, int], ended: set[str] | None = None
) -> list[Trial]:
    """The wanted trials that have no result, each once though several arms may share it.

    Args:
        study: The study.
        workspace: Where it is.
        wanted: Seeds of each arm.
        ended: Ids that shall not be tried again, whatever became of them.
    """
    unique = {trial.id: trial for trial in wanted_trials(study, wanted)}
    states = workspace.states(set(unique) - (ended or set()))
    return [unique[key] for key in unique if states.get(key, "done") not in ("done", "diverged")]


def note_look(file: Path, study: Study, wants: Mapping[str, int], *, complete: bool) -> list[str]:
    """Write down what a look decided, once however often it is asked, and say it.

    Args:
        file: A line of JSON for each look: ``time``, ``look`` (its seeds) and what each arm
            ``wants`` from then on.
        study: Whose arms they are; it has a plan.
        wants: Seeds that each arm should have now.
        complete: Whether all of these have ended.

    Returns:
        A line for each arm that was open before the look.
    """
    assert study.plan is not None
    written = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    last: dict[str, Any] = json.loads(written[-1]) if written else {"look": 0, "wants": {}}
    before: dict[str, int] = last["wants"]
    if before.keys() != wants.keys():
        before = dict.fromkeys(wants, study.plan.start)
    look = max(before.values())
    if before == wants and (not complete or last["look"] == look):
        return []
    record = {"time": time.time(), "look": look, "wants": dict(wants)}
    write_atomic(file, "".join(f"{line}\n" for line in (*written, json.dumps(record))))
    lines = []
    for arm, now in wants.items():
        if arm == study.baseline or before[arm] < look or now < look:
            continue
        if now > look:
            lines.append(f"{arm}: {look} seeds, undecided → {now}")
        elif look >= study.plan.max:
            lines.append(f"{arm}: {look} seeds, the most that are planned")
        else:
            lines.append(f"{arm}: decided at {look} seeds")
    return lines
