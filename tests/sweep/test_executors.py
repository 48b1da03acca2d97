"""What the executor of this machine owes beside the contract."""

import json
import os
import subprocess
import sys
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ablations.study import Study
from ablations.sweep.executors import run_job
from ablations.sweep.executors.local import LocalExecutor, _warm_up
from ablations.sweep.executors.placement import Slot
from tests.sweep.conftest import order
from tests.sweep.contract import (
    Contract,
    Start,
    alive,
    endless,
    metrics_in,
    trained,
    wait_until,
)

THREADS = {"OMP_NUM_THREADS": "1"}


class TestLocal(Contract):
    @pytest.fixture(scope="class")
    @classmethod
    def start(cls) -> Start:
        return lambda: LocalExecutor([Slot(THREADS), Slot(THREADS)])


def processes_of(executor: LocalExecutor) -> list[int]:
    return [pid for pool in executor._pools for pid in pool._processes]


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

    long = trained(endless(order(unruly, folders[2])))
    running, waits = executor.submit(long), executor.submit(long)
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
    monkeypatch.setattr("ablations.sweep.executors.local._pool", _Pool)
    executor = LocalExecutor([Slot()])
    job = trained(order(toy, tmp_path))
    first, second, third = (executor.submit(job) for _ in range(3))
    assert [pool.jobs for pool in _Pool.made] == [[_warm_up], [run_job]]
    assert first.running() and not second.running()
    assert third.cancel() and not first.cancel()


_PARENT = """\
import os, sys, time
from ablations.sweep.executors.local import LocalExecutor
from ablations.sweep.executors.placement import Slot

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
