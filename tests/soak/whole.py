"""What must hold after a sweep, whatever happened while it ran."""

import csv
import os
from pathlib import Path

import optuna
import psutil
from mlflow import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ablations.workspace import Workspace
from tests.soak.command import ENVIRONMENT, MARK
from tests.soak.conftest import ARMS, EPOCHS, SEEDS

TRIALS = ARMS * SEEDS


def assert_whole(root: Path) -> None:
    """Every trial once in the files, in Optuna and in MLflow; nothing left running."""
    assert len(list(root.glob("trials/*/result.json"))) == TRIALS
    assert not list(root.glob("trials/*/checkpoint.*"))
    for file in root.glob("trials/*/metrics.csv"):
        rows = list(csv.DictReader(file.open()))
        epochs = {int(row["epoch"]) for row in rows if row["name"] == "train/loss"}
        assert epochs == set(range(EPOCHS))
    storage = JournalStorage(JournalFileBackend(str(root / "optuna.journal")))
    states = [t.state.name for t in optuna.load_study(study_name="toy", storage=storage).trials]
    assert states.count("COMPLETE") == TRIALS
    assert set(states) <= {"COMPLETE", "FAIL"}
    assert_mirrored(f"sqlite:///{root / 'mlflow.db'}", root)
    assert not left_over()


def assert_mirrored(uri: str, root: Path) -> None:
    """One finished run of each trial, each arm and the study."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    mine = f"tags.`ablations.workspace` = '{Workspace(root).id}'"
    runs = client.search_runs([experiment.experiment_id], mine, max_results=1000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    kinds = [run.data.tags["ablations.kind"] for run in runs]
    assert [kinds.count(kind) for kind in ("study", "arm", "trial")] == [1, ARMS, TRIALS]
    trials = [run for run in runs if "ablations.trial" in run.data.tags]
    assert len({run.data.tags["ablations.trial"] for run in trials}) == TRIALS
    arms = {run.info.run_id for run in runs if run.data.tags["ablations.kind"] == "arm"}
    for run in trials:
        assert run.data.tags["mlflow.parentRunId"] in arms
        history = client.get_metric_history(run.info.run_id, "train/loss")
        assert sorted(row.step for row in history) == list(range(EPOCHS))
        assert "test/error" in run.data.metrics


def left_over() -> list[psutil.Process]:
    """Processes that a command of this test session started and that are still there."""
    mark = ENVIRONMENT[MARK]
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(MARK) == mark and process.pid != os.getpid()
            if marked and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return psutil.wait_procs(found, timeout=20)[1]
