"""The stage before the seeds: every arm gets the same number of tries to find its settings."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from ablations.study import Study, Trial
from ablations.study.tuning import (
    TuningTrial,
    as_written,
    space_of,
    stage_key,
    stage_of,
    told,
    tuned_arms,
    tuning_trial,
    value_of,
    with_settings,
)
from ablations.sweep.entries import rows_of
from ablations.sweep.job import Order
from ablations.sweep.ledger import Ledger, Try, Tuner
from ablations.sweep.orders import order_for
from ablations.sweep.seeding import MIRROR_SECONDS
from ablations.sweep.tracking import Tracker
from ablations.workspace import State, Workspace, read_json, write_json


@dataclass
class _Arm:
    """One arm's tuning.

    Attributes:
        known: What was tried before, in order: ``id``, ``settings`` and, once it ended, ``state``,
            ``value`` and ``epochs``.
        settled: Whether all that is known had ended, so that none of it is tried again.
        asked: What is tried now, likewise.
        chosen: The number of the best, once all have ended; None: none had a value.
    """

    tuner: Tuner
    key: str
    known: list[dict[str, Any]] = field(default_factory=list)
    settled: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)
    chosen: int | None = None
    complete: bool = False


class Tuning:
    """Tries of all arms in turn.

    What is tried is written to ``tuning.json`` beside the study before it trains, and what came of
    it when it ended. A try whose folder has a result is not trained again.

    Args:
        study: One with a stage.
        workspace: Where it is.
        ledger: The study's.
        tracker: The study's.
        say: Prints a line.
    """

    def __init__(
        self,
        study: Study,
        workspace: Workspace,
        ledger: Ledger,
        tracker: Tracker,
        say: Callable[[str], None],
    ) -> None:
        self.study = study
        self.workspace = workspace
        self.tracker = tracker
        self.stage, self.metric = stage_of(study)
        self.took: dict[str, list[float]] = {}
        self._say = say
        self._lines: list[str] = []
        self._tries: dict[str, Try] = {}
        self._failed: set[str] = set()
        self._mirrored = time.monotonic()
        self._file = workspace.study_folder(study.name) / "tuning.json"
        self._arms: dict[str, _Arm] = {}
        for name in tuned_arms(study):
            tuner = Tuner(self.stage, name, space_of(study, name), self.metric, ledger)
            arm = self._arms[name] = _Arm(tuner, stage_key(study, name))
            known = (read_json(self._file) or {}).get(name, {})
            if known.get("key") == arm.key:
                arm.known, arm.settled = known["trials"], known["complete"]
        self.left = Counter(dict.fromkeys(self._arms, self.stage.trials))

    def others(self, trial: Trial, most: int, without: Set[str]) -> list[Trial]:
        """None: tries differ in their settings."""
        return []

    def take(self) -> TuningTrial | None:
        """The next try, of the arm that had the fewest."""
        try:
            for name, arm in sorted(self._arms.items(), key=lambda item: len(item[1].asked)):
                while len(arm.asked) < self.stage.trials and arm.tuner.ready(len(arm.asked)):
                    trial, tried = self._ask(name, arm)
                    if trial.id in self._tries:
                        break  # what is to be tried is being tried
                    self._tries[trial.id] = tried
                    arm.asked.append({"id": trial.id, "settings": tried.settings})
                    result = self.workspace.result(trial.id)
                    if result is not None:
                        self.tracker.sync([trial], {trial.id: "done"})
                    elif not (trial.id in self._failed or self._settled(arm, trial)):
                        self._save()
                        return trial
                    self._note(trial, result)
            return None
        finally:
            self._speak()

    def _ask(self, name: str, arm: _Arm) -> tuple[TuningTrial, Try]:
        number = len(arm.asked)
        settings = arm.known[number]["settings"] if number < len(arm.known) else None
        if settings is None and number == 0:
            settings = as_written(self.study, name)
        tried = arm.tuner.open(number, settings)
        return tuning_trial(self.study, name, number, tried.settings), tried

    def _settled(self, arm: _Arm, trial: TuningTrial) -> bool:
        return arm.settled and trial.number < len(arm.known)

    def launch(self, trial: Trial, attempt: int) -> Order:
        """The order to train a try, without the test set."""
        own = _own(trial)
        folder = self.workspace.trial_folder(own.id)
        (folder / "stop").unlink(missing_ok=True)
        study = with_settings(self.study, {own.arm: own.settings})
        order = order_for(study, own.arm, own.seed, own.id, folder, attempt)
        return replace(order, test=False, metrics=(self.metric.logged,))

    def ended(self, trial: Trial, result: Mapping[str, Any] | None, state: State | None) -> None:
        """Take how an attempt ended."""
        if state is not None:
            self.tracker.sync([trial], {trial.id: state})
        if state is not None and state != "interrupted":
            self._note(_own(trial), result)

    def _note(self, trial: TuningTrial, result: Mapping[str, Any] | None) -> None:
        arm = self._arms[trial.arm]
        tried = self._tries.pop(trial.id)
        curve = self._curve(trial.id)
        came: dict[str, Any] = {"state": "failed", "value": None, "epochs": max(curve, default=0)}
        if result is not None:
            self.took.setdefault(trial.arm, []).append(float(result["seconds"]))
            came["state"] = "diverged"
            # Also of one that diverged: it may have been given up before, and a restart has to
            # come to the same.
            self._follow(tried, curve)
            last = result["metrics"].get(self.metric.logged)
            if result["status"] != "diverged" and last is not None:
                came |= {"state": "done", "value": value_of(self.metric, curve, last)}
            if result["status"] == "stopped" and tried.hopeless_at is None:
                tried.hopeless_at = came["epochs"]
            if tried.hopeless_at is not None:
                came |= {"state": "pruned", "value": None, "epochs": tried.hopeless_at}
        elif self._settled(arm, trial):
            came = {key: arm.known[trial.number][key] for key in came}
        else:
            self._failed.add(trial.id)
        arm.tuner.end(trial, tried, came["value"])
        arm.asked[trial.number] |= came
        self.left[trial.arm] -= 1
        if self.left[trial.arm] == 0:
            self._choose(trial.arm, arm)
        self._save()

    def _choose(self, name: str, arm: _Arm) -> None:
        sign = 1.0 if self.metric.mode == "min" else -1.0
        whole = [(sign * t["value"], n) for n, t in enumerate(arm.asked) if t["state"] == "done"]
        arm.complete = True
        if whole:
            arm.chosen = min(whole)[1]
            best = arm.asked[arm.chosen]
            line = f"{name}: {self.metric.name} {best['value']:.4g} with {told(best['settings'])}"
        else:
            line = f"{name}: no try ended with a value; it keeps what is written"
        if not arm.settled:
            self._lines.append(line)

    def _follow(self, tried: Try, curve: Mapping[int, float]) -> bool:
        return self.metric.threshold is None and tried.follow(curve)

    def watch(self, running: Sequence[Trial]) -> None:
        """Stop the tries that the pruner gives up: they end with their epoch."""
        self._speak()
        due = time.monotonic() - self._mirrored > MIRROR_SECONDS
        if due:
            self._mirrored = time.monotonic()
        for trial in running:
            tried, curve = self._tries[trial.id], self._curve(trial.id)
            if tried.hopeless_at is None and self._follow(tried, curve):
                (self.workspace.trial_folder(trial.id) / "stop").touch()
            if due and curve:
                self.tracker.sync([trial], {trial.id: "running"})

    def _speak(self) -> None:
        for line in self._lines:
            self._say(line)
        self._lines.clear()

    def named(self, trial: Trial) -> str:
        """Arm and number."""
        return f"{trial.arm:<{max(map(len, self._arms))}}  tuning {_own(trial).number:<3}"

    def value(self, trial: Trial, result: Mapping[str, Any]) -> str:
        """What the try came to."""
        value = result["metrics"].get(self.metric.logged)
        came = "diverged" if value is None else f"{self.metric.logged} {value:.4g}"
        given_up = "given up at " if result["status"] == "stopped" else ""
        return f"{given_up}{came}  {told(_own(trial).settings)}"

    def _curve(self, trial: str) -> dict[int, float]:
        rows = rows_of(self.workspace.trial_folder(trial) / "metrics.csv")
        name = self.metric.logged
        return {int(r["epoch"]) + 1: float(r["value"]) for r in rows if r["name"] == name}

    def _save(self) -> None:
        content = {
            name: {
                "key": arm.key,
                "metric": self.metric.name,
                "trials": arm.asked + ([] if arm.complete else arm.known[len(arm.asked) :]),
                "complete": arm.complete,
                "chosen": arm.chosen,
            }
            for name, arm in self._arms.items()
        }
        write_json(self._file, content)


def _own(trial: Trial) -> TuningTrial:
    assert isinstance(trial, TuningTrial)
    return trial
