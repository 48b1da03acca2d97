"""Jobs as Ray tasks. Ray's own retries are off: the ledger counts attempts."""

import logging
import os
import socket
from concurrent.futures import BrokenExecutor, Future, wait
from functools import partial
from typing import Any

from ablations.study import InputError
from ablations.sweep.executors import Answer
from ablations.sweep.executors.placement import Needs
from ablations.sweep.executors.remote import Visit
from ablations.sweep.job import Job


def connect(address: str | None) -> Any:
    """Ray, connected to a cluster.

    Args:
        address: Of the cluster; None: RAY_ADDRESS, or else one of this machine alone, made here.

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address.
    """
    try:
        import ray
    except ImportError as error:
        told = "Ray is not installed: pip install 'ablations[ray]'"
        raise InputError(told, file="--executor", key="ray") from error
    # Asked for none, Ray would join whatever cluster somebody left running here.
    chosen = address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        _see(chosen)
        ray.init(address=chosen, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(_line(error), file="--address", key=address or "RAY_ADDRESS") from error
    return ray


def _see(address: str) -> None:
    """See that somebody listens at an address with a port: Ray waits minutes for nobody.

    Raises:
        OSError: Nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


class RayExecutor:
    """Tasks on a Ray cluster, which gives each its processors and GPUs.

    Args:
        ray: From :func:`connect`.
        needs: What a trial takes; of a shared GPU it is a fraction.
        visit: Where the workers find the workspace.
        workers: How many tasks at once; None: as many as the cluster carries.

    Raises:
        InputError: No node of the cluster is large enough.
    """

    def __init__(self, ray: Any, needs: Needs, visit: Visit, workers: int | None = None) -> None:
        self._ray = ray
        self._visit = visit
        self._workers = workers
        self._running: dict[Future[Answer], Any] = {}
        self._takes = self._resources(needs)
        if self._room() < 1:
            self.stop()
            amounts = ", ".join(f"{amount:g} {kind}" for kind, amount in self._takes.items())
            raise InputError(f"no node of the cluster has what a trial takes: {amounts}")
        options = {"num_cpus": self._takes["CPU"], "num_gpus": self._takes.get("GPU", 0)}
        self._task = ray.remote(max_retries=0, **options)(_work)

    @property
    def capacity(self) -> int:
        """How many jobs run at once; a cluster may grow."""
        return self._workers or max(1, self._room())

    @property
    def abreast(self) -> int:
        """How many trials are trained side by side."""
        return self.capacity

    def submit(self, job: Job) -> "Future[Answer]":
        """Hand a job to the cluster."""
        told: Future[Answer] = Future()
        told.set_running_or_notify_cancel()
        task = self._task.remote(self._visit, job)
        self._running[told] = task
        task.future().add_done_callback(partial(self._ended, told))
        return told

    def _ended(self, told: "Future[Answer]", done: "Future[Answer]") -> None:
        error: Any = done.exception()
        errors = self._ray.exceptions
        if isinstance(error, errors.RayTaskError):
            error = error.cause
        elif isinstance(error, errors.RayError):
            error = BrokenExecutor(_line(error))
        self._running.pop(told, None)
        if error is None:
            told.set_result(done.result())
        else:
            told.set_exception(error)

    def stop(self, *, kill: bool = False) -> None:
        """End all workers: after their jobs, or at once."""
        running = dict(self._running)
        if kill:
            for task in running.values():
                self._ray.cancel(task, force=True)
        wait(running)
        self._ray.shutdown()
        self._visit.end()

    def _resources(self, needs: Needs) -> dict[str, float]:
        takes: dict[str, float] = {"CPU": needs.threads * needs.devices}
        has_gpus = self._ray.cluster_resources().get("GPU", 0) > 0
        if needs.gpus == "always" or (needs.gpus == "auto" and has_gpus):
            takes["GPU"] = needs.width / needs.per_gpu
        return takes

    def _room(self) -> int:
        """Tasks that the nodes carry at once; none spans two of them."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return sum(
            min(int(node.get(kind, 0) / amount + 1e-9) for kind, amount in self._takes.items())
            for node in nodes
        )


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _work(visit: Visit, job: Job) -> Answer:
    return visit.work(job)
