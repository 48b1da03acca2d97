"""All arms of a study judged together: two Holm families, and what has to be said beside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ablations.results.planning import detectable_effect
from ablations.results.statistics import (
    ALPHA,
    MIN_PAIRS_FOR_VERDICT,
    Delta,
    Verdict,
    equivalence_p,
    holm,
    verdict,
)

# What a reader would stumble over, unless a sentence explains it.
Flag = Literal[
    "non-zero, below the margin",  # equivalent, although Holm's p sees a difference
    "interval excludes zero",  # undecided: the interval is of one arm, Holm's p of all
    "inside the margin",  # not equivalent, although the 90% interval of this arm alone is inside
    "given that it trains",  # better or equivalent, were it not for diverged trials
]


@dataclass(frozen=True)
class Judgement:
    """One arm's verdict with the figures that it stands on; NaN where there is none.

    Attributes:
        p_holm: Of no difference, corrected for the arms.
        p_equivalent: Of two one-sided tests against the margin.
        p_equivalent_holm: The same corrected for the arms, a family of its own.
        detectable: The true difference that this arm's test sees with 80% power, at the level
            that Holm leaves to those still undecided, at its standard error.
        flags: What to explain.
    """

    verdict: Verdict
    p_holm: float
    p_equivalent: float
    p_equivalent_holm: float
    detectable: float
    flags: tuple[Flag, ...] = ()


def judge(
    deltas: Sequence[Delta],
    modes: Sequence[Literal["min", "max"]],
    margin: float | None = None,
    diverged: Sequence[int] = (),
) -> tuple[Judgement, ...]:
    """The verdict of each arm but the baseline.

    Difference and equivalence are two families, each corrected by Holm at 5%. An arm that is
    inside the margin is equivalent, whether or not zero is excluded, and then flagged (the three-
    sided test of Goeman, Solari and Stijnen 2010, doi:10.1002/sim.4002).

    Args:
        deltas: One for each arm.
        modes: Whether low or high is better, for each arm.
        margin: In the metric's units; None: no arm is equivalent. Never derived from the data.
        diverged: Diverged trials of each arm, none by default.
    """
    p_equivalent = [equivalence_p(delta, margin) for delta in deltas]
    p_holm = holm([delta.p for delta in deltas])
    inside_holm = holm(p_equivalent)
    undecided = sum(p >= ALPHA for p in p_holm.tolist())
    return tuple(
        judgement(
            delta,
            mode,
            (float(p), equivalent, float(inside)),
            lost,
            ALPHA / max(undecided, 1),
        )
        for delta, mode, p, equivalent, inside, lost in zip(
            deltas,
            modes,
            p_holm,
            p_equivalent,
            inside_holm,
            diverged or [0] * len(deltas),
            strict=True,
        )
    )


def judgement(
    delta: Delta,
    mode: Literal["min", "max"],
    p: tuple[float, float, float],
    diverged: int = 0,
    level: float = ALPHA,
) -> Judgement:
    """One arm's judgement from its corrected p values.

    Args:
        delta: The difference.
        mode: Whether low or high is better.
        p: Of no difference, corrected; of equivalence; the same corrected.
        diverged: Trials of this arm that diverged.
        level: At which the detectable effect is meant.
    """
    p_holm, p_equivalent, inside_holm = p
    found = verdict(delta, p_holm, inside_holm, mode, diverged)
    flags: list[Flag] = []
    low, high = delta.interval
    if found == "equivalent" and p_holm < ALPHA:
        flags.append("non-zero, below the margin")
    if delta.n >= MIN_PAIRS_FOR_VERDICT:
        if found == "undecided" and p_holm >= ALPHA and (low > 0 or high < 0):
            flags.append("interval excludes zero")
        if p_equivalent < ALPHA <= inside_holm:
            flags.append("inside the margin")
        if verdict(delta, p_holm, inside_holm, mode) != found:
            flags.append("given that it trains")
    return Judgement(
        found,
        p_holm,
        p_equivalent,
        inside_holm,
        detectable_effect(delta.se, delta.df, level),
        tuple(flags),
    )
