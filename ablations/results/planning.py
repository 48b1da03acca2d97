"""Seeds before and after a sweep: power, detectable effects, seeds needed, cost.

Everything is in terms of the SD of one difference between arm and baseline: over pairs the SD of
their differences, with 1 degree of freedom less than pairs; unpaired the SD of a difference of two
single trials, with n seeds in each arm and 2 (n - 1) degrees of freedom. Power is that of the
t test, from the noncentral t distribution (Cohen 1988, chapter 2).
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ablations.results.statistics import ALPHA, Delta

POWER = 0.80
MOST_SEEDS = 1000


def sd_of_difference(sd: float, correlation: float | None = None) -> float:
    """SD of arm - baseline from the SD of one arm over seeds.

    Args:
        sd: Of one arm.
        correlation: Of the two arms over paired seeds; None where they are not paired.
    """
    return sd * math.sqrt(2 * (1 - (correlation or 0.0)))


def power(effect: float, sd: float, n: int, alpha: float = ALPHA, paired: bool = True) -> float:
    """Chance that the two-sided t test at `alpha` sees a difference of `effect`.

    Args:
        effect: True difference, in the units of `sd`.
        sd: Of one difference, see the module.
        n: Pairs; unpaired, seeds in each arm.
        alpha: Level of the test.
        paired: Whether the seeds are paired.
    """
    return _power(abs(effect) / sd * math.sqrt(n), _df(n, paired), alpha)


def seeds_needed(
    effect: float,
    sd: float,
    alpha: float = ALPHA,
    paired: bool = True,
    wanted: float = POWER,
    most: int = MOST_SEEDS,
) -> int | None:
    """The fewest seeds per arm that see `effect` with the power `wanted`; None: more than `most`.

    Arguments as of :func:`power`. Corrected by Holm over m arms, the first of them to be seen
    needs its seeds at alpha / m.
    """
    if not (effect and math.isfinite(effect)):
        return None
    counts = range(2, most + 1)
    at = bisect.bisect_left(counts, wanted, key=lambda n: power(effect, sd, n, alpha, paired))
    return counts[at] if at < len(counts) else None


def detectable_effect(se: float, df: float, alpha: float = ALPHA, wanted: float = POWER) -> float:
    """The true difference that a test with this standard error sees with the power `wanted`.

    In the units of `se`; NaN where that is zero or not defined, or `alpha` is zero.
    """
    if not (se > 0 and df > 0 and alpha > 0):
        return float("nan")
    t = special.stdtrit(df, 1 - alpha / 2)
    # The tail of the other sign is negligible at any power worth planning for.
    return float(se * special.nctdtrinc(df, 1 - wanted, t))


def equivalence_chance(
    margin: float, sd: float, n: int, alpha: float = ALPHA, paired: bool = True
) -> float:
    """Chance that two arms without any difference come out equivalent.

    Exact: the interval at level 1 - 2 alpha lies inside the margin, integrated over the
    distribution of the estimated SD (Phillips 1990, doi:10.1007/BF01063556). Arguments as of
    :func:`power`; `margin` in the units of `sd`.
    """
    df = _df(n, paired)
    room, t = margin / sd * math.sqrt(n), float(special.stdtrit(df, 1 - alpha))
    # Quantiles of the estimated SD up to the one whose interval is as wide as the margin.
    widest = special.chdtr(df, df * (room / t) ** 2)
    nodes, weights = np.polynomial.legendre.leggauss(64)
    estimated = np.sqrt(special.chdtri(df, 1 - widest * (nodes + 1) / 2) / df)
    inside = 2 * special.ndtr(room - t * estimated) - 1
    return float(weights @ inside * widest / 2)


def upper_sd(sd: float, df: float, level: float = 0.80) -> float:
    """What an SD estimated on `df` degrees of freedom is below, at the one-sided `level`.

    A plan made with it reaches its power with that confidence; one made with the estimate itself
    falls short more often than not. Browne 1995, doi:10.1002/sim.4780141709.
    """
    return sd * math.sqrt(df / float(special.chdtri(df, level)))


@dataclass(frozen=True)
class Further:
    """Further seeds per arm that an undecided difference asks for; None: more than the most."""

    low: int | None
    high: int | None


def further_seeds(delta: Delta, most: int, alpha: float = ALPHA) -> Further:
    """How many more seeds would decide, as a range.

    For 80% power: at the true difference |delta| + SE with the SD as it is (low), and at
    |delta| - SE with the SD at its upper 80% limit (high). A single number would hide that both
    are estimates from few seeds.

    Args:
        delta: Of at least two pairs.
        most: Seeds per arm that can be paid for, those already there included.
        alpha: Level of the test that it has to pass.
    """
    if not delta.df > 0 or delta.degenerate:
        return Further(None, None)

    def further(effect: float, sd: float) -> int | None:
        needed = seeds_needed(max(effect, 0), sd, alpha, delta.paired, most=most)
        return None if needed is None else max(1, needed - delta.n)

    size = abs(delta.mean)
    cautious = upper_sd(delta.sd, delta.df)
    return Further(further(size + delta.se, delta.sd), further(size - delta.se, cautious))


@dataclass(frozen=True)
class SeedsNeeded:
    """Seeds per arm that see `effect` with 80% power; None: more than the most.

    Attributes:
        holm_unpaired: As `unpaired`, at the level of Holm's first step over all arms; `holm_paired`
            as `paired`.
    """

    effect: float
    unpaired: int | None
    paired: int | None
    holm_unpaired: int | None
    holm_paired: int | None


def seeds_table(
    effects: Sequence[float], sd: float, correlation: float, arms: int, most: int = MOST_SEEDS
) -> tuple[SeedsNeeded, ...]:
    """Seeds needed for each wanted effect.

    Args:
        effects: True differences from the baseline, in the metric's units.
        sd: Of one arm over seeds.
        correlation: Of two arms over paired seeds.
        arms: Compared with the baseline.
        most: Above it an entry is None.
    """
    spreads = ((sd_of_difference(sd), False), (sd_of_difference(sd, correlation), True))
    return tuple(
        SeedsNeeded(
            effect,
            *(
                seeds_needed(effect, spread, level, paired, most=most)
                for level in (ALPHA, ALPHA / max(arms, 1))
                for spread, paired in spreads
            ),
        )
        for effect in effects
    )


def pooled_sd(arms: Sequence[ArrayLike]) -> tuple[float, int]:
    """SD over seeds within arms, and its degrees of freedom; NaN and 0 where no arm has two.

    Args:
        arms: For each arm its values, those that are not finite left out.
    """
    values = [np.asarray(arm, dtype=float) for arm in arms]
    kept = [v[np.isfinite(v)] for v in values]
    df = sum(max(len(v) - 1, 0) for v in kept)
    squares = sum(float(((v - v.mean()) ** 2).sum()) for v in kept if len(v))
    return (math.sqrt(squares / df) if df else float("nan")), df


def gpu_hours(trials: int, seconds: float, gpus: int = 1) -> float:
    """What `trials` trials of `seconds` each occupy, in hours of one GPU."""
    return trials * seconds * gpus / 3600


def _df(n: int, paired: bool) -> int:
    return (n - 1) * (1 if paired else 2)


def _power(ncp: float, df: float, alpha: float) -> float:
    t = special.stdtrit(df, 1 - alpha / 2)
    below, other_side = special.nctdtr(df, ncp, [t, -t])
    # NaN where it is too small to be represented.
    return float(1 - np.nan_to_num(below) + np.nan_to_num(other_side))
