"""Where jobs run. An executor is whatever has ``capacity``, ``submit(job) -> Future``, ``stop``."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import threading
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from ablations.sweep.job import Job, Outcome, Rehearsal

Answer = list[Outcome] | list[Rehearsal]


class Executor(Protocol):
    """The contract that every executor keeps."""

    @property
    def capacity(self) -> int:
        """How many jobs run at once."""

    def submit(self, job: Job) -> "Future[Answer]":
        """Start a job; a worker that dies breaks only this future."""

    def stop(self, *, kill: bool = False) -> None:
        """End all workers: after their jobs, or at once."""


@dataclass(frozen=True)
class Slot:
    """A share of the machine for one worker.

    Attributes:
        environment: Set before torch is imported.
        cores: The processor cores it may use; empty: any.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    cores: frozenset[int] = frozenset()


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
        for pool in self._pools:
            if kill:
                for process in list((pool._processes or {}).values()):
                    process.kill()
            pool.shutdown(wait=True, cancel_futures=True)


def local_slots(workers: int | None, threads: int, accelerator: str, most: int) -> list[Slot]:
    """One slot per GPU, or per share of the processor's cores.

    Args:
        workers: How many; None: a GPU each, or as many as the cores carry.
        threads: torch threads of a trial.
        accelerator: The base's ``trainer.accelerator``.
        most: No more slots than there is work.
    """
    cores = sorted(_available_cores())
    gpus = [] if accelerator == "cpu" else visible_gpus()
    count = min(workers or len(gpus) or max(1, len(cores) // threads), max(1, most))
    share = len(cores) // count
    slots = []
    for number in range(count):
        environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        own = cores[number * share : (number + 1) * share] if share >= threads else []
        slots.append(Slot(environment, frozenset(own)))
    return slots


def visible_gpus() -> list[str]:
    """Identifiers of the NVIDIA devices that may be used, without importing torch."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [part.strip() for part in allowed.split(",") if part.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.split()


def run_job(job: Job) -> Answer:
    """What a worker does with a job."""
    from ablations.sweep.rehearsal import rehearse
    from ablations.sweep.trial import run_trial

    if job.rehearse:
        return [rehearse(order) for order in job.orders]
    return [run_trial(order) for order in job.orders]


def _available_cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _pool(slot: Slot) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(slot,)
    )


def _start_worker(slot: Slot) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
