"""Optuna's record of which trials were launched and how they ended. One process writes it."""

import json
import logging
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from ablations.study import InputError, Metric, Study, Trial
from ablations.workspace import Workspace

_ID = "ablations:trial"


class Ledger:
    """The study's Optuna study.

    Args:
        study: The study; its Optuna study has the same name.
        workspace: Where the journal lies, unless ``storage`` names a database.
        storage: A database URL, as in ``postgresql+psycopg://...``.

    Raises:
        InputError: The storage cannot be reached or read.
    """

    def __init__(self, study: Study, workspace: Workspace, storage: str | None = None) -> None:
        optuna.logging.set_verbosity(logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.study = study
        crossed = study.metric.threshold
        low = not crossed.above if crossed else study.metric.mode == "min"
        self._optuna = optuna.create_study(
            study_name=study.name,
            storage=open_storage(workspace, storage),
            direction="minimize" if low else "maximize",
            load_if_exists=True,
        )
        self._open: dict[str, optuna.Trial] = {}

    def replay(self, plan: Iterable[Trial], results: Mapping[str, Mapping[str, Any]]) -> None:
        """Bring the record up to the trial folders; doing it again changes nothing."""
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
        self._optuna.enqueue_trial({}, user_attrs=attributes)
        self._open[trial.id] = self._optuna.ask()

    def finish(self, trial: Trial, result: Mapping[str, Any] | None) -> None:
        """Record how a launched trial ended; None: it failed."""
        self._close(self._open.pop(trial.id), self._attributes(trial), result)

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


def _key(attributes: Mapping[str, Any], result: Mapping[str, Any] | None) -> tuple[Any, Any]:
    """A trial and when it was trained: trained again, it is recorded again."""
    return attributes.get(_ID), (result or {}).get("finished")


def open_storage(workspace: Workspace, url: str | None) -> BaseStorage:
    """The workspace's journal, or a database.

    Raises:
        InputError: It cannot be reached or read.
    """
    if url is not None:
        try:
            return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"cannot be opened: {reason}", file="--storage", key=url) from error
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
    if not journal.exists():
        return
    content = journal.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with journal.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
