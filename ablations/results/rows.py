"""What a delta table holds: values only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ablations.results.claims import Claim
from ablations.results.planning import Further
from ablations.results.sections import Section
from ablations.results.sequential import Standing
from ablations.results.statistics import Delta, Verdict
from ablations.results.verdicts import Judgement
from ablations.study import Metric


@dataclass(frozen=True)
class Reading:
    """One arm on a metric that stands beside the deciding one: it has no verdict."""

    metric: Metric
    n: int
    mean: float
    sd: float
    delta: Delta


@dataclass(frozen=True)
class Row:
    """One arm. Numbers in the metric's own units; NaN where there is none.

    Attributes:
        metric: What the arm is judged by, mostly the study's.
        changes: For each dotted key of the configuration what it was and what the arm makes it.
        planned: Trials that the study asks for; `n` of them have a value.
        mean: Over all trials with a value, as `sd`; `delta` is over pairs.
        judgement: The verdict and what it stands on.
        parameters: Of one model; `flops` of its forward pass on one example.
        seconds: Median of the finished trials, as one may have been suspended.
        further: Seeds that an undecided difference asks for; None where more would not decide or
            the study plans its own looks.
        divergence_p: Fisher's exact p that the arm diverges as often as the baseline.
        standing: Where a study that plans its looks has come to; `delta` is then that look's.
        beside: The study's further metrics.
        tries: Tuning trials that its settings were chosen by; None where none is known of.
        marks: In a word each, why the row is to be read with care; the notes say more.
    """

    arm: str
    metric: Metric
    changes: Mapping[str, Sequence[Any]]
    planned: int
    n: int
    mean: float
    sd: float
    delta: Delta
    judgement: Judgement
    failed: int
    diverged: int
    parameters: float
    flops: float
    seconds: float
    claim: Claim | None = None
    further: Further | None = None
    divergence_p: float = float("nan")
    standing: Standing | None = None
    beside: tuple[Reading, ...] = ()
    marks: tuple[str, ...] = ()
    tries: int | None = None

    @property
    def verdict(self) -> Verdict:
        """How the arm stands to the baseline."""
        return self.judgement.verdict

    @property
    def p_holm(self) -> float:
        """The p of no difference, corrected for the arms."""
        return self.judgement.p_holm

    @property
    def pairs(self) -> int:
        """How many seeds have a value in this arm and in the baseline; unpaired, the fewer."""
        return self.delta.n


@dataclass(frozen=True)
class Caution:
    """A reason to read a table with care.

    Attributes:
        note: Whole sentences to print below the table.
        marks: For each arm that it is about, a word or two to stand in its row.
    """

    note: str
    marks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DeltaTable:
    """The answer to a study's question.

    Attributes:
        rows: The baseline first, then the arms in the study's order.
        unfinished: Trials that may still come; of planned looks, those of the next one.
        exploratory: Seeds were added after a verdict had been shown.
        notes: Whole sentences to print below.
        sections: Smaller tables that stand beside.
    """

    study: str
    question: str
    metric: Metric
    margin: float | None
    rows: tuple[Row, ...]
    unfinished: int
    exploratory: bool
    notes: tuple[str, ...]
    sections: tuple[Section, ...] = ()

    @property
    def baseline(self) -> Row:
        """The row that the others are compared with."""
        return self.rows[0]

    @property
    def arms(self) -> tuple[Row, ...]:
        """The rows without the baseline's."""
        return self.rows[1:]
