"""Killed workers and killed parents leave no trace in the answer."""

import csv
import os
import signal
import sqlite3
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.soak.command import ablate, family, start, table, training, wait_for
from tests.toy import edit_base, write_project

pytestmark = pytest.mark.soak
SEEDS, ARMS = 2, 3


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_project(folder, seeds=SEEDS)
    edit_base(folder, {"trainer.max_epochs": 24, "data.init_args.size": 1024})
    return folder


@pytest.fixture(scope="module")
def undisturbed(project: Path) -> dict[str, object]:
    ablate(project, "run", "toy.yaml", "--workspace", "quiet", "--no-report")
    return table(project, "toy.yaml", "quiet")


def assert_whole(project: Path, workspace: str) -> None:
    """Every trial once in the files, in Optuna and in MLflow; nothing left running."""
    root = project / workspace
    assert len(list(root.glob("trials/*/result.json"))) == SEEDS * ARMS
    assert not list(root.glob("trials/*/checkpoint.*"))
    storage = JournalStorage(JournalFileBackend(str(root / "optuna.journal")))
    trials = optuna.load_study(study_name="toy", storage=storage).get_trials()
    states = [trial.state.name for trial in trials]
    assert states.count("COMPLETE") == SEEDS * ARMS
    assert set(states) <= {"COMPLETE", "FAIL"}
    with sqlite3.connect(root / "mlflow.db") as database:
        runs = database.execute(
            "select t.value, r.status from runs r join tags t on t.run_uuid = r.run_uuid"
            " where t.key = 'ablations.kind' and r.lifecycle_stage = 'active'"
        ).fetchall()
        steps = database.execute(
            "select run_uuid, key, step, count(*) from metrics group by 1, 2, 3 having count(*) > 1"
        ).fetchall()
    assert sorted(runs) == sorted(
        [("study", "FINISHED")]
        + ARMS * [("arm", "FINISHED")]
        + SEEDS * ARMS * [("trial", "FINISHED")]
    )
    assert not [row for row in steps if "/" in row[1]]


def test_killed_worker(project: Path, undisturbed: dict[str, object]) -> None:
    process = start(project, "run", "toy.yaml", "--workspace", "worker", "--no-report")
    victim = wait_for(lambda: training(project / "worker"))[0]
    os.kill(victim, signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "died; trying again" in output
    assert table(project, "toy.yaml", "worker") == undisturbed
    assert_whole(project, "worker")
    results = [p.read_text() for p in (project / "worker").glob("trials/*/result.json")]
    resumed = [text for text in results if '"attempt": 2' in text]
    assert len(resumed) == 1
    assert '"resumed": true' in resumed[0]


def test_killed_parent(project: Path, undisturbed: dict[str, object]) -> None:
    process = start(project, "run", "toy.yaml", "--workspace", "parent", "--no-report")
    wait_for(lambda: training(project / "parent"))
    workers = family(process)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    status = ablate(project, "status", "toy.yaml", "--workspace", "parent")
    assert "interrupted" in status
    ablate(project, "run", "toy.yaml", "--workspace", "parent", "--no-report")
    assert table(project, "toy.yaml", "parent") == undisturbed
    assert_whole(project, "parent")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal(project: Path, undisturbed: dict[str, object], sign: int) -> None:
    workspace = f"stopped-{sign}"
    process = start(project, "run", "toy.yaml", "--workspace", workspace, "--no-report")
    wait_for(lambda: training(project / workspace))
    workers = family(process)
    process.send_signal(sign)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "run the same command again" in output
    assert not psutil.wait_procs(workers, timeout=20)[1]
    ablate(project, "run", "toy.yaml", "--workspace", workspace, "--no-report")
    assert table(project, "toy.yaml", workspace) == undisturbed
    assert_whole(project, workspace)


def test_second_parent_is_refused(project: Path) -> None:
    process = start(project, "run", "toy.yaml", "--workspace", "shared", "--no-report")
    wait_for(lambda: training(project / "shared"))
    output = ablate(project, "run", "toy.yaml", "--workspace", "shared", code=2)
    assert "another sweep is running here" in output
    status = ablate(project, "status", "toy.yaml", "--workspace", "shared")
    assert "running" in status
    process.communicate(timeout=300)
    assert_whole(project, "shared")


def test_running_again_trains_only_what_is_missing(project: Path) -> None:
    command = ("run", "toy.yaml", "--workspace", "again", "--no-report")
    ablate(project, *command)
    results = {p: p.stat().st_mtime_ns for p in (project / "again").glob("trials/*/result.json")}
    output = ablate(
        project, "run", "toy.yaml", "--workspace", "again", "--seeds", "3", "--no-report"
    )
    assert f"{ARMS} trials to run" in output
    assert "exploratory" in output
    assert results == {p: p.stat().st_mtime_ns for p in results}
    study = (project / "toy.yaml").read_text()
    (project / "toy.yaml").write_text(study.replace("dropout: 0.0", "dropout: 0.1"))
    output = ablate(project, *command)
    assert "3 trials to run" in output
    assert results == {p: p.stat().st_mtime_ns for p in results}
    (project / "toy.yaml").write_text(study)


def test_metrics_of_a_resumed_trial_hold_every_epoch_once(project: Path) -> None:
    for file in (project / "parent").glob("trials/*/metrics.csv"):
        rows = list(csv.DictReader(file.open()))
        last = {(row["epoch"], row["name"]): row["value"] for row in rows}
        epochs = {int(epoch) for epoch, name in last if name == "train/loss"}
        assert epochs == set(range(24))
