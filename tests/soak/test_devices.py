"""A trial in two ranks, over gloo: what one process finds, and no process left however it ends."""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from ablations.study import Study
from ablations.sweep.executors.local import LocalExecutor
from ablations.sweep.executors.placement import Slot
from ablations.sweep.job import Job, Outcome
from tests.soak.command import ENVIRONMENT, ablate, start, table, training, wait_for
from tests.sweep.conftest import order, write_unruly
from tests.sweep.contract import endless
from tests.toy import edit_base, write_project

pytestmark = pytest.mark.soak
ARMS = {"full": {}, "no-bias": {"model.init_args.bias": False}}
TWO = {"trainer.devices": 2, "trainer.strategy": "ddp", "data.init_args.batch_size": 16}
# Two ranks draw other dropout masks than one process.
SAME = {"model.init_args.dropout": 0.0, "trainer.max_epochs": 4}


def inside(folder: Path) -> list[psutil.Process]:
    """Processes that work in a folder."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            # The tracker of this process is there for as long as this process is.
            if "resource_tracker" not in " ".join(process.cmdline()):
                found += [process] if Path(process.cwd()).is_relative_to(folder) else []
    return [process for process in found if process.pid != os.getpid()]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that all processes of a test work in, and none once it is over."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    yield tmp_path
    left = psutil.wait_procs(inside(tmp_path), timeout=20)[1]
    for process in left:
        process.kill()
    assert not left


def results(workspace: Path) -> dict[tuple[str, int], Path]:
    """The folder of each arm and seed."""
    found = {}
    for file in workspace.glob("trials/*/result.json"):
        config = yaml.safe_load((file.parent / "config.yaml").read_text())
        arm = "full" if config["model"]["init_args"]["bias"] else "no-bias"
        found[arm, json.loads(file.read_text())["seed"]] = file.parent
    return found


def metrics(folder: Path) -> dict[str, float]:
    content: dict[str, float] = json.loads((folder / "result.json").read_text())["metrics"]
    return content


def test_two_ranks_find_what_one_process_finds(here: Path) -> None:
    for name, base in (("one", {}), ("two", TWO)):
        write_project(here / name, arms=ARMS, seeds=2)
        edit_base(here / name, SAME | base)
        module = here / name / "two_classes_pytorch_lightning.py"
        module.write_text(module.read_text().replace("_loader(64, 3)", "_loader(65, 3)"))
        ablate(here / name, "run", "toy.yaml", "--no-report")
    one, two = results(here / "one" / "runs"), results(here / "two" / "runs")
    assert set(one) == set(two) == {(arm, seed) for arm in ARMS for seed in (0, 1)}
    for key, alone in one.items():
        both = two[key]
        assert {f.name for f in alone.iterdir()} == {f.name for f in both.iterdir()}
        assert metrics(both).keys() == metrics(alone).keys()
        for name, value in metrics(alone).items():
            # Of 65 points two ranks get 33 each, so one point counts twice in their mean.
            assert metrics(both)[name] == pytest.approx(
                value, rel=0.1 if "test" in name else 1e-4, abs=1e-5
            )
        with np.load(alone / "predictions.npz") as a, np.load(both / "predictions.npz") as b:
            assert np.array_equal(a["targets"], b["targets"])
            assert np.allclose(a["probabilities"], b["probabilities"], atol=1e-4)
        rows = [(both / "metrics.csv").read_text(), (alone / "metrics.csv").read_text()]
        assert len(rows[0].splitlines()) == len(rows[1].splitlines())
    with sqlite3.connect(here / "two" / "runs" / "mlflow.db") as database:
        runs = database.execute(
            "select t.value, r.status, count(*) from runs r join tags t on t.run_uuid = r.run_uuid"
            " where t.key = 'ablations.kind' and r.lifecycle_stage = 'active' group by 1, 2"
        ).fetchall()
    assert sorted(runs) == [
        ("arm", "FINISHED", 2),
        ("study", "FINISHED", 1),
        ("trial", "FINISHED", 4),
    ]


def test_a_killed_rank_costs_an_attempt(here: Path) -> None:
    write_project(here, arms=ARMS, seeds=1)
    edit_base(here, TWO | {"trainer.max_epochs": 40, "data.init_args.size": 1024})
    ablate(here, "run", "toy.yaml", "--workspace", "quiet", "--no-report")
    process = start(here, "run", "toy.yaml", "--workspace", "killed", "--no-report")
    (leader,) = wait_for(lambda: training(here / "killed"), 200)
    (follower,) = psutil.Process(leader).children()
    follower.kill()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert output.count("died; trying again") == 1
    assert table(here, "toy.yaml", "killed") == table(here, "toy.yaml", "quiet")
    known = [json.loads(f.read_text()) for f in (here / "killed").glob("trials/*/result.json")]
    assert sorted((r["attempt"], r["resumed"]) for r in known) == [(1, False), (2, True)]


def test_a_killed_parent_takes_all_ranks_with_it(here: Path) -> None:
    write_project(here, arms=ARMS, seeds=1)
    edit_base(here, TWO | {"trainer.max_epochs": 9999})
    process = start(here, "run", "toy.yaml", "--no-report")
    wait_for(lambda: training(here / "runs"), 200)
    assert len(inside(here)) >= 4
    process.kill()
    process.communicate()


@pytest.fixture
def unruly(here: Path) -> Study:
    return write_unruly(here, **TWO)


@pytest.fixture
def executor(here: Path) -> Iterator[LocalExecutor]:
    made = LocalExecutor([Slot({"OMP_NUM_THREADS": "1"})])
    yield made
    made.stop(kill=True)


def folders(here: Path) -> set[str]:
    return {path.name for path in (here / "trial").iterdir()}


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_raises(unruly: Study, executor: LocalExecutor, here: Path, rank: int) -> None:
    bad = order(unruly, here / "trial", act="raise", rank=rank)
    (outcome,) = executor.submit(Job((bad,))).result(200)
    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.error) == ("failed", "ValueError: too bad")
    failure = json.loads((here / "trial" / "failure.json").read_text())
    assert (failure["error"], failure["attempts"]) == ("ValueError: too bad", 1)
    assert folders(here) == {
        "attempt.json",
        "config.yaml",
        "failure.json",
        "log.txt",
        "metrics.csv",
    }
    good = replace(bad, recipe=order(unruly, here / "trial").recipe)
    (outcome,) = executor.submit(Job((good,))).result(200)
    assert outcome.status == "done"  # type: ignore[union-attr]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed(
    unruly: Study, executor: LocalExecutor, here: Path, rank: int
) -> None:
    bad = order(unruly, here / "trial", act="kill", rank=rank)
    died = executor.submit(Job((bad,))).exception(200)
    assert isinstance(died, BrokenExecutor)
    assert folders(here).isdisjoint({"result.json", "failure.json"})


def test_a_rank_that_hangs(unruly: Study, executor: LocalExecutor, here: Path) -> None:
    bad = replace(order(unruly, here / "trial", act="hang", rank=1), timeout=10.0)
    assert isinstance(executor.submit(Job((bad,))).exception(200), BrokenExecutor)
    assert (here / "trial" / "hang.txt").read_text()


def test_a_killed_worker_and_a_stop_take_all_ranks_with_them(
    unruly: Study, executor: LocalExecutor, here: Path
) -> None:
    def ranks() -> list[psutil.Process]:
        file = here / "trial" / "attempt.json"
        pid = json.loads(file.read_text())["pid"] if file.exists() else None
        leader = psutil.Process(pid) if pid is not None and psutil.pid_exists(pid) else None
        started = leader is not None and (here / "trial" / "metrics.csv").exists()
        return [leader, *leader.children()] if leader is not None and started else []

    def lost(found: list[psutil.Process]) -> bool:
        return not psutil.wait_procs(found, timeout=20)[1]

    long = Job((endless(order(unruly, here / "trial")),))
    future = executor.submit(long)
    first = wait_for(ranks, 200)
    assert len(first) == 2
    os.kill(first[0].ppid(), signal.SIGKILL)
    assert isinstance(future.exception(30), BrokenExecutor)
    assert lost(first)

    (here / "trial" / "metrics.csv").unlink()
    future = executor.submit(long)
    second: Any = wait_for(ranks, 200)
    executor.stop(kill=True)
    assert isinstance(future.exception(30), BrokenExecutor)
    assert lost(second)
