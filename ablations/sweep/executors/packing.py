"""Short trials, packed into jobs of minutes: a cluster's scheduler takes seconds for each job."""

from collections import deque
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import RLock, Timer
from typing import Any

from ablations.sweep.executors import Answer, Executor
from ablations.sweep.job import Job, Order, Outcome, Rehearsal
from ablations.workspace import read_json

# Jobs that are submitted within this time may share a pack.
_GATHER_SECONDS = 0.2
# Of a trial that is over at once, what its start and end cost.
_LEAST_SECONDS = 0.5


@dataclass
class _Waiting:
    order: Order
    told: "Future[Answer]" = field(default_factory=Future)
    before: Any = None

    @property
    def attempt(self) -> Path:
        return self.order.folder / "attempt.json"


class Packing:
    """An executor whose jobs of one trial travel together in another's jobs.

    How many depends on how long the trials that ended took, or before that on the rehearsal. Where
    a pack's worker dies, what it finished stays, the trial that it was at has lost an attempt, and
    the others wait again.

    Args:
        executor: Does the packs.
        seconds: How long a pack shall take.
        at_once: How many trials of a pack a worker does side by side.
    """

    def __init__(self, executor: Executor, seconds: float = 300.0, at_once: int = 1) -> None:
        self._executor = executor
        self._seconds = seconds
        self._at_once = at_once
        self._waiting: deque[_Waiting] = deque()
        self._packs = 0
        self._rehearsed: list[float] = []
        self._ended: list[float] = []
        self._timer: Timer | None = None
        self._stopped = False
        self._lock = RLock()

    @property
    def size(self) -> int:
        """How many trials a full pack holds now."""
        with self._lock:
            if self._ended:
                each = sum(self._ended) / len(self._ended)
            elif self._rehearsed:
                each = max(self._rehearsed)
            else:
                return self._at_once
        return self._at_once * max(1, int(self._seconds / max(each, _LEAST_SECONDS)))

    @property
    def capacity(self) -> int:
        """How many jobs may be handed over at once."""
        return self._executor.capacity * self.size

    @property
    def abreast(self) -> int:
        """How many trials are trained side by side; the rest of a pack waits in it."""
        return self._executor.abreast

    def submit(self, job: Job) -> "Future[Answer]":
        """Let a trial wait for others; a rehearsal goes on at once."""
        if job.rehearse or len(job.orders) != 1:
            done = self._executor.submit(job)
            done.add_done_callback(self._learn)
            return done
        waiting = _Waiting(job.orders[0])
        with self._lock:
            self._waiting.append(waiting)
            if self._timer is None and not self._stopped:
                self._timer = Timer(_GATHER_SECONDS, self._gathered)
                self._timer.daemon = True
                self._timer.start()
        return waiting.told

    def stop(self, *, kill: bool = False) -> None:
        """End all workers: after their packs, or at once."""
        with self._lock:
            self._stopped = True
            waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            each.told.cancel()
        self._executor.stop(kill=kill)

    def _learn(self, done: "Future[Answer]") -> None:
        if done.cancelled() or done.exception() is not None:
            return
        with self._lock:
            for answer in done.result():
                if isinstance(answer, Outcome) and answer.status in ("done", "diverged", "stopped"):
                    self._ended.append(answer.seconds)
                if isinstance(answer, Rehearsal) and answer.seconds is not None:
                    self._rehearsed.append(answer.seconds)

    def _gathered(self) -> None:
        with self._lock:
            self._timer = None
        self._fill()

    def _fill(self) -> None:
        """Make packs of what waits, as many as find room, none much fuller than another."""
        while True:
            with self._lock:
                free = self._executor.capacity - self._packs
                if not self._waiting or free < 1 or self._stopped:
                    return
                size = min(self.size, max(-(-len(self._waiting) // free), self._at_once))
                taken = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
                pack = [each for each in taken if _starts(each)]
                if not pack:
                    continue
                self._packs += 1
            for each in pack:
                each.before = read_json(each.attempt)
            done = self._executor.submit(Job(tuple(each.order for each in pack)))
            done.add_done_callback(self._learn)
            done.add_done_callback(partial(self._unpack, pack))

    def _unpack(self, pack: list[_Waiting], done: "Future[Answer]") -> None:
        error = BrokenExecutor("stopped") if done.cancelled() else done.exception()
        answers = [] if error is not None else done.result()
        told = {answer.trial: answer for answer in answers if isinstance(answer, Outcome)}
        begun = [each for each in pack if read_json(each.attempt) != each.before]
        lost = [each for each in pack if isinstance(error, BrokenExecutor) and each not in begun]
        with self._lock:
            self._packs -= 1
            # A worker that dies before its first trial costs all of them an attempt.
            again = lost if begun and not self._stopped else []
            self._waiting.extendleft(reversed(again))
        for each in pack:
            if each in again:
                continue
            outcome = told.get(each.order.trial) or _outcome(each.order)
            if outcome is not None and (error is None or each in begun):
                each.told.set_result([outcome])
            else:
                each.told.set_exception(error or BrokenExecutor("no answer"))
        self._fill()


def _starts(each: _Waiting) -> bool:
    return each.told.running() or each.told.set_running_or_notify_cancel()


def _outcome(order: Order) -> Outcome | None:
    """How a trial ended, going by its files; None: it did not."""
    result = read_json(order.folder / "result.json")
    if result is not None:
        return Outcome(order.trial, result["status"], None, result["seconds"])
    failure = read_json(order.folder / "failure.json")
    return None if failure is None else Outcome(order.trial, "failed", failure["error"])
