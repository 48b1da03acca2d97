"""Sweeps through an MLflow server and PostgreSQL, together, and with the server away."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient

from tests.soak.command import ENVIRONMENT, ablate, start, table, training, wait_for
from tests.soak.conftest import ARMS, SEEDS
from tests.soak.servers import MlflowServer, Postgres, postgres, postgres_programs
from tests.soak.whole import assert_mirrored, left_over

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]
WORKSPACES = ("first", "second")


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres(programs) as running:
        yield running


@pytest.fixture(scope="module")
def server(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    made = MlflowServer(database.create("mlflow"), tmp_path_factory.mktemp("artifacts"))
    made.start()
    yield made
    made.stop()


def done(project: Path, workspace: str) -> int:
    return len(list((project / workspace).glob("trials/*/result.json")))


def test_two_parents_on_one_server(
    project: Path, undisturbed: dict[str, Any], database: Postgres, server: MlflowServer
) -> None:
    """The same study in two workspaces, begun at once on stores without tables; one is killed."""
    storage = database.create("optuna")
    told = {"MLFLOW_TRACKING_URI": server.url, "ABLATIONS_PAUSE": "0.01"}

    def command(workspace: str) -> tuple[str, ...]:
        place = ("--workspace", workspace, "--storage", storage, "--workers", "1")
        return ("run", "toy.yaml", *place, "--no-report")

    parents = [start(project, *command(workspace), **told) for workspace in WORKSPACES]
    wait_for(lambda: training(project / "second"))
    parents[1].kill()
    parents[1].communicate()
    parents[1] = start(project, *command("second"), **told)
    for parent in parents:
        output, _ = parent.communicate(timeout=600)
        assert parent.returncode == 0, output
        assert "could not be written" not in output
        assert f"{server.url}/#/compare-runs" in output
    for workspace in WORKSPACES:
        assert table(project, "toy.yaml", workspace) == undisturbed
        assert_mirrored(server.url, project / workspace)
        assert not (project / workspace / "optuna.journal").exists()
        assert not (project / workspace / "mlflow.db").exists()
    studies = optuna.get_all_study_names(storage)
    assert len(studies) == len(WORKSPACES)
    for name in studies:
        trials = optuna.load_study(study_name=name, storage=storage).trials
        states = [trial.state.name for trial in trials]
        assert states.count("COMPLETE") == ARMS * SEEDS
        assert set(states) <= {"COMPLETE", "FAIL"}
    assert not left_over()


def test_a_server_that_is_away_for_some_trials(
    project: Path, undisturbed: dict[str, Any], server: MlflowServer
) -> None:
    command = ("run", "toy.yaml", "--workspace", "away", "--no-report")
    told = {"MLFLOW_TRACKING_URI": server.url, "ABLATIONS_PAUSE": "0.01"}
    process = start(project, *command, **told)
    wait_for(lambda: done(project, "away") >= 1)
    server.stop()
    wait_for(lambda: done(project, "away") >= 4)
    server.start()
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert table(project, "toy.yaml", "away") == undisturbed
    assert_mirrored(server.url, project / "away")
    assert not left_over()


def test_a_server_that_stays_away(project: Path, server: MlflowServer) -> None:
    """What could not be written is written by the next run, which trains nothing."""
    command = ("run", "toy.yaml", "--workspace", "gone", "--no-report")
    told = {"MLFLOW_TRACKING_URI": server.url, "ABLATIONS_PAUSE": "0.01"}
    process = start(project, *command, **told)
    wait_for(lambda: done(project, "gone") >= 1)
    server.stop()
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert "nothing is lost: run again to bring it up to date" in output
    assert "does not answer" in ablate(project, *command, code=2, **told)
    server.start()
    assert "0 trials to run" in ablate(project, *command, **told)
    assert_mirrored(server.url, project / "gone")


def test_stores_are_made_once(database: Postgres, tmp_path: Path) -> None:
    """Four parents meet at two databases without tables."""
    tracking, storage = database.create("direct"), database.create("meeting")
    (tmp_path / "meet.py").write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from ablations.sweep.ledger import open_storage\n"
        "from ablations.sweep.tracking import check_uri, preload\n"
        "from ablations.workspace import Workspace\n"
        "preload()\n"
        "Path(sys.argv[3]).touch()\n"
        "while len(list(Path().glob('ready-*'))) < 4: time.sleep(0.01)\n"
        "open_storage(Workspace(Path('runs')), sys.argv[1])\n"
        "check_uri(sys.argv[2])\n"
    )
    command = [sys.executable, "meet.py", storage, tracking]
    processes = [
        subprocess.Popen([*command, f"ready-{n}"], cwd=tmp_path, env=ENVIRONMENT) for n in range(4)
    ]
    assert [process.wait(300) for process in processes] == [0, 0, 0, 0]
    MlflowClient(tracking).create_experiment("one")
    optuna.create_study(storage=storage, study_name="one")
