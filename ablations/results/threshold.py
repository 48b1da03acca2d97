"""Time to a threshold: how many epochs an arm needs, against the baseline."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from ablations.results.statistics import NO_INTERVAL, Bound, Delta, Interval, delta_of


def first_crossing(epochs: ArrayLike, values: ArrayLike, below: float) -> float:
    """When a curve first is at or below a threshold, interpolated linearly; infinity: never.

    Args:
        epochs: (points,) increasing: the epochs passed when each value was measured.
        values: (points,) of the metric; a value that is not finite is above every threshold.
        below: The threshold. A curve that starts under it crossed at its first point.
    """
    x, y = np.asarray(epochs, dtype=float), np.asarray(values, dtype=float)
    under = np.flatnonzero(y <= below)
    if not len(under):
        return math.inf
    at = int(under[0])
    if at == 0 or not math.isfinite(y[at - 1]):
        return float(x[at])
    share = (y[at - 1] - below) / (y[at - 1] - y[at])
    return float(x[at - 1] + share * (x[at] - x[at - 1]))


@dataclass(frozen=True)
class TimeRatio:
    """Time of an arm divided by that of the baseline.

    Attributes:
        ratio: exp of the mean log ratio over pairs.
        bound: Whether it is exact, or censoring makes it a bound; "none": both arms are censored,
            and it bounds nothing.
        interval: At 95%; not defined with censoring.
        p: Two-sided: t on logs, with censoring the sign-flip test on logs of min(T, budget).
        medians: Kaplan-Meier's, of arm and baseline; infinity: over half never crossed.
        censored: Trials of each that did not cross within the budget.
        n: Pairs.
    """

    ratio: float
    bound: Bound
    interval: Interval
    p: float
    medians: tuple[float, float]
    censored: tuple[int, int]
    n: int


def time_ratio(arm: ArrayLike, baseline: ArrayLike, budget: float) -> TimeRatio:
    """Compare times to a threshold over paired seeds.

    Times differ by factors, so they are compared on logs. Without censoring the interval is
    Student's. A censored time is only known to be beyond the budget: the sign-flip test then
    compares log min(T, budget), exact where both arms are alike, whatever was censored.

    Args:
        arm: (seeds,) times, infinity (or beyond the budget) where it was not reached, NaN where
            there is no trial.
        baseline: (seeds,) likewise, aligned by seed.
        budget: When every trial ended, in the unit of the times.

    Raises:
        ValueError: The arrays differ in shape, or a time is not positive.
    """
    a, b = np.asarray(arm, dtype=float), np.asarray(baseline, dtype=float)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"need two arrays of one length, got shapes {a.shape} and {b.shape}")
    kept = ~(np.isnan(a) | np.isnan(b))
    a, b = a[kept], b[kept]
    if min(a.min(initial=math.inf), b.min(initial=math.inf)) <= 0:
        raise ValueError("times to a threshold are above 0")
    late_a, late_b = a > budget, b > budget
    late = (int(late_a.sum()), int(late_b.sum()))
    delta = delta_of(np.log(np.minimum(a, budget)) - np.log(np.minimum(b, budget)), scale=1.0)
    low, high = (math.exp(end) for end in delta.interval)
    return TimeRatio(
        ratio=math.exp(delta.mean),
        bound=bound_of(*late),
        interval=NO_INTERVAL if any(late) else (low, high),
        p=delta.p_sign_flip if any(late) else delta.p,
        medians=(median_time(a, budget), median_time(b, budget)),
        censored=late,
        n=delta.n,
    )


def bound_of(arm: int, baseline: int) -> Bound:
    """What so many censored times of an arm and its baseline make of their ratio."""
    if arm and baseline:
        return "none"
    return "at least" if arm else "at most" if baseline else "exact"


def censored(delta: Delta, bound: Bound, p: float) -> Delta:
    """A delta of log times of which some are only known to be longer: a bound and its p.

    Neither a t interval nor its p holds then, and no arm is equivalent.
    """
    nan = float("nan")
    return replace(
        delta,
        se=nan,
        df=nan,
        interval=NO_INTERVAL,
        interval_90=NO_INTERVAL,
        p=p,
        degenerate=False,
        bound=bound,
    )


def median_time(times: ArrayLike, budget: float) -> float:
    """Kaplan-Meier's median, infinity where more than half are censored; NaN without times.

    Kaplan and Meier 1958, doi:10.1080/01621459.1958.10501452. `times` as of :func:`time_ratio`.
    """
    t = np.asarray(times, dtype=float)
    t = t[~np.isnan(t)]
    crossed = t[t <= budget]
    if not len(t):
        return math.nan
    if not len(crossed):
        return math.inf
    # A slow import that a table without such trials does not pay for.
    from scipy import stats

    data = stats.CensoredData(uncensored=crossed, right=np.full(len(t) - len(crossed), budget))
    survival = stats.ecdf(data).sf
    reached = survival.quantiles[survival.probabilities <= 0.5 + 1e-12]
    return float(reached[0]) if len(reached) else math.inf
