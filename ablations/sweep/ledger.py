"""Optuna's record of which trials were launched and how they ended. One process writes it."""

import copy
import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from ablations.seeds import stream_seed
from ablations.study import InputError, Metric, Study, Trial, Tune
from ablations.study.schema import Mode, Pruner, Range
from ablations.study.tuning import TuningTrial
from ablations.sweep.stores import made_once, trouble
from ablations.workspace import Workspace, cut_torn_line

# A try is chosen by those up to so many before it: as many may train at once in one arm.
AHEAD = 4
# Tries before the sampler and the median pruner go by what came of others.
_STARTUP = 5
_ID = "ablations:trial"


class Ledger:
    """The study's Optuna study.

    Args:
        study: The study; its Optuna study has the same name, followed by the workspace's id where
            others may write to the storage too.
        workspace: Where the journal lies, unless ``storage`` names a database.
        storage: A database URL, as in ``postgresql+psycopg://...``.

    Raises:
        InputError: The storage cannot be reached or read.
    """

    def __init__(self, study: Study, workspace: Workspace, storage: str | None = None) -> None:
        optuna.logging.set_verbosity(logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.study = study
        self.storage = storage
        crossed = study.metric.threshold
        low = not crossed.above if crossed else study.metric.mode == "min"
        self._mark = "" if storage is None else f"-{workspace.id}"
        self._storage = open_storage(workspace, storage)
        self._optuna = self.open_study(study.name, "min" if low else "max")
        self._open: dict[str, optuna.Trial] = {}

    def open_study(self, name: str, mode: Mode) -> optuna.Study:
        """An Optuna study in the same storage."""
        return optuna.create_study(
            study_name=name + self._mark,
            storage=self._storage,
            direction="minimize" if mode == "min" else "maximize",
            load_if_exists=True,
        )

    def replay(self, plan: Iterable[Trial], results: Mapping[str, Mapping[str, Any]]) -> None:
        """Bring the record up to the trial folders; doing it again changes nothing."""
        with self.answered():
            self._replay(plan, results)

    def _replay(self, plan: Iterable[Trial], results: Mapping[str, Mapping[str, Any]]) -> None:
        recorded = set()
        for trial in self._optuna.get_trials(deepcopy=False):
            result = results.get(trial.user_attrs.get(_ID, ""))
            if trial.state is TrialState.WAITING:
                self._optuna.ask()
            if trial.state in (TrialState.RUNNING, TrialState.WAITING):
                opened = optuna.trial.Trial(self._optuna, trial._trial_id)
                self._close(opened, trial.user_attrs, result)
                recorded.add(_key(trial.user_attrs, result))
            else:
                recorded.add(_key(trial.user_attrs, trial.user_attrs))
        for planned in plan:
            result = results.get(planned.id)
            key = _key({_ID: planned.id}, result)
            if result is not None and key not in recorded:
                recorded.add(key)
                self.record(planned, result)

    def record(self, trial: Trial, result: Mapping[str, Any]) -> None:
        """Record a trial that ended without having been launched here."""
        self._optuna.add_trial(self._finished(trial, result))

    def launch(self, trial: Trial, overrides: Mapping[str, Any]) -> None:
        """Record that a trial starts."""
        plain = json.loads(json.dumps(dict(overrides), default=str))
        attributes = self._attributes(trial) | {"overrides": plain}
        with self.answered():
            self._optuna.enqueue_trial({}, user_attrs=attributes)
            self._open[trial.id] = self._optuna.ask()

    def finish(self, trial: Trial, result: Mapping[str, Any] | None) -> None:
        """Record how a launched trial ended; None: it failed."""
        with self.answered():
            self._close(self._open.pop(trial.id), self._attributes(trial), result)

    @contextmanager
    def answered(self) -> Iterator[None]:
        """Say in one line that the storage has gone away."""
        try:
            yield
        except (StorageInternalError, SQLAlchemyError) as error:
            told = "has gone away (run the same command again to go on)"
            raise trouble(told, error, "--storage", str(self.storage)) from error

    def _close(
        self, trial: optuna.Trial, attributes: Mapping[str, Any], result: Mapping[str, Any] | None
    ) -> None:
        if result is not None:
            trial.set_user_attr("finished", result["finished"])
        metric = attributes.get("metric", self.study.metric.logged)
        value = None if result is None else result["metrics"].get(metric)
        if result is None or result["status"] != "done" or value is None:
            self._optuna.tell(trial, state=TrialState.FAIL)
        else:
            self._optuna.tell(trial, value)

    def _finished(self, trial: Trial, result: Mapping[str, Any]) -> FrozenTrial:
        value = result["metrics"].get(self._metric(trial).logged)
        whole = result["status"] == "done" and value is not None
        return create_trial(
            state=TrialState.COMPLETE if whole else TrialState.FAIL,
            value=value if whole else None,
            user_attrs=self._attributes(trial) | {"finished": result["finished"]},
        )

    def _metric(self, trial: Trial) -> Metric:
        return self.study.metric_of(trial.arm)

    def _attributes(self, trial: Trial) -> dict[str, Any]:
        metric = self._metric(trial).logged
        return {_ID: trial.id, "arm": trial.arm, "seed": trial.seed, "metric": metric}


class Tuner:
    """What Optuna tries next in one arm, and which curves it gives up.

    All follows from the stage, the arm and what came of the tries up to `AHEAD` before: a sweep
    that was broken off, on any number of workers, comes to the same. Optuna's record is a study of
    its own for each arm, named after both.

    Args:
        stage: The study's.
        arm: Its name.
        space: What may be set in it.
        metric: Which values it is told.
        ledger: In whose storage it is recorded.
    """

    def __init__(
        self, stage: Tune, arm: str, space: Mapping[str, Range], metric: Metric, ledger: Ledger
    ) -> None:
        self.stage = stage
        self.arm = arm
        self.mode: Mode = metric.mode
        self._space = {key: _distribution(each) for key, each in space.items()}
        self._ended: dict[int, FrozenTrial] = {}
        self._ledger = ledger
        self._record = ledger.open_study(f"{ledger.study.name}: tuning of {arm}", metric.mode)
        known = self._record.get_trials(deepcopy=False)
        self._recorded = {(t.user_attrs.get(_ID), t.user_attrs.get("number")) for t in known}

    def open(self, number: int, settings: Mapping[str, Any] | None = None) -> "Try":
        """The try of that number; without settings the sampler gives them."""
        last = [trial.last_step or 0 for n, trial in self._ended.items() if n <= number - AHEAD]
        memory = optuna.create_study(
            study_name=self.arm,
            direction="minimize" if self.mode == "min" else "maximize",
            sampler=_sampler(self.stage, stream_seed("tuning", self.stage.seed, number)),
            pruner=_pruner(self.stage.pruner, max(last, default=0)),
        )
        for n in range(number):
            seen = self._ended[n] if n <= number - AHEAD else create_trial(state=TrialState.FAIL)
            memory.add_trial(seen)
        if settings is not None:
            memory.enqueue_trial(dict(settings))
        return Try(memory, memory.ask(self._space))

    def ready(self, number: int) -> bool:
        """Whether all that the try of that number follows from has ended."""
        return all(n in self._ended for n in range(number - AHEAD + 1))

    def end(self, trial: TuningTrial, tried: "Try", value: float | None) -> None:
        """Take and record how a try ended; None: without a value that counts."""
        if tried.hopeless_at is not None:
            frozen = tried.memory.tell(tried.trial, state=TrialState.PRUNED)
        elif value is None:
            frozen = tried.memory.tell(tried.trial, state=TrialState.FAIL)
        else:
            frozen = tried.memory.tell(tried.trial, value)
        self._ended[trial.number] = frozen
        if (trial.id, trial.number) not in self._recorded:
            self._recorded.add((trial.id, trial.number))
            named = {_ID: trial.id, "arm": trial.arm, "number": trial.number}
            frozen = copy.copy(frozen)
            frozen.user_attrs = named
            with self._ledger.answered():
                self._record.add_trial(frozen)


@dataclass
class Try:
    """One set of settings while it trains.

    Attributes:
        hopeless_at: After how many epochs the pruner gave it up.
    """

    memory: optuna.Study
    trial: optuna.Trial
    hopeless_at: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """By dotted key."""
        return dict(self.trial.params)

    def follow(self, curve: Mapping[int, float]) -> bool:
        """Show the pruner a curve, by epochs passed; True once it gives it up."""
        shown = len(self.memory.trials[self.trial.number].intermediate_values)
        for epoch in sorted(curve)[shown:]:
            if self.hopeless_at is not None:
                break
            self.trial.report(curve[epoch], epoch)
            if self.trial.should_prune():
                self.hopeless_at = epoch
        return self.hopeless_at is not None


def _distribution(each: Range) -> optuna.distributions.BaseDistribution:
    if each.choices:
        return optuna.distributions.CategoricalDistribution(each.choices)
    if each.whole:
        step = int(each.step or 1)
        return optuna.distributions.IntDistribution(
            int(each.low), int(each.high), log=each.log, step=step
        )
    return optuna.distributions.FloatDistribution(each.low, each.high, log=each.log, step=each.step)


def _sampler(stage: Tune, seed: int) -> optuna.samplers.BaseSampler:
    # The same for every arm: so are the first settings that are tried.
    seed %= 2**32
    if stage.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)


def _pruner(name: Pruner, epochs: int) -> optuna.pruners.BasePruner:
    if name == "median":
        # No curve is given up in the first third, where a slow start is not yet a bad end.
        return optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=epochs // 3)
    return optuna.pruners.HyperbandPruner() if name == "hyperband" else optuna.pruners.NopPruner()


def _key(attributes: Mapping[str, Any], result: Mapping[str, Any] | None) -> tuple[Any, Any]:
    """A trial and when it was trained: trained again, it is recorded again."""
    return attributes.get(_ID), (result or {}).get("finished")


def open_storage(workspace: Workspace, url: str | None) -> BaseStorage:
    """The workspace's journal, or a database.

    Raises:
        InputError: It cannot be reached or read.
    """
    if url is not None:
        with made_once(url, "--storage"):
            try:
                return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
            except Exception as error:
                raise trouble("cannot be opened", error, "--storage", url) from error
    mend_journal(workspace.journal)
    try:
        return JournalStorage(JournalFileBackend(str(workspace.journal)))
    except Exception as error:
        told = f"cannot be read ({error}); without it, it is made again from the trials' folders"
        raise InputError(told, file=workspace.journal) from error


def mend_journal(journal: Path) -> None:
    """Cut a line that a crash left unfinished; Optuna could read nothing behind it.

    The caller holds the workspace's lock: Optuna's own, left by a crash, would cost half a minute.
    """
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    cut_torn_line(journal)
