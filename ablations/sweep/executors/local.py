"""Workers on this machine: a process per slot, alive from job to job."""

import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

from ablations.leaving import leave_quickly
from ablations.sweep.executors import Answer, run_job
from ablations.sweep.executors.placement import Slot
from ablations.sweep.job import Job


class LocalExecutor:
    """A one-process spawn pool per slot, each alive from job to job.

    A pool is never given a job before it ended the last: what waits in a pool dies with its worker.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = list(slots)
        self._pools = [_pool(slot) for slot in self._slots]
        self._idle = list(range(len(self._slots)))
        self._waiting: deque[tuple[Job, Future[Answer]]] = deque()
        self._stopped = False
        self._lock = threading.RLock()
        for pool in self._pools:
            pool.submit(_warm_up)

    @property
    def capacity(self) -> int:
        """How many jobs run at once."""
        return len(self._slots)

    @property
    def abreast(self) -> int:
        """How many trials are trained side by side."""
        return self.capacity

    def submit(self, job: Job) -> "Future[Answer]":
        """Hand a job to an idle slot, or to the first that will be."""
        told: Future[Answer] = Future()
        with self._lock:
            self._waiting.append((job, told))
            self._fill()
        return told

    def _fill(self) -> None:
        with self._lock:
            while self._idle and self._waiting and not self._stopped:
                job, told = self._waiting.popleft()
                if not told.set_running_or_notify_cancel():
                    continue
                number = self._idle.pop(0)
                try:
                    done = self._pools[number].submit(run_job, job)
                except BrokenProcessPool:
                    self._pools[number] = _pool(self._slots[number])
                    done = self._pools[number].submit(run_job, job)
                done.add_done_callback(partial(self._ended, number, told))

    def _ended(self, number: int, told: "Future[Answer]", done: "Future[Answer]") -> None:
        error = CancelledError() if done.cancelled() else done.exception()
        with self._lock:
            if isinstance(error, BrokenProcessPool) and not self._stopped:
                self._pools[number] = _pool(self._slots[number])
            self._idle.append(number)
            self._fill()
        if error is None:
            told.set_result(done.result())
        else:
            told.set_exception(error)

    def stop(self, *, kill: bool = False) -> None:
        """End all workers: after their jobs, or at once."""
        with self._lock:
            self._stopped = True
            waiting, self._waiting = self._waiting, deque()
        for _, told in waiting:
            told.cancel()
        for pool in self._pools if kill else ():
            for process in list((pool._processes or {}).values()):
                process.kill()
        for pool in self._pools:
            pool.shutdown(wait=True, cancel_futures=True)


def _pool(slot: Slot) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(slot,)
    )


def _start_worker(slot: Slot) -> None:
    leave_quickly()(0)
    for ignored in (signal.SIGINT, *slot.ignores):
        signal.signal(ignored, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(slot.environment)
    if slot.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, slot.cores)


def _warm_up() -> None:
    """Import what every trial needs while the parent does its own start-up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ablations.sweep.rehearsal
        import ablations.sweep.trial  # noqa: F401


def _end_with_parent() -> None:
    parent: Any = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
