"""One contract that every executor keeps, and what the local one owes beside it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ablations.study import Study
from ablations.sweep.executors import (
    Executor,
    LocalExecutor,
    Slot,
    _warm_up,
    local_slots,
    run_job,
    visible_gpus,
)
from ablations.sweep.job import Job, Order
from ablations.sweep.scheduler import rehearse_arms
from tests.sweep.conftest import order

THREADS = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module", params=[lambda: LocalExecutor([Slot(THREADS), Slot(THREADS)])])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """An executor of capacity 2; further kinds of executor are further parameters."""
    made = request.param()
    yield made
    made.stop()


def trained(*orders: Order) -> Job:
    return Job(orders)


def metrics_in(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())["metrics"]
    return content


class TestContract:
    def test_capacity(self, executor: Executor) -> None:
        assert executor.capacity == 2

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
        died = [isinstance(future.exception(), BrokenProcessPool) for future in futures]
        assert died == [True, False, False, False]
        assert [(tmp_path / f"{n}" / "result.json").exists() for n in (1, 2, 3)] == [True] * 3
        assert not (tmp_path / "kill0" / "result.json").exists()
        attempt = json.loads((tmp_path / "kill0" / "attempt.json").read_text())
        assert set(attempt) == {"pid", "host", "started", "attempt"}

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


def processes_of(executor: LocalExecutor) -> list[int]:
    return [pid for pool in executor._pools for pid in pool._processes]


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


def test_slots_stay_alive_and_stop_at_once(unruly: Study, tmp_path: Path) -> None:
    executor = LocalExecutor([Slot(THREADS)])
    folders = [tmp_path / str(n) for n in range(3)]
    futures = [executor.submit(trained(order(unruly, folder))) for folder in folders[:2]]
    for future in futures:
        future.result()
    (pid,) = processes_of(executor)
    assert [metrics_in(folder)["process"] for folder in folders[:2]] == [pid, pid]
    starts = [json.loads((f / "result.json").read_text())["started"] for f in folders[:2]]
    assert starts == sorted(starts)

    endless = order(unruly, folders[2])
    overrides = {"trainer": {"max_epochs": 9999}}
    endless = replace(endless, recipe=replace(endless.recipe, overrides=overrides))
    running, waits = executor.submit(trained(endless)), executor.submit(trained(endless))
    wait_until(lambda: (folders[2] / "metrics.csv").exists(), 60)
    executor.stop(kill=True)
    assert isinstance(running.exception(), BrokenProcessPool)
    with pytest.raises(CancelledError):
        waits.result()
    assert not alive(pid)
    executor.stop()


class _Pool:
    """A pool that counts its jobs and may be broken from the start."""

    made: ClassVar[list["_Pool"]] = []

    def __init__(self, _: Slot) -> None:
        self.jobs: list[Any] = []
        self.made.append(self)

    def submit(self, work: Any, *arguments: Any) -> "Future[Any]":
        if self is self.made[0] and arguments:
            raise BrokenProcessPool
        self.jobs.append(work)
        return Future()


def test_a_worker_that_died_idle_is_replaced(
    monkeypatch: pytest.MonkeyPatch, toy: Study, tmp_path: Path
) -> None:
    monkeypatch.setattr("ablations.sweep.executors._pool", _Pool)
    executor = LocalExecutor([Slot()])
    job = trained(order(toy, tmp_path))
    first, second, third = (executor.submit(job) for _ in range(3))
    assert [pool.jobs for pool in _Pool.made] == [[_warm_up], [run_job]]
    assert first.running() and not second.running()
    assert third.cancel() and not first.cancel()


_PARENT = """\
import os, sys, time
from ablations.sweep.executors import LocalExecutor, Slot

if __name__ == "__main__":
    executor = LocalExecutor([Slot()])
    print(executor._pools[0].submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


def test_a_worker_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(_PARENT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, env=environment
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    assert alive(worker)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not alive(worker))


def cores(slots: list[Slot]) -> list[list[int]]:
    return [sorted(slot.cores) for slot in slots]


@pytest.mark.parametrize(
    ("workers", "threads", "most", "shares"),
    [
        (None, 1, 9, [[0], [1], [2], [3]]),
        (None, 2, 9, [[0, 1], [2, 3]]),
        (None, 8, 9, [[]]),
        (None, 1, 3, [[0], [1], [2]]),
        (1, 1, 9, [[0, 1, 2, 3]]),
        (2, 1, 9, [[0, 1], [2, 3]]),
        (3, 2, 9, [[], [], []]),
        (6, 1, 9, [[]] * 6),
        (2, 1, 0, [[0, 1, 2, 3]]),
    ],
)
def test_shares_of_the_processor(
    monkeypatch: pytest.MonkeyPatch,
    workers: int | None,
    threads: int,
    most: int,
    shares: list[list[int]],
) -> None:
    monkeypatch.setattr("ablations.sweep.executors._available_cores", lambda: {0, 1, 2, 3})
    slots = local_slots(workers, threads, "cpu", most)
    assert cores(slots) == shares
    assert {slot.environment["OMP_NUM_THREADS"] for slot in slots} == {str(threads)}
    assert not any("CUDA_VISIBLE_DEVICES" in slot.environment for slot in slots)


def test_a_slot_for_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, GPU-abc")
    assert visible_gpus() == ["0", "GPU-abc"]
    monkeypatch.setattr("ablations.sweep.executors._available_cores", lambda: {0, 1, 2, 3})

    def devices(workers: int | None) -> list[str]:
        slots = local_slots(workers, 1, "auto", 9)
        return [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots]

    assert devices(None) == ["0", "GPU-abc"]
    assert devices(3) == ["0", "GPU-abc", "0"]
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert visible_gpus() == []
