"""Tests that lean on symmetry alone: signs flipped of pairs, values permuted of two groups."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MOST_EXACT = 32
_DRAWS = 99_999


def sign_flip_p(
    differences: ArrayLike,
    tolerance: float = 0.0,
    rng: np.random.Generator | None = None,
) -> float:
    """Two-sided p of a zero mean, from all 2^n ways to flip the signs of the differences.

    Exact up to 32 differences: the signed sums of each half of them, at most 2^16, are sorted and
    matched. Above, 99,999 random flips of `rng` (a fixed one where none is passed), where the
    observed sum counts as a flip. It is never under 2 / 2^n. NaN below two differences.

    Fisher 1935, The Design of Experiments, section 21; Pitman 1937, doi:10.2307/2984124; Phipson
    and Smyth 2010, doi:10.2202/1544-6115.1585, for the random flips.

    Args:
        differences: (n,), finite.
        tolerance: Error of one difference, by which sums may differ and still be tied.
        rng: Draws the flips of more than 32 differences.
    """
    d = np.asarray(differences, dtype=float)
    n = len(d)
    if n < 2:
        return float("nan")
    reach = abs(float(d.sum())) - n * tolerance - 1e-12 * float(np.abs(d).sum())
    if reach <= 0:
        return 1.0
    if n > _MOST_EXACT:
        sums = _random_sums(d, rng or np.random.default_rng(0))
        return float((1 + np.count_nonzero(np.abs(sums) >= reach)) / (1 + _DRAWS))
    left, right = _signed_sums(d[: n // 2]), np.sort(_signed_sums(d[n // 2 :]))
    above = len(right) - np.searchsorted(right, reach - left)
    return float(2 * above.sum() / 2**n)


def permutation_p(
    arm: ArrayLike,
    baseline: ArrayLike,
    draws: int = 9_999,
    rng: np.random.Generator | None = None,
) -> float:
    """Two-sided p that two unpaired groups are alike, from their ways to be dealt out anew.

    The difference of the means, by every way where there are no more than `draws`, else by so many
    of `rng` (a fixed one where none is passed). NaN where a group has fewer than two values.

    Pitman 1937, doi:10.2307/2984124. Values that are not finite are left out.
    """
    a, b = (np.asarray(side, dtype=float) for side in (arm, baseline))
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if min(len(a), len(b)) < 2:
        return float("nan")
    # A slow import that a table without censored times does not pay for.
    from scipy import stats

    def difference(x: NDArray[np.float64], y: NDArray[np.float64], axis: int) -> ArrayLike:
        return np.asarray(x.mean(axis=axis) - y.mean(axis=axis))

    found = stats.permutation_test(
        (a, b),
        difference,
        vectorized=True,
        n_resamples=draws,
        batch=10_000,
        rng=rng or np.random.default_rng(0),
    )
    return float(found.pvalue)


def _random_sums(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Signed sums of random flips: a byte flips eight values, whose 256 sums are known."""
    eights = -(-len(values) // 8)
    padded = np.pad(values, (0, 8 * eights - len(values))).reshape(eights, 8)
    signs = 2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) - 1.0
    drawn = np.frombuffer(rng.bytes(eights * _DRAWS), np.uint8).reshape(eights, _DRAWS)
    sums = np.zeros(_DRAWS)
    for known, flips in zip(padded @ signs.T, drawn, strict=True):
        sums += known[flips]
    return sums


def _signed_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate((sums + value, sums - value))
    return sums
