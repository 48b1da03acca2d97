"""The same small sweep through every executor, from the command line: the same table."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.soak import slurm
from tests.soak.command import ENVIRONMENT, ablate, start, table, training, wait_for
from tests.toy import edit_base, write_project

pytest.importorskip("ray")
pytest.importorskip("submitit")
pytestmark = pytest.mark.soak
TRIALS = 6


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_project(folder, seeds=2)
    edit_base(folder, {"trainer.max_epochs": 24, "data.init_args.size": 1024})
    return folder


@pytest.fixture(scope="module")
def undisturbed(project: Path) -> dict[str, Any]:
    ablate(project, "run", "toy.yaml", "--workspace", "local", "--no-report")
    return table(project, "toy.yaml", "local")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SLURM's programs on the path."""
    folder = slurm.install(tmp_path / "bin")
    monkeypatch.setitem(ENVIRONMENT, "PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def tasks(workspace: Path) -> set[str]:
    """The array tasks that there were, by their folders; submitit makes some for arrays too."""
    folders = (file.name for file in (workspace / "slurm").iterdir() if file.is_dir())
    return {name for name in folders if "_" in name}


def assert_whole(project: Path, workspace: str, undisturbed: dict[str, Any]) -> None:
    assert table(project, "toy.yaml", workspace) == undisturbed
    assert len(list((project / workspace).glob("trials/*/result.json"))) == TRIALS
    assert not list((project / workspace).glob("trials/*/checkpoint.*"))
    assert not (project / workspace / ".token").exists()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a Ray cluster of two nodes."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name in ("PYTHONPATH", "ABLATIONS_CHECKPOINT_SECONDS"):
            patch.setenv(name, ENVIRONMENT[name])
        patch.setenv("RAY_AUTH_MODE", "disabled")
        # Ray's workers let everybody else go first, by 15, and on a busy machine never come to it.
        patch.setenv("RAY_worker_niceness", "0")
        patch.setitem(ENVIRONMENT, "RAY_AUTH_MODE", "disabled")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        made.add_node(num_cpus=1)
        made.wait_for_nodes()
        yield str(made.address)
        made.shutdown()


RAY = ("run", "toy.yaml", "--no-report", "--executor", "ray", "--address")
SLURM = ("run", "toy.yaml", "--no-report", "--executor", "slurm", "--workers", "2")


def test_ray(project: Path, undisturbed: dict[str, Any], address: str) -> None:
    output = ablate(project, *RAY, address, "--workspace", "ray")
    assert f"{TRIALS}/{TRIALS}" in output
    assert_whole(project, "ray", undisturbed)


def test_a_worker_killed_on_ray(project: Path, undisturbed: dict[str, Any], address: str) -> None:
    process = start(project, *RAY, address, "--workspace", "ray-killed")
    victim = wait_for(lambda: training(project / "ray-killed"), 200)[0]
    os.kill(victim, signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert output.count("died; trying again") == 1
    assert_whole(project, "ray-killed", undisturbed)


def test_no_cluster_at_the_address(project: Path, address: str) -> None:
    output = ablate(project, *RAY, "127.0.0.1:1", "--workspace", "none", code=2)
    assert "--address: 127.0.0.1:1: " in output.strip().splitlines()[-1]
    assert not (project / "none").exists()


def test_slurm(project: Path, undisturbed: dict[str, Any], programs: Path) -> None:
    output = ablate(project, *SLURM, "--workspace", "slurm")
    assert f"{TRIALS}/{TRIALS}" in output
    assert_whole(project, "slurm", undisturbed)
    # An array of the arms' rehearsals, then packs: two in the queue at once.
    scripts = [file.read_text() for file in sorted(programs.glob("*.sh"))]
    assert "--array=0-2%3" in scripts[0]
    assert "--array=0-1%2" in scripts[-1]
    assert tasks(project / "slurm") == {"1_0", "1_1", "1_2", "2_0", "2_1"}


def test_a_preempted_pack(project: Path, undisturbed: dict[str, Any], programs: Path) -> None:
    process = start(project, *SLURM, "--workspace", "preempted")
    worker = wait_for(lambda: training(project / "preempted"), 200)[0]
    # SLURM signals every process of the job's step.
    step = psutil.Process(worker).parent()
    assert step is not None
    for each in [*step.children(recursive=True), step]:
        each.send_signal(signal.SIGUSR2)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "died" not in output
    assert_whole(project, "preempted", undisturbed)
    known = [
        json.loads(f.read_text()) for f in (project / "preempted").glob("trials/*/result.json")
    ]
    assert [r["attempt"] for r in known] == [1] * TRIALS
    assert sum(r["resumed"] for r in known) == 1


def test_a_killed_parent_is_followed(
    project: Path, undisturbed: dict[str, Any], programs: Path
) -> None:
    process = start(project, *SLURM, "--workspace", "followed")
    workers = wait_for(lambda: training(project / "followed"), 200)
    process.kill()
    process.communicate()
    ablate(project, *SLURM, "--workspace", "followed")
    assert not any(map(psutil.pid_exists, workers))
    assert_whole(project, "followed", undisturbed)
