"""Killed workers and killed parents leave no trace in the answer."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.soak.command import ablate, family, start, table, training, wait_for
from tests.soak.conftest import ARMS
from tests.soak.whole import assert_whole

pytestmark = pytest.mark.soak


def test_killed_worker(project: Path, undisturbed: dict[str, object]) -> None:
    process = start(project, "run", "toy.yaml", "--workspace", "worker", "--no-report")
    victim = wait_for(lambda: training(project / "worker"))[0]
    os.kill(victim, signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "died; trying again" in output
    assert table(project, "toy.yaml", "worker") == undisturbed
    assert_whole(project / "worker")
    results = [p.read_text() for p in (project / "worker").glob("trials/*/result.json")]
    resumed = [text for text in results if '"attempt": 2' in text]
    assert len(resumed) == 1
    assert '"resumed": true' in resumed[0]


@pytest.mark.timeout(900)
def test_twenty_kills(project: Path, undisturbed: dict[str, object]) -> None:
    """A worker, the parent or both, while it starts and while it trains."""
    root, draws = project / "killed", random.Random(20)
    command = ("run", "toy.yaml", "--workspace", "killed", "--no-report")
    process, begun, results = None, 0.0, dict[Path, int]()
    for victim in draws.sample(20 * ["worker", "parent", "both"], 20):
        if process is None:
            process, begun = start(project, *command, ABLATIONS_PAUSE="0.03"), time.time()
        if victim == "worker" or draws.random() < 0.75:
            wait_for(lambda: training(root, begun))  # noqa: B023
            time.sleep(draws.uniform(0, 3))
        else:
            time.sleep(draws.uniform(0, 8))
        assert process.poll() is None, "the sweep is over before its last kill"
        before, results = results, finished(root)
        assert before.items() <= results.items()
        everyone, workers = family(process), training(root, begun)
        for worker in workers[: draws.choice([1, 2])] if victim != "parent" else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        if victim != "worker":
            process.kill()
            process.communicate()
            assert not psutil.wait_procs(everyone, timeout=20)[1]
            process = None
    if process is not None:
        process.kill()
        process.communicate()
    assert "interrupted" in ablate(project, "status", "toy.yaml", "--workspace", "killed")
    ablate(project, *command)
    assert table(project, "toy.yaml", "killed") == undisturbed
    assert results.items() <= finished(root).items()
    assert_whole(root)


def finished(root: Path) -> dict[Path, int]:
    """When each result was written: one that is there is never made again."""
    return {p: p.stat().st_mtime_ns for p in root.glob("trials/*/result.json")}


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal(project: Path, undisturbed: dict[str, object], sign: int) -> None:
    workspace = f"stopped-{sign}"
    process = start(project, "run", "toy.yaml", "--workspace", workspace, "--no-report")
    wait_for(lambda: training(project / workspace))
    workers = family(process)
    process.send_signal(sign)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130, output
    assert "run the same command again" in output
    assert not psutil.wait_procs(workers, timeout=20)[1]
    ablate(project, "run", "toy.yaml", "--workspace", workspace, "--no-report")
    assert table(project, "toy.yaml", workspace) == undisturbed
    assert_whole(project / workspace)


def test_second_parent_is_refused(project: Path) -> None:
    process = start(project, "run", "toy.yaml", "--workspace", "shared", "--no-report")
    wait_for(lambda: training(project / "shared"))
    output = ablate(project, "run", "toy.yaml", "--workspace", "shared", code=2)
    assert "another sweep is running here" in output
    status = ablate(project, "status", "toy.yaml", "--workspace", "shared")
    assert "running" in status
    process.communicate(timeout=300)
    assert_whole(project / "shared")


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
