"""Trials that travel together: how many, and what a death on the way costs."""

import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ablations.study import InputError, Study
from ablations.sweep.executors import packing
from ablations.sweep.executors.packing import Packing
from ablations.sweep.job import Job, Order, Outcome, Rehearsal
from ablations.workspace import write_json
from tests.sweep.conftest import order


class Cluster:
    """Keeps jobs until the test says how they end."""

    def __init__(self, capacity: int) -> None:
        self.capacity = self.abreast = capacity
        self.jobs: list[tuple[Job, Future[Any]]] = []
        self.stopped = False

    def submit(self, job: Job) -> "Future[Any]":
        self.jobs.append((job, Future()))
        return self.jobs[-1][1]

    def stop(self, *, kill: bool = False) -> None:
        self.stopped = True

    @property
    def sizes(self) -> list[int]:
        return [len(job.orders) for job, _ in self.jobs]

    def rehearsed(self, seconds: float | None) -> None:
        _, future = self.jobs.pop()
        future.set_result([Rehearsal("full", {}, (), None, None, seconds=seconds)])


class Timer:
    """A timer that goes off when the test has submitted all that it wants."""

    set: ClassVar[list["Timer"]] = []

    def __init__(self, seconds: float, function: Callable[[], None]) -> None:
        self.function = function

    def start(self) -> None:
        self.set.append(self)


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "Timer", Timer)
    Timer.set.clear()


def begin(order: Order, attempt: int = 1) -> None:
    write_json(order.folder / "attempt.json", {"attempt": attempt, "started": time.time()})


def finish(order: Order, seconds: float = 1.0) -> Outcome:
    begin(order)
    write_json(order.folder / "result.json", {"status": "done", "seconds": seconds})
    return Outcome(order.trial, "done", None, seconds)


def submit(executor: Packing, study: Study, folder: Path, count: int) -> list["Future[Any]"]:
    orders = [order(study, folder / str(seed), seed=seed) for seed in range(count)]
    futures = [executor.submit(Job((each,))) for each in orders]
    (timer,) = Timer.set
    timer.function()
    return futures


@pytest.mark.parametrize(
    ("rehearsed", "count", "sizes"),
    [
        (None, 4, [1, 1]),
        (30.0, 30, [10, 10]),
        (30.0, 6, [3, 3]),
        (30.0, 3, [2, 1]),
        (7200.0, 6, [1, 1]),
        (0.0, 2000, [600, 600]),
    ],
)
def test_size_by_the_rehearsal(
    toy: Study, tmp_path: Path, rehearsed: float | None, count: int, sizes: list[int]
) -> None:
    cluster = Cluster(2)
    executor = Packing(cluster, seconds=300)
    executor.submit(Job((order(toy, tmp_path),), rehearse=True))
    cluster.rehearsed(rehearsed)
    submit(executor, toy, tmp_path, count)
    assert cluster.sizes == sizes
    assert (executor.capacity, executor.abreast) == (2 * executor.size, 2)
    executor.stop(kill=True)


@pytest.mark.parametrize(("rehearsed", "sizes"), [(30.0, [4, 3]), (7200.0, [4, 3])])
def test_trials_that_share_a_gpu_are_not_spread_out(
    toy: Study, tmp_path: Path, rehearsed: float, sizes: list[int]
) -> None:
    cluster = Cluster(64)
    executor = Packing(cluster, seconds=300, at_once=4)
    executor.submit(Job((order(toy, tmp_path),), rehearse=True))
    cluster.rehearsed(rehearsed)
    submit(executor, toy, tmp_path, 7)
    assert cluster.sizes == sizes
    executor.stop(kill=True)


def test_what_trials_took_replaces_what_the_rehearsal_feared(toy: Study, tmp_path: Path) -> None:
    cluster = Cluster(1)
    executor = Packing(cluster, seconds=300)
    executor.submit(Job((order(toy, tmp_path),), rehearse=True))
    cluster.rehearsed(300.0)
    futures = submit(executor, toy, tmp_path, 21)
    assert len(cluster.jobs) == 1
    (first, told) = cluster.jobs[0]
    assert cluster.sizes == [1]
    told.set_result([finish(first.orders[0], seconds=30)])
    assert futures[0].result()[0].status == "done"
    assert cluster.sizes == [1, 10]
    assert executor.capacity == 10
    executor.stop(kill=True)
    assert cluster.stopped and futures[-1].cancelled()


def packed(toy: Study, folder: Path, count: int) -> tuple[Cluster, Packing, list["Future[Any]"]]:
    cluster = Cluster(1)
    executor = Packing(cluster, seconds=300)
    executor.submit(Job((order(toy, folder),), rehearse=True))
    cluster.rehearsed(1.0)
    futures = submit(executor, toy, folder, count)
    assert cluster.sizes == [count]
    return cluster, executor, futures


def test_a_death_costs_the_trial_in_flight_alone(toy: Study, tmp_path: Path) -> None:
    write_json(tmp_path / "4" / "attempt.json", {"attempt": 1, "started": 0.0})  # an old one
    cluster, executor, futures = packed(toy, tmp_path, 5)
    job, told = cluster.jobs[0]
    finish(job.orders[0])
    begin(job.orders[1])
    write_json(job.orders[1].folder / "failure.json", {"error": "ValueError: no"})
    begin(job.orders[2])
    told.set_exception(BrokenExecutor("killed"))
    assert futures[0].result(20)[0].status == "done"
    assert futures[1].result(20)[0].error == "ValueError: no"
    assert isinstance(futures[2].exception(20), BrokenExecutor)
    assert len(cluster.jobs) == 2
    again, answer = cluster.jobs[1]
    assert [each.trial for each in again.orders] == ["full-3", "full-4"]
    assert [each.attempt for each in again.orders] == [1, 1]
    answer.set_result([finish(each) for each in again.orders])
    assert [future.result(20)[0].trial for future in futures[3:]] == ["full-3", "full-4"]
    executor.stop()


def test_a_death_before_any_trial_costs_each_an_attempt(toy: Study, tmp_path: Path) -> None:
    cluster, executor, futures = packed(toy, tmp_path, 3)
    cluster.jobs[0][1].set_exception(BrokenExecutor("no such node"))
    assert all(isinstance(future.exception(20), BrokenExecutor) for future in futures)
    assert len(cluster.jobs) == 1
    executor.stop()


def test_what_was_finished_before_a_job_was_queued_again(toy: Study, tmp_path: Path) -> None:
    cluster, executor, futures = packed(toy, tmp_path, 2)
    job, told = cluster.jobs[0]
    finish(job.orders[0])
    told.set_result([finish(job.orders[1])])
    assert [future.result(20)[0].trial for future in futures] == ["full-0", "full-1"]
    executor.stop()


def test_a_worker_without_the_workspace(toy: Study, tmp_path: Path) -> None:
    cluster, executor, futures = packed(toy, tmp_path, 2)
    cluster.jobs[0][1].set_exception(InputError("does not see this workspace"))
    assert all(isinstance(future.exception(20), InputError) for future in futures)
    executor.stop()
