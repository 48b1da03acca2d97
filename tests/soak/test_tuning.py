"""Tuning comes to the same settings, however many workers there are and whatever is killed."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.soak.command import ablate, family, start, table, wait_for
from tests.toy import edit_base, write_project

pytestmark = pytest.mark.soak
TRIES, EPOCHS = 14, 60
ARMS: dict[str, Any] = {"full": {}, "no-bias": {"model.init_args.bias": False}}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    space = {"optimizer.init_args.lr": {"low": 0.0001, "high": 1.0, "log": True}}
    tune = {
        "trials": TRIES,
        "space": space,
        "metric": "val/loss",
        "sampler": "random",
        "pruner": "median",
    }
    write_project(folder, arms=ARMS, seeds=2, margin=None, tune=tune)
    edit_base(folder, {"trainer.max_epochs": EPOCHS, "data.init_args.size": 128})
    return folder


def command(workspace: str, *more: str) -> tuple[str, ...]:
    return ("run", "toy.yaml", "--workspace", workspace, "--no-report", *more)


def decided(project: Path, workspace: str) -> dict[str, Any]:
    """What was tried and chosen, and the table: all but times."""
    found = table(project, "toy.yaml", workspace)
    for arm in found["own_settings"]["arms"]:
        del arm["seconds"]
    return found


@pytest.fixture(scope="module")
def undisturbed(project: Path) -> dict[str, Any]:
    ablate(project, *command("quiet"))
    return decided(project, "quiet")


def results(root: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in root.glob("trials/*/result.json")]


def assert_whole(root: Path) -> None:
    """Every try once in Optuna and in MLflow, and none left running."""
    storage = JournalStorage(JournalFileBackend(str(root / "optuna.journal")))
    for arm in ARMS:
        study = optuna.load_study(study_name=f"toy: tuning of {arm}", storage=storage)
        states = [trial.state.name for trial in study.get_trials()]
        assert len(states) == TRIES
        assert set(states) <= {"COMPLETE", "PRUNED"}
    with sqlite3.connect(root / "mlflow.db") as database:
        runs = database.execute(
            "select t.value, r.status, count(*) from runs r join tags t on t.run_uuid = r.run_uuid"
            " where t.key = 'ablations.kind' and r.lifecycle_stage = 'active' group by 1, 2"
        ).fetchall()
    trained = 2 * len(ARMS)
    assert {row[:2]: row[2] for row in runs} == {
        ("study", "FINISHED"): 2,
        ("arm", "FINISHED"): trained,
        ("tuning", "FINISHED"): TRIES * len(ARMS),
        ("trial", "FINISHED"): 2 * trained,
    }


def test_hopeless_tries_end_early_on_any_number_of_workers(
    project: Path, undisturbed: dict[str, Any]
) -> None:
    root = project / "quiet"
    assert_whole(root)
    stopped = [each for each in results(root) if each["status"] == "stopped"]
    # One that is given up in its last epoch has had them all.
    assert min(each["epochs"] for each in stopped) < EPOCHS
    ablate(project, *command("one", "--workers", "1"))
    assert decided(project, "one") == undisturbed


def test_a_parent_that_is_killed_while_tuning(project: Path, undisturbed: dict[str, Any]) -> None:
    root = project / "killed"
    for ended in (0, 4, 11):
        process = start(project, *command("killed"))
        begun = lambda n=ended: len(results(root)) >= n and list(root.glob("trials/*"))  # noqa: E731
        wait_for(begun, seconds=300)
        workers = family(process)
        process.kill()
        process.communicate()
        assert not psutil.wait_procs(workers, timeout=20)[1]
        assert "tuning of full" in ablate(project, "status", "toy.yaml", "--workspace", "killed")
    ablate(project, *command("killed"))
    assert decided(project, "killed") == undisturbed
    assert_whole(root)


def test_a_lost_journal_and_memory_are_made_again(
    project: Path, undisturbed: dict[str, Any]
) -> None:
    root = project / "quiet"
    before = {file: file.stat().st_mtime_ns for file in root.glob("trials/*/result.json")}
    (root / "optuna.journal").unlink()
    (root / "studies/toy/tuning.json").unlink()
    ablate(project, *command("quiet"))
    assert decided(project, "quiet") == undisturbed
    assert before == {file: file.stat().st_mtime_ns for file in before}
    assert_whole(root)
