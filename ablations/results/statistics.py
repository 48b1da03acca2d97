"""Differences of two arms, their intervals and p values, and the verdict: functions on arrays."""

from dataclasses import dataclass, replace
from math import comb
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ablations.results.signflip import sign_flip_p

Verdict = Literal["better", "worse", "equivalent", "undecided", "baseline"]
Interval = tuple[float, float]
Bound = Literal["exact", "at least", "at most", "none"]

ALPHA = 0.05
MIN_PAIRS_FOR_VERDICT = 3
NO_INTERVAL: Interval = (float("nan"), float("nan"))
# Metrics are logged as float32: a spread below its rounding is no spread.
_ROUNDING = 4 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Delta:
    """The difference of two arms, arm - baseline; what is not defined is NaN.

    Attributes:
        differences: One for each pair; empty where the arms are not paired.
        sd: Of the differences; unpaired, of a difference of two single trials.
        se: Of the mean, on `df` degrees of freedom.
        interval: At 95%; `interval_90` at 90%.
        p: Two-sided, of no difference.
        correlation: Pearson's, of the two arms over seeds.
        counts: Values that the arm and the baseline contribute.
        missing: Positions whose pair was dropped, as one side was not finite.
        degenerate: The values do not vary, so that p and the intervals come from the sign-flip
            test (unpaired: the permutation test) instead of the t distribution.
        tolerance: What rounding may make of one difference.
        bound: What values that are only known to be beyond a limit make of the mean.
    """

    differences: NDArray[np.float64]
    mean: float
    sd: float
    se: float
    df: float
    interval: Interval
    interval_90: Interval
    p: float
    correlation: float
    counts: tuple[int, int]
    missing: tuple[int, ...]
    degenerate: bool
    tolerance: float
    paired: bool = True
    bound: Bound = "exact"

    @property
    def n(self) -> int:
        """Number of pairs; unpaired, the smaller number of values."""
        return min(self.counts)

    @property
    def p_sign_flip(self) -> float:
        """The sign-flip test's p, a check of `p`; NaN where the arms are not paired."""
        return sign_flip_p(self.differences, self.tolerance)

    @property
    def least_p(self) -> float:
        """The least two-sided p that flipping signs, or permuting two arms, can give."""
        if self.paired:
            return 2.0 ** (1 - self.n)
        arm, baseline = self.counts
        return (1 + (arm == baseline)) / comb(arm + baseline, arm)


def paired_delta(arm: ArrayLike, baseline: ArrayLike) -> Delta:
    """Mean of arm - baseline over pairs, its t intervals and two-sided p.

    Student 1908, doi:10.1093/biomet/6.1.1. Both arrays are (seeds,), aligned by seed, with NaN
    where a trial has no value; a pair with a side that is not finite is dropped and listed in
    `missing`. One pair gives a mean alone.

    Raises:
        ValueError: The arrays differ in shape.
    """
    a, b = np.asarray(arm, dtype=float), np.asarray(baseline, dtype=float)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"need two arrays of one length, got shapes {a.shape} and {b.shape}")
    kept = np.isfinite(a) & np.isfinite(b)
    differences = np.full(a.shape, np.nan)
    differences[kept] = a[kept] - b[kept]
    scale = float(np.abs([a[kept], b[kept]]).max(initial=0.0))
    return replace(delta_of(differences, scale), correlation=seed_correlation(a, b))


def delta_of(differences: ArrayLike, scale: float | None = None) -> Delta:
    """A mean of paired differences, or of any contrast of which each seed gives one value.

    Where they do not vary, the t statistic is undefined. Then p is the two-sided sign-flip p,
    2 / 2^n, or 1 where all are zero, and an interval is the inversion of that test: the single
    point once 2 / 2^n has reached its level (n >= 6 for 95%, n >= 5 for 90%), undefined before.

    Args:
        differences: (seeds,), NaN where there is none; such positions go to `missing`.
        scale: Size of the numbers that were subtracted, of which rounding is a share; by default
            that of the differences.
    """
    every = np.asarray(differences, dtype=float)
    missing = tuple(int(i) for i in np.flatnonzero(~np.isfinite(every)))
    d = every[np.isfinite(every)]
    n = len(d)
    nan = float("nan")
    mean = float(d.mean()) if n else nan
    sd = float(d.std(ddof=1)) if n > 1 else nan
    tolerance = _ROUNDING * (float(np.abs(d).max(initial=0.0)) if scale is None else scale)
    found = Delta(
        differences=d,
        mean=mean,
        sd=sd,
        se=sd / n**0.5 if n > 1 else nan,
        df=float(n - 1) if n > 1 else nan,
        interval=NO_INTERVAL,
        interval_90=NO_INTERVAL,
        p=nan,
        correlation=nan,
        counts=(n, n),
        missing=missing,
        degenerate=n > 1 and sd <= tolerance,
        tolerance=tolerance,
    )
    return _tested(found)


def welch_delta(arm: ArrayLike, baseline: ArrayLike) -> Delta:
    """Difference of the means of two unpaired arms, each with its own variance.

    Welch 1947, doi:10.1093/biomet/34.1-2.28, with Satterthwaite's degrees of freedom (1946,
    doi:10.2307/3002019). For studies that are unpaired by design; values that are not finite are
    left out. Where neither arm varies, p is the permutation test's.
    """
    a, b = (np.asarray(side, dtype=float) for side in (arm, baseline))
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    nan = float("nan")
    mean = float(a.mean() - b.mean()) if len(a) and len(b) else nan
    testable = min(len(a), len(b)) > 1
    va, vb = (float(side.var(ddof=1)) if testable else nan for side in (a, b))
    qa, qb = va / max(len(a), 1), vb / max(len(b), 1)
    tolerance = _ROUNDING * float(np.abs(np.concatenate((a, b))).max(initial=0.0))
    degenerate = testable and max(va, vb) <= tolerance**2
    df = nan
    if testable and not degenerate:
        df = (qa + qb) ** 2 / (qa**2 / (len(a) - 1) + qb**2 / (len(b) - 1))
    found = Delta(
        differences=np.empty(0),
        mean=mean,
        sd=(va + vb) ** 0.5,
        se=(qa + qb) ** 0.5,
        df=df,
        interval=NO_INTERVAL,
        interval_90=NO_INTERVAL,
        p=nan,
        correlation=nan,
        counts=(len(a), len(b)),
        missing=(),
        degenerate=degenerate,
        tolerance=tolerance,
        paired=False,
    )
    return _tested(found)


def _tested(delta: Delta) -> Delta:
    if delta.n < 2:
        return delta
    if delta.degenerate:
        point, floor = (delta.mean, delta.mean), delta.least_p
        return replace(
            delta,
            p=floor if abs(delta.mean) > delta.tolerance else 1.0,
            interval=point if floor <= 0.05 else NO_INTERVAL,
            interval_90=point if floor <= 0.10 else NO_INTERVAL,
        )
    return replace(
        delta,
        p=float(2 * special.stdtr(delta.df, -abs(delta.mean) / delta.se)),
        interval=t_interval(delta.mean, delta.se, delta.df, 0.95),
        interval_90=t_interval(delta.mean, delta.se, delta.df, 0.90),
    )


def t_interval(mean: float, se: float, df: float, level: float) -> Interval:
    """The two-sided Student t interval of an estimate at `level`."""
    half = float(special.stdtrit(df, (1 + level) / 2)) * se
    return mean - half, mean + half


def equivalence_p(delta: Delta, margin: float | None) -> float:
    """The p of two one-sided tests that the difference is inside -margin to margin.

    The greater of the two, so that it is under 5% where the 90% interval lies inside. Schuirmann
    1987, doi:10.1007/BF01068419. NaN without a margin or below two pairs.
    """
    if margin is None or delta.n < 2:
        return float("nan")
    room = margin - abs(delta.mean)
    if delta.degenerate:
        return delta.least_p / 2 if room > 0 else 1.0
    return float(special.stdtr(delta.df, -room / delta.se))


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


def holm(p_values: ArrayLike, family: int | None = None) -> NDArray[np.float64]:
    """Holm's step-down adjusted p values, in the order given, at most 1.

    Holm 1979, Scandinavian Journal of Statistics 6:65-70. NaN stays NaN.

    Args:
        p_values: (tests,).
        family: How many hypotheses may still be true; by default the tests that were made. More,
            where some of the family are not tested now.
    """
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = max(family or 0, len(order)) - np.arange(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return adjusted


def verdict(
    delta: Delta,
    p_holm: float,
    p_equivalent: float,
    mode: Literal["min", "max"],
    diverged: int = 0,
) -> Verdict:
    """How an arm stands to the baseline.

    Equivalent where two one-sided tests place the difference inside the margin at 5%; else better
    or worse, by the mode, where Holm's p is under 5%; else undecided. Fewer than three pairs
    decide nothing. An arm with diverged trials is never better or equivalent: its delta knows
    only the seeds that trained.

    Args:
        delta: The difference.
        p_holm: Of no difference, corrected for the arms of the study.
        p_equivalent: Of the one-sided tests, corrected likewise; NaN without a margin.
        mode: Whether low or high is better.
        diverged: Trials of this arm that diverged.
    """
    if delta.n < MIN_PAIRS_FOR_VERDICT:
        return "undecided"
    if p_equivalent < ALPHA and not diverged:
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
