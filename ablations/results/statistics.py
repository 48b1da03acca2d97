"""Paired deltas, intervals, corrected p values and verdicts: pure functions on arrays."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Verdict = Literal["better", "worse", "equivalent", "undecided", "baseline"]
Interval = tuple[float, float]

ALPHA = 0.05
MIN_PAIRS_FOR_VERDICT = 3
NO_INTERVAL: Interval = (float("nan"), float("nan"))
# Metrics are logged as float32: a spread below its rounding is no spread.
_ROUNDING = 4 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Delta:
    """The paired difference of two arms; what is not defined is NaN.

    `missing` holds the positions whose pair was dropped, as one side was not finite.
    `degenerate` says that the differences do not vary, so that p and the intervals come from
    the sign-flip test instead of the t distribution.
    """

    differences: NDArray[np.float64]
    mean: float
    sd: float
    interval: Interval
    interval_90: Interval
    p: float
    correlation: float
    missing: tuple[int, ...]
    degenerate: bool

    @property
    def n(self) -> int:
        """Number of pairs."""
        return len(self.differences)


def paired_delta(arm: ArrayLike, baseline: ArrayLike) -> Delta:
    """Mean of arm - baseline over pairs, its t intervals and two-sided p (Student 1908).

    Both arrays are (seeds,), aligned by seed, with NaN where a trial has no value; a pair with a
    side that is not finite is dropped and listed in `missing`. One pair gives a mean alone.

    Where the differences do not vary, the t statistic is undefined. Then p is the two-sided
    sign-flip p (Fisher 1935), 2 / 2^n, or 1 where the differences are all zero, and an interval
    is the inversion of that test: the single point once 2 / 2^n has reached its level (n >= 6
    for 95%, n >= 5 for 90%), undefined before.

    Raises ValueError if the arrays differ in shape.
    """
    a, b = np.asarray(arm, dtype=float), np.asarray(baseline, dtype=float)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"need two arrays of one length, got shapes {a.shape} and {b.shape}")
    kept = np.isfinite(a) & np.isfinite(b)
    missing = tuple(int(i) for i in np.flatnonzero(~kept))
    a, b = a[kept], b[kept]
    d = a - b
    n = len(d)
    nan = float("nan")
    mean = float(d.mean()) if n else nan
    sd = float(d.std(ddof=1)) if n > 1 else nan
    intervals, p, degenerate = (NO_INTERVAL, NO_INTERVAL), nan, False
    if n > 1:
        tolerance = _ROUNDING * float(max(np.abs(a).max(), np.abs(b).max()))
        degenerate = sd <= tolerance
        if degenerate:
            floor = 2.0 ** (1 - n)
            p = floor if abs(mean) > tolerance else 1.0
            point = (mean, mean)
            intervals = (
                point if floor <= 0.05 else NO_INTERVAL,
                point if floor <= 0.10 else NO_INTERVAL,
            )
        else:
            p = float(stats.ttest_1samp(d, 0.0).pvalue)
            intervals = (t_interval(mean, sd, n, 0.95), t_interval(mean, sd, n, 0.90))
    return Delta(d, mean, sd, *intervals, p, seed_correlation(a, b), missing, degenerate)


def t_interval(mean: float, sd: float, n: int, level: float) -> Interval:
    """The two-sided Student t interval of a mean of n values with sample SD `sd`, at `level`."""
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * sd / n**0.5
    return mean - half, mean + half


def seed_correlation(arm: ArrayLike, baseline: ArrayLike) -> float:
    """Pearson's correlation of two arms over shared seeds; NaN below three pairs or no spread.

    It tells how far common random numbers paid; the test is never chosen by it.
    """
    a, b = np.asarray(arm, dtype=float), np.asarray(baseline, dtype=float)
    kept = np.isfinite(a) & np.isfinite(b)
    a, b = a[kept], b[kept]
    if len(a) < 3 or min(a.std(), b.std()) <= _ROUNDING * max(np.abs(a).max(), np.abs(b).max()):
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down adjusted p values (Holm 1979), in the order given, at most 1.

    The family is the tests that were made: NaN stays NaN and does not count.
    """
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return adjusted


def verdict(
    delta: Delta,
    p_holm: float,
    mode: Literal["min", "max"],
    margin: float | None = None,
    diverged: int = 0,
) -> Verdict:
    """How an arm stands to the baseline.

    Equivalent where a margin is given and the 90% interval lies inside it, which is two
    one-sided tests at 5% (Schuirmann 1987, doi:10.1007/BF01068419); else better or worse, by the
    mode, where Holm's p is under 5%; else undecided. Fewer than three pairs decide nothing. An
    arm with diverged trials is never better or equivalent: its delta knows only the seeds that
    trained.
    """
    if delta.n < MIN_PAIRS_FOR_VERDICT:
        return "undecided"
    low, high = delta.interval_90
    if margin is not None and -margin < low and high < margin and not diverged:
        return "equivalent"
    if not p_holm < ALPHA:
        return "undecided"
    if (delta.mean > 0) == (mode == "min"):
        return "worse"
    return "undecided" if diverged else "better"


def spread(values: ArrayLike) -> tuple[int, float, float]:
    """Count, mean and sample SD of the finite values; NaN where not defined."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    mean = float(finite.mean()) if len(finite) else float("nan")
    sd = float(finite.std(ddof=1)) if len(finite) > 1 else float("nan")
    return len(finite), mean, sd
