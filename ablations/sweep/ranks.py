"""A trial on several devices: a command of its own, whose ranks re-execute it and not the sweep."""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ablations.sweep.job import Order, Outcome
from ablations.workspace import read_json, write_atomic, write_json

Answer = TypeVar("Answer")

# How long a rank that is ending may take to say how it ended.
_GRACE_SECONDS = 2.0


class RankDied(BrokenExecutor):
    """A rank was killed, and all others with it."""


def run_in_ranks(order: Order, work: Callable[[Order], Answer]) -> Answer:
    """Have a trial done by ``python -m ablations.sweep.trial``, in a process group of its own.

    The group ends with its first rank and with this process, however either of them ends.

    Args:
        order: For several devices.
        work: A function of this package: ``run_trial`` or ``rehearse``.

    Raises:
        RankDied: A rank was killed.
    """
    with tempfile.TemporaryDirectory(prefix="ablations-") as temporary:
        folder = Path(temporary)
        (folder / "order.pickle").write_bytes(pickle.dumps((order, work)))
        output = folder / "output.txt"
        command = [sys.executable, "-m", "ablations.sweep.trial", str(folder / "order.pickle")]
        with output.open("wb") as file:
            process = subprocess.Popen(
                command,
                env=_environment(order),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        answer: Answer = _answer(folder, order, output)
        return answer


def _environment(order: Order) -> dict[str, str]:
    """Ours, less what would make Lightning take itself for a rank of another launcher."""
    foreign = ("SLURM_", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK", "WORLD_SIZE", "MASTER_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return kept | {"OMP_NUM_THREADS": str(order.threads)}


def _answer(folder: Path, order: Order, output: Path) -> Any:
    answers = [_read(folder / f"{rank}.pickle") for rank in range(order.devices)]
    told = [answer for answer in answers if answer is not None]
    if not told:
        raise RankDied(" ".join(output.read_text(errors="replace")[-300:].split()))
    failed = [each for each in told if isinstance(each, Outcome) and each.error is not None]
    if not failed:
        return told[0]
    if preempted := [each for each in told if getattr(each, "status", "") == "preempted"]:
        return preempted[0]
    # The others only saw that one go.
    reason = min(failed, key=lambda outcome: outcome.failed)
    if reason.status == "failed" and reason is not answers[0]:
        failure = {"error": reason.error, "traceback": "", "attempts": order.attempt}
        known = read_json(order.folder / "failure.json") or {}
        write_json(order.folder / "failure.json", {"time": reason.failed} | known | failure)
    return reason


def _read(answer: Path) -> Any:
    return pickle.loads(answer.read_bytes()) if answer.exists() else None


def main() -> None:
    """Do what ``order.pickle`` says, as the first rank or as one that the first has launched."""
    threading.Thread(target=_end_with_worker, daemon=True).start()
    file = Path(sys.argv[1])
    order, work = pickle.loads(file.read_bytes())
    answer = work(order)
    rank = os.environ.get("LOCAL_RANK", "0")
    failed = answer.error is not None
    if failed or not follows(order):
        write_atomic(file.with_name(f"{rank}.pickle"), pickle.dumps(answer))
    sys.exit(failed)


def _end_with_worker() -> None:
    """The worker holds the other end of the first rank's input, which all ranks inherit."""
    os.read(0, 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def follows(order: Order) -> bool:
    """Whether this process is a rank that another one launched: it writes nothing."""
    return order.devices > 1 and os.environ.get("LOCAL_RANK", "0") != "0"


def follower_was_killed(trainer: Any) -> bool:
    """Whether an error of the first rank comes from a rank that was killed."""
    for process in getattr(trainer.strategy.launcher, "procs", ()):
        with suppress(subprocess.TimeoutExpired):
            if process.wait(timeout=_GRACE_SECONDS) < 0:
                return True
    return False


def mark(error: BaseException) -> None:
    """Note when an error was raised, before other ranks fail for it."""
    error.__dict__["raised_at"] = time.time()


def raised_at(error: BaseException) -> float:
    """When an error was raised, as far as it was noted."""
    return float(error.__dict__.setdefault("raised_at", time.time()))


def mean_over_ranks(values: Mapping[str, float]) -> dict[str, float]:
    """Each value's mean over the ranks that have it, on every rank alike."""
    shares: list[dict[str, float]] = gathered(dict(values))
    if len(shares) == 1:
        return shares[0]
    names = dict.fromkeys(name for share in shares for name in share)
    seen = {name: [share[name] for share in shares if name in share] for name in names}
    return {name: sum(numbers) / len(numbers) for name, numbers in seen.items()}


def gathered(own: Any) -> list[Any]:
    """What every rank gives, in their order; on one device what this process gives."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return [own]
    shares: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(shares, own)
    return shares
