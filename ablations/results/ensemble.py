"""Nets averaged: the error of 1, 2, ..., n of them, from stored per-example predictions."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST = 50
"""Choices of nets that are tried for each number of them."""


@dataclass(frozen=True)
class Averaged:
    """Errors, in percent, of so many nets whose softmax outputs are averaged.

    Attributes:
        nets: How many are averaged.
        choices: The choices of nets that the errors are means over; `possible` is all there are.
        top5_error: None where there are five classes or fewer.
    """

    nets: int
    choices: int
    possible: int
    top1_error: float
    top5_error: float | None


def averaged_errors(probabilities: ArrayLike, targets: ArrayLike) -> tuple[Averaged, ...]:
    """The error of 1 to n nets, averaged as in the paper's section 6.

    The errors of k nets are means over all choices of k among the n, or over `MOST` different
    ones drawn with a fixed seed. Choices share nets: their spread is not that of new nets.

    Args:
        probabilities: (n nets, N examples, C classes), each net's softmax outputs.
        targets: (N,), the true classes.

    Raises:
        ValueError: The shapes do not fit together, or a probability is not finite.
    """
    p, true = np.asarray(probabilities), np.asarray(targets)
    if p.ndim != 3 or true.shape != p.shape[1:2] or not p.size or not np.isfinite(p).all():
        raise ValueError(f"need finite (nets, examples, classes), got {p.shape} and {true.shape}")
    rows = []
    for k in range(1, len(p) + 1):
        ranks = [
            _ranks(p[list(nets)].mean(0, dtype=np.float64), true) for nets in _choices(len(p), k)
        ]
        top1, top5 = (float(100 * np.mean([(r >= top).mean() for r in ranks])) for top in (1, 5))
        wide = p.shape[2] > 5
        rows.append(Averaged(k, len(ranks), comb(len(p), k), top1, top5 if wide else None))
    return tuple(rows)


def _ranks(p: NDArray[np.float64], true: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many classes are guessed before the true one; of equals the first is."""
    own = np.take_along_axis(p, true[:, None], 1)
    first = np.arange(p.shape[1]) < true[:, None]
    ranks: NDArray[np.int64] = ((p > own) | ((p == own) & first)).sum(1)
    return ranks


def _choices(n: int, k: int) -> Iterator[tuple[int, ...]]:
    if comb(n, k) <= MOST:
        yield from itertools.combinations(range(n), k)
        return
    draws = np.random.default_rng((n, k))
    drawn: set[tuple[int, ...]] = set()
    while len(drawn) < MOST:
        nets = tuple(sorted(draws.choice(n, k, replace=False).tolist()))
        if nets not in drawn:
            drawn.add(nets)
            yield nets
