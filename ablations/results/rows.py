"""What a delta table holds: values only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablations.results.claims import Claim
from ablations.results.statistics import Delta, Verdict
from ablations.study import Metric


@dataclass(frozen=True)
class Row:
    """One arm. Numbers in the metric's own units; NaN where there is none.

    Attributes:
        metric: What the arm is judged by, mostly the study's.
        changes: For each dotted key of the configuration what it was and what the arm makes it.
        planned: Trials that the study asks for; `n` of them have a value.
        mean: Over all trials with a value, as `sd`; `delta` is over pairs.
        parameters: Of one model; `flops` of its forward pass on one example.
        seconds: Mean of the finished trials.
    """

    arm: str
    metric: Metric
    changes: Mapping[str, Sequence[Any]]
    planned: int
    n: int
    mean: float
    sd: float
    delta: Delta
    p_holm: float
    verdict: Verdict
    failed: int
    diverged: int
    parameters: float
    flops: float
    seconds: float
    claim: Claim | None = None

    @property
    def pairs(self) -> int:
        """How many seeds have a value in this arm and in the baseline."""
        return self.delta.n


@dataclass(frozen=True)
class DeltaTable:
    """The answer to a study's question.

    Attributes:
        rows: The baseline first, then the arms in the study's order.
        unfinished: Trials that may still come.
        exploratory: Seeds were added after a verdict had been shown.
        notes: Whole sentences to print below.
    """

    study: str
    question: str
    metric: Metric
    margin: float | None
    rows: tuple[Row, ...]
    unfinished: int
    exploratory: bool
    notes: tuple[str, ...]

    @property
    def baseline(self) -> Row:
        """The row that the others are compared with."""
        return self.rows[0]

    @property
    def arms(self) -> tuple[Row, ...]:
        """The rows without the baseline's."""
        return self.rows[1:]
