"""What every executor owes, whichever machine its workers are on."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablations.study import Study, load_study
from ablations.sweep.executors import Executor
from ablations.sweep.job import Job, Order
from ablations.sweep.orders import rehearse_arms
from tests.sweep.conftest import order, write_unruly
from tests.toy import write_project

Start = Callable[[], Executor]


def trained(*orders: Order) -> Job:
    return Job(orders)


def endless(order: Order, epochs: int = 99_999) -> Order:
    overrides = {**order.recipe.overrides, "trainer": {"max_epochs": epochs}}
    return replace(order, recipe=replace(order.recipe, overrides=overrides))


def metrics_in(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())["metrics"]
    return content


def process_in(folder: Path) -> int:
    return int(json.loads((folder / "attempt.json").read_text())["pid"])


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        if not Path("/proc/self").exists():
            return subprocess.run(["kill", "-0", str(pid)], check=False).returncode == 0
        return False
    return state != "Z"


class Contract:
    """Subclasses have a fixture ``start``, a function that makes an executor of capacity 2."""

    @pytest.fixture(scope="class")
    @classmethod
    def toy(cls, tmp_path_factory: pytest.TempPathFactory) -> Study:
        return load_study(write_project(tmp_path_factory.mktemp("toy")))

    @pytest.fixture(scope="class")
    @classmethod
    def unruly(cls, tmp_path_factory: pytest.TempPathFactory) -> Study:
        return write_unruly(tmp_path_factory.mktemp("unruly"))

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, start: Start) -> Iterator[Executor]:
        made = start()
        yield made
        made.stop()

    def test_capacity(self, executor: Executor) -> None:
        assert executor.capacity == executor.abreast == 2

    def test_trials_and_rehearsals(self, executor: Executor, toy: Study, tmp_path: Path) -> None:
        orders = [order(toy, tmp_path / str(seed), seed=seed) for seed in range(3)]
        both = executor.submit(trained(*orders[:2]))
        alone = executor.submit(trained(orders[2]))
        rehearsal = executor.submit(Job((order(toy, tmp_path, "no-bias"),), rehearse=True))
        assert [outcome.status for outcome in both.result()] == ["done", "done"]  # type: ignore[union-attr]
        assert [outcome.trial for outcome in alone.result()] == ["full-2"]  # type: ignore[union-attr]
        (rehearsed,) = rehearsal.result()
        assert (rehearsed.error, rehearsed.parameters) == (None, 64)  # type: ignore[union-attr]
        assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "2"}

    def test_a_trial_that_fails_is_no_exception(
        self, executor: Executor, unruly: Study, tmp_path: Path
    ) -> None:
        job = trained(order(unruly, tmp_path / "a", act="raise"), order(unruly, tmp_path / "b"))
        outcomes = executor.submit(job).result()
        assert [outcome.status for outcome in outcomes] == ["failed", "done"]  # type: ignore[union-attr]
        assert outcomes[0].error == "ValueError: too bad"

    def test_a_dead_worker_breaks_its_own_job_alone(
        self, executor: Executor, unruly: Study, tmp_path: Path
    ) -> None:
        jobs = [
            trained(order(unruly, tmp_path / f"{act}{n}", act=act))
            for n, act in enumerate(["kill", "", "", ""])
        ]
        futures = [executor.submit(job) for job in jobs]
        died = [isinstance(future.exception(), BrokenExecutor) for future in futures]
        assert died == [True, False, False, False]
        assert [(tmp_path / f"{n}" / "result.json").exists() for n in (1, 2, 3)] == [True] * 3
        assert not (tmp_path / "kill0" / "result.json").exists()
        attempt = json.loads((tmp_path / "kill0" / "attempt.json").read_text())
        assert set(attempt) == {"pid", "host", "started", "attempt"}

    def test_a_hanging_trial_is_ended(
        self, executor: Executor, unruly: Study, tmp_path: Path
    ) -> None:
        hanging = replace(order(unruly, tmp_path, act="hang"), timeout=3.0)
        assert isinstance(executor.submit(trained(hanging)).exception(120), BrokenExecutor)
        assert "on_train_batch_start" in (tmp_path / "hang.txt").read_text()
        assert not (tmp_path / "failure.json").exists()

    def test_an_arm_that_kills_its_rehearsal(self, executor: Executor, unruly: Study) -> None:
        deadly = {"model": {"init_args": {"act": "kill", "at": 0}}}
        arms = tuple(
            replace(arm, overrides=deadly) if arm.name == "no-dropout" else arm
            for arm in unruly.arms
        )
        rehearsed = rehearse_arms(replace(unruly, arms=arms), [a.name for a in arms], executor)
        errors = {name: rehearsal.error for name, rehearsal in rehearsed.items()}
        assert errors["full"] is errors["no-bias"] is None
        assert "the worker died in the rehearsal" in str(errors["no-dropout"])
        assert getattr(errors["no-dropout"], "key", None) == "arms.no-dropout"

    def test_threads_are_the_trials_own(
        self, executor: Executor, unruly: Study, tmp_path: Path
    ) -> None:
        orders = [replace(order(unruly, tmp_path / str(n)), threads=n) for n in (2, 1)]
        executor.submit(trained(*orders)).result()
        assert [metrics_in(tmp_path / str(n))["threads"] for n in (2, 1)] == [2, 1]

    def test_ctrl_c_is_for_the_parent(
        self, executor: Executor, unruly: Study, tmp_path: Path
    ) -> None:
        (outcome,) = executor.submit(trained(order(unruly, tmp_path, act="interrupt"))).result()
        assert outcome.error is None

    def test_stopping_at_once_leaves_no_process(
        self, start: Start, executor: Executor, unruly: Study, tmp_path: Path
    ) -> None:
        executor.stop()
        stopped = start()
        folders = [tmp_path / str(n) for n in range(2)]
        futures = [stopped.submit(trained(endless(order(unruly, f)))) for f in folders]
        for folder in folders:
            wait_until(lambda f=folder: (f / "metrics.csv").exists(), 90)  # type: ignore[misc]
        processes = [process_in(folder) for folder in folders]
        assert all(map(alive, processes))
        stopped.stop(kill=True)
        for future in futures:
            with pytest.raises((BrokenExecutor, CancelledError)):
                future.result(60)
        wait_until(lambda: not any(map(alive, processes)))
        assert {path.name for folder in folders for path in folder.iterdir()}.isdisjoint(
            {"result.json", "failure.json"}
        )
        stopped.stop()
