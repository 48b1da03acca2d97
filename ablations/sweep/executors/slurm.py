"""Jobs as SLURM jobs, through submitit; what waits together becomes one job array."""

import shutil
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.study import InputError
from ablations.sweep.executors import Answer
from ablations.sweep.executors.local import LocalExecutor
from ablations.sweep.executors.placement import Needs, Slot
from ablations.sweep.executors.remote import Visit, unfinished
from ablations.sweep.job import Job

# A trial may outlast the time limit of its partition this many times.
_TIMEOUTS = 100
# Jobs that are submitted within this time become one array.
_GATHER_SECONDS = 0.5
_POLL_SECONDS = 0.5
# A job looks this often whether its sweep was taken over by another parent.
_WATCH_SECONDS = 5.0
# How long a cancelled job may take to be gone.
_CANCEL_SECONDS = 60.0


@dataclass(frozen=True)
class Allocation:
    """What submitit runs in the node's own process: a parent to the workers on that node.

    Workers apart from it leave it free to hear SLURM's signals: on preemption, and before the time
    limit, submitit queues the job again, and its trials go on from their last checkpoints.
    """

    visit: Visit
    slots: tuple[Slot, ...]

    def __call__(self, job: Job) -> Answer | Exception:
        """Do the job; an exception is given back, for submitit would make a text of it."""
        try:
            self.visit.enter()
        except InputError as error:
            return error
        executor = LocalExecutor(self.slots)
        kill = True
        try:
            rest = unfinished(job)
            futures = [executor.submit(Job((order,), job.rehearse)) for order in rest.orders]
            while wait(futures, timeout=_WATCH_SECONDS).not_done:
                self.visit.check()
            kill = False
            return [answer for future in futures for answer in future.result()]  # type: ignore[return-value]
        except Exception as error:
            return error
        finally:
            executor.stop(kill=kill)

    def checkpoint(self, job: Job) -> Any:
        """Called by submitit before it queues the job again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, job)


class SlurmExecutor:
    """Jobs in SLURM's queue.

    Args:
        engine: submitit's executor, from :func:`slurm_engine`.
        needs: What a trial takes.
        visit: Where the workers find the workspace.
        workers: How many jobs are in the queue at once.
    """

    def __init__(self, engine: Any, needs: Needs, visit: Visit, workers: int) -> None:
        self._engine = engine
        threads = str(needs.threads)
        # On preemption SLURM signals every process; submitit's own is the one to act.
        ignored = (signal.SIGTERM, signal.SIGUSR2)
        slot = Slot({"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}, ignores=ignored)
        self._allocation = Allocation(visit, (slot,) * needs.per_gpu)
        self._workers = workers
        self._waiting: list[tuple[Job, Future[Answer]]] = []
        self._running: dict[Future[Answer], Any] = {}
        self._changed = threading.Condition()
        self._stopping = False
        end_leftovers(engine)
        self._thread = threading.Thread(target=self._attend, daemon=True)
        self._thread.start()

    @property
    def capacity(self) -> int:
        """How many jobs are in the queue at once."""
        return self._workers

    @property
    def abreast(self) -> int:
        """How many trials are trained side by side."""
        return self._workers * len(self._allocation.slots)

    def submit(self, job: Job) -> "Future[Answer]":
        """Queue a job, in one array with those that are submitted at about the same time."""
        told: Future[Answer] = Future()
        with self._changed:
            self._waiting.append((job, told))
            self._changed.notify()
        return told

    def stop(self, *, kill: bool = False) -> None:
        """End all jobs: after their trials, or at once."""
        with self._changed:
            waiting, self._waiting = self._waiting, []
            running = dict(self._running)
        for _, told in waiting:
            told.cancel()
        if not kill:
            wait(running)
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()
        _cancel(list(self._running.values()))
        for told in self._running:
            told.set_exception(BrokenExecutor("cancelled"))
        self._running.clear()
        self._allocation.visit.end()

    def _attend(self) -> None:
        """Submit what waits and tell what has ended, until stopped."""
        while not self._stopping:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping, _POLL_SECONDS)
            if self._waiting:
                time.sleep(_GATHER_SECONDS)
                self._submit_waiting()
            for told, job in list(self._running.items()):
                if job.done():
                    self._tell(told, job)

    def _submit_waiting(self) -> None:
        with self._changed:
            waiting = [pair for pair in self._waiting if pair[1].set_running_or_notify_cancel()]
            self._waiting = []
            try:
                jobs = self._engine.map_array(self._allocation, [job for job, _ in waiting])
            except Exception as error:
                for _, told in waiting:
                    told.set_exception(_refused(error))
                return
            self._running |= {told: job for (_, told), job in zip(waiting, jobs, strict=True)}

    def _tell(self, told: "Future[Answer]", job: Any) -> None:
        error: BaseException | None = None
        try:
            answer = job.result()
        except Exception as uncompleted:
            error = BrokenExecutor(" ".join(str(uncompleted).split()))
        else:
            error = answer if isinstance(answer, Exception) else None
        with self._changed:
            del self._running[told]
        if error is None:
            told.set_result(answer)
        else:
            told.set_exception(error)


def slurm_engine(folder: Path, study: str, needs: Needs, options: Mapping[str, Any]) -> Any:
    """The executor of submitit for a study.

    Args:
        folder: For sbatch scripts, logs and answers; seen by all nodes.
        study: Names the jobs.
        needs: What a trial takes.
        options: sbatch's options, which replace those that follow from ``needs``.

    Raises:
        InputError: submitit is not installed, or there is no SLURM here.
    """
    try:
        import submitit
    except ImportError as error:
        told = "submitit is not installed: pip install 'ablations[slurm]'"
        raise InputError(told, file="--executor", key="slurm") from error
    try:
        engine = submitit.SlurmExecutor(folder=folder / "%j", max_num_timeout=_TIMEOUTS)
    except RuntimeError as error:
        told = "no srun on the path; start the sweep on a machine that submits SLURM jobs"
        raise InputError(told, file="--executor", key="slurm") from error
    known = engine._valid_parameters()
    given: dict[str, Any] = {"job_name": f"ablate-{study}", "time": 240, "signal_delay_s": 60}
    given["cpus_per_task"] = needs.threads * needs.devices * needs.per_gpu
    if needs.gpus == "always":
        given["gpus_per_node"] = needs.width
    given |= {key: value for key, value in options.items() if key in known}
    others = {key: value for key, value in options.items() if key not in known}
    engine.update_parameters(**given, additional_parameters=others)
    return engine


def slurm_options(given: Sequence[str]) -> dict[str, Any]:
    """``["partition=long", "time=600"]`` as a mapping.

    Raises:
        InputError: One is not of the form key=value.
    """
    options: dict[str, Any] = {}
    for pair in given:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise InputError("expected key=value, as in partition=long", file="--slurm", key=pair)
        options[key.lstrip("-").replace("-", "_")] = int(value) if value.isdecimal() else value
    if not isinstance(options.get("time", 1), int):
        told = f"expected minutes, got {options['time']!r}"
        raise InputError(told, file="--slurm", key="time")
    return options


def end_leftovers(engine: Any) -> None:
    """Cancel the jobs of a sweep that ended without doing so, and wait until they are gone."""
    folder = engine.folder.parent
    jobs = [file for file in folder.glob("*/") if file.name[0].isdigit()]
    left = [file for file in jobs if not list(file.glob("*_result.pkl"))]
    _cancel([engine.job_class(folder / "%j", file.name) for file in left])
    for file in left:
        shutil.rmtree(file, ignore_errors=True)


def _cancel(jobs: Sequence[Any]) -> None:
    for job in jobs:
        job.cancel(check=False)
    deadline = time.monotonic() + _CANCEL_SECONDS
    while not all(job.done(force_check=True) for job in jobs) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _refused(error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"the job was not accepted: {reason[-300:]}", file="--slurm")
