"""Two sources of noise: new seeds and new test examples, from stored per-example predictions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ablations.results.statistics import NO_INTERVAL, Interval, t_interval


@dataclass(frozen=True)
class Crossed:
    """A mean difference for new seeds and new test examples.

    Attributes:
        interval: At 95%, on `df` degrees of freedom (Satterthwaite).
        se_seeds: Standard error for new seeds on this test set alone, for comparison.
        seeds: Share of the squared standard error that more seeds would remove; `examples`, more
            test examples; `interaction`, either. They add up to 1.
    """

    mean: float
    se: float
    df: float
    interval: Interval
    se_seeds: float
    seeds: float
    examples: float
    interaction: float


def crossed_interval(differences: ArrayLike) -> Crossed:
    """The crossed analysis of variance of d[seed, example].

    Every seed meets the same test examples, so both are random factors and crossed:
    Var = (MS_seed + MS_example - MS_rest) / (n N) (Searle, Casella and McCulloch 1992, Variance
    Components, chapter 4), on Satterthwaite's degrees of freedom (1946, doi:10.2307/3002019). It
    is floored at MS_seed / (n N) and MS_example / (n N), one source alone: a difference of mean
    squares can be too small by chance. Bootstrapping examples within seeds would leave most of
    the variance of the examples out.

    Args:
        differences: (n seeds, N examples), arm - baseline: for an error rate in percent, 100
            where only the arm is wrong, -100 where only the baseline is, 0 elsewhere.

    Raises:
        ValueError: Not a matrix of at least 2 x 2 finite numbers.
    """
    d = np.asarray(differences, dtype=float)
    if d.ndim != 2 or min(d.shape) < 2 or not np.isfinite(d).all():
        raise ValueError(f"need at least 2 seeds x 2 examples, all finite, got shape {d.shape}")
    n, total = d.shape
    mean = float(d.mean())
    of_seeds, of_examples = d.mean(axis=1) - mean, d.mean(axis=0) - mean
    rest = d - mean - of_seeds[:, None] - of_examples
    dfs = np.array([n - 1, total - 1, (n - 1) * (total - 1)], dtype=float)
    squares = np.array([(of_seeds**2).sum() * total, (of_examples**2).sum() * n, (rest**2).sum()])
    seeds, examples, interaction = (float(square) for square in squares / dfs)
    weights = max(
        ((1, 1, -1), (1, 0, 0), (0, 1, 0)),
        key=lambda w: w[0] * seeds + w[1] * examples + w[2] * interaction,
    )
    parts = np.array(weights) * (seeds, examples, interaction) / (n * total)
    variance, se_seeds = float(parts.sum()), (seeds / (n * total)) ** 0.5
    if not variance:
        return Crossed(mean, 0.0, float("nan"), NO_INTERVAL, 0.0, *[float("nan")] * 3)
    df = float(variance**2 / (parts**2 / dfs).sum())
    se = variance**0.5
    components = np.maximum([seeds - interaction, examples - interaction, interaction], 0.0)
    shares = (float(share) for share in components / components.sum())
    return Crossed(mean, se, df, t_interval(mean, se, df, 0.95), se_seeds, *shares)


@dataclass(frozen=True)
class McNemar:
    """Two given nets on one test set: examples that only one gets wrong, and the exact p."""

    only_first_wrong: int
    only_second_wrong: int
    p: float


def mcnemar(first_wrong: ArrayLike, second_wrong: ArrayLike) -> McNemar:
    """Whether two trained nets err equally often on new examples: exact binomial, two-sided.

    McNemar 1947, doi:10.1007/BF02295996. It speaks of these two nets, not of what made them, so
    it never gives a verdict. Both are (N,) truth values.
    """
    first, second = np.asarray(first_wrong, dtype=bool), np.asarray(second_wrong, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    least, tried = min(only_first, only_second), only_first + only_second
    p = min(1.0, 2 * float(special.bdtr(least, tried, 0.5)))
    return McNemar(only_first, only_second, p)
