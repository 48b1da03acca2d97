"""Where jobs run. One has ``capacity``, ``abreast``, ``submit(job) -> Future``, ``stop``."""

from concurrent.futures import Future
from typing import Protocol

from ablations.sweep.job import Job, Outcome, Rehearsal

Answer = list[Outcome] | list[Rehearsal]


class Executor(Protocol):
    """The contract that every executor keeps."""

    @property
    def capacity(self) -> int:
        """How many jobs it takes at once."""

    @property
    def abreast(self) -> int:
        """How many trials are trained side by side, where all have work."""

    def submit(self, job: Job) -> "Future[Answer]":
        """Start a job; a worker that dies gives this future alone a ``BrokenExecutor``."""

    def stop(self, *, kill: bool = False) -> None:
        """End all workers: after their jobs, or at once."""


def run_job(job: Job) -> Answer:
    """What a worker does with a job.

    Raises:
        BrokenExecutor: A rank of a trial on several devices died.
    """
    from ablations.sweep.fused import run_fused
    from ablations.sweep.ranks import run_in_ranks
    from ablations.sweep.rehearsal import rehearse
    from ablations.sweep.trial import run_trial

    if job.rehearse:
        return [
            run_in_ranks(order, rehearse) if order.devices > 1 else rehearse(order)
            for order in job.orders
        ]
    if job.fused:
        return run_fused(job.orders)
    return [
        run_in_ranks(order, run_trial) if order.devices > 1 else run_trial(order)
        for order in job.orders
    ]
