"""What is handed to a worker, and what it says back. Results themselves are files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ablations.study import InputError
from ablations.sweep.build import Recipe


@dataclass(frozen=True)
class Order:
    """One trial to train, or one arm to rehearse.

    Attributes:
        folder: Where the trial leaves its files.
        metrics: The metrics that the study reads; a non-finite one makes the trial diverged.
        threads: torch threads, the same wherever the trial runs.
        attempt: 1 for the first.
        keep_weights: Whether the trial leaves its final weights too.
        test: Whether the test set may be seen; never while tuning.
        timeout: Seconds without progress after which its process ends itself.
        devices: How many it takes; with more than one it is a command of its own, in ranks.
    """

    recipe: Recipe
    seed: int
    trial: str
    folder: Path
    metrics: tuple[str, ...]
    weights: Literal["last", "best"] = "last"
    threads: int = 1
    attempt: int = 1
    keep_weights: bool = False
    test: bool = True
    timeout: float | None = None
    devices: int = 1


@dataclass(frozen=True)
class Job:
    """Trials for one worker, trained in order or fused as one, or arms to rehearse."""

    orders: tuple[Order, ...]
    rehearse: bool = False
    fused: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    A stopped try was given up while tuning; a preempted trial was told to end and goes on from its
    checkpoint; one without space could not write its files.

    Attributes:
        error: One line for a failed trial.
        seconds: Wall time in the worker.
        failed: When its error was raised, in seconds since 1970.
        alone: Why it was trained alone, where it should have been fused with others.
        apart: Whether that holds for all trials of its arm.
    """

    trial: str
    status: Literal["done", "diverged", "failed", "stopped", "preempted", "no space"]
    error: str | None = None
    seconds: float = 0.0
    failed: float = 0.0
    alone: str = ""
    apart: bool = False


@dataclass(frozen=True)
class Rehearsal:
    """What a batch or two of an arm tell.

    Attributes:
        config: The resolved configuration.
        logged: The names of all metrics logged by fit and test.
        parameters: Trainable parameters.
        flops: Of one example's forward pass, 2 per multiply-accumulate; None where unknown.
        layers: A row for each layer, where the module tells them (see rehearsal.LAYER_COLUMNS).
        error: Why the arm cannot be trained.
        seconds: What a whole trial may take, going by its last batch; None: unknown.
    """

    arm: str
    config: Mapping[str, Any]
    logged: tuple[str, ...]
    parameters: int | None
    flops: int | None
    notes: tuple[str, ...] = ()
    error: InputError | None = None
    layers: tuple[Mapping[str, Any], ...] = ()
    seconds: float | None = None
