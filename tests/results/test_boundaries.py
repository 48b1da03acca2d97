import itertools

import numpy as np
import pytest
from scipy import stats

from ablations.results.boundaries import (
    LEVELS,
    boundaries,
    critical,
    flip_boundaries,
    repeated_flip_p,
    repeated_p,
    spent,
)
from ablations.results.signflip import sign_flip_p

LOOKS = (6, 9, 12, 15, 18, 21, 24)
PARTS = tuple(n / 24 for n in LOOKS)


def at(looks, fractions, level, spending="pocock"):
    table = boundaries(looks, fractions, spending)
    return np.array([critical(table[:, k], level) for k in range(len(looks))])


def crossings(looks, bounds, seed=1, studies=100_000):
    """How often |t| of a growing normal sample without a difference reaches the bounds."""
    x = np.random.default_rng(seed).standard_normal((studies, looks[-1]))
    n = np.array(looks)
    sums, squares = np.cumsum(x, 1)[:, n - 1], np.cumsum(x**2, 1)[:, n - 1]
    t = np.abs(sums) / np.sqrt(n * (squares - sums**2 / n) / (n - 1))
    return np.cumsum((t >= bounds).cumsum(axis=1).cumsum(axis=1) == 1, axis=1).mean(axis=0)


@pytest.mark.parametrize("level", [0.05, 0.05 / 7])
@pytest.mark.parametrize("spending", ["pocock", "obrien-fleming"])
@pytest.mark.parametrize("looks", [LOOKS, (5, 10), (3, 4, 5, 6, 7, 8)])
def test_each_look_spends_what_it_may(looks, spending, level):
    fractions = tuple(n / looks[-1] for n in looks)
    crossed = crossings(looks, at(looks, fractions, level, spending))
    allowed = np.array([float(spent(np.array(level), f, spending)) for f in fractions])
    error = np.sqrt(allowed * (1 - allowed) / 100_000)
    # The boundaries carry a Monte Carlo error of their own, from five times as many studies.
    assert np.abs(crossed - allowed) == pytest.approx(0, abs=4.4 * error.max())


def test_uncorrected_looks_would_err_far_more_often():
    for looks, wrong in ((LOOKS, 0.16), ((6, 12, 18, 24), 0.13)):
        naive = [stats.t.ppf(0.975, n - 1) for n in looks]
        assert crossings(looks, np.array(naive))[-1] == pytest.approx(wrong, abs=0.01)


def test_the_first_look_is_exact_and_one_look_is_students():
    for spending in ("pocock", "obrien-fleming"):
        first = float(spent(np.array(0.05), 0.25, spending))
        expected = stats.t.ppf(1 - first / 2, 5)
        assert at(LOOKS, PARTS, 0.05, spending)[0] == pytest.approx(expected)
    assert at((6,), (1.0,), 0.05)[0] == pytest.approx(stats.t.ppf(0.975, 5))


def test_obrien_fleming_asks_too_much_of_six_seeds():
    bounds = at(LOOKS, PARTS, 0.05, "obrien-fleming")
    assert bounds[0] > 11
    assert bounds[-1] < at(LOOKS, PARTS, 0.05)[-1]


def test_spending_adds_up():
    levels = np.array([0.01, 0.05])
    assert spent(levels, 1.0, "pocock") == pytest.approx(levels)
    assert spent(levels, 0.5, "pocock") == pytest.approx(levels * np.log(1 + (np.e - 1) / 2))
    expected = 2 * stats.norm.sf(stats.norm.isf(levels / 2) / 0.5**0.5)
    assert spent(levels, 0.5, "obrien-fleming") == pytest.approx(expected)


def test_a_lower_level_needs_more():
    table = boundaries(LOOKS, PARTS)
    assert (np.diff(table, axis=0) <= 0).all()
    assert not table.flags.writeable


def test_later_looks_do_not_change_earlier_ones():
    other = boundaries((6, 9, 10, 11, 14, 15, 20), PARTS)
    assert (other[:, :2] == boundaries(LOOKS, PARTS)[:, :2]).all()


def test_lost_pairs_and_looks_without_new_ones():
    table = boundaries((1, 4, 4, 9), (0.25, 0.5, 0.75, 1.0))
    assert np.isinf(table[:, 0]).all()
    half = float(spent(np.array(0.05), 0.5, "pocock"))
    assert critical(table[:, 1], 0.05) == pytest.approx(stats.t.ppf(1 - half / 2, 3))
    bounds = at((4, 9), (0.5, 1.0), 0.05)
    assert crossings((4, 9), bounds)[-1] == pytest.approx(0.05, abs=0.003)


def test_a_repeated_p_is_the_level_that_is_just_reached():
    table = boundaries(LOOKS, PARTS)
    for k in (0, 3, 6):
        for level in (0.001, 0.007, 0.05, 0.1, 0.31):
            c = critical(table[:, k], level)
            assert repeated_p(table[:, k], c) == pytest.approx(level)
            assert repeated_p(table[:, k], -c * 1.01) < level
    assert repeated_p(table[:, 0], 0.0) == 1.0
    assert repeated_p(table[:, 0], 1e9) <= LEVELS[0] * (1 + 1e-6)


def test_with_one_look_a_repeated_p_is_students():
    c = boundaries((6,), (1.0,))[:, 0]
    for t in (1.5, 2.57, 4.0, 8.0):
        assert repeated_p(c, t) == pytest.approx(2 * stats.t.sf(t, 5), rel=0.01)


@pytest.mark.parametrize("level", [0.05, 0.10])
def test_the_levels_in_use_are_not_interpolated(level):
    assert np.isclose(LEVELS, level).sum() == 1


FIVE = int(np.argmin(np.abs(LEVELS - 0.05)))


@pytest.mark.parametrize("n", [6, 12])
def test_with_one_look_a_repeated_flip_p_is_the_least_level_above_the_sign_flip_p(n):
    for seed in range(8):
        d = tuple(np.random.default_rng(seed).normal(0.6, 1, n))
        p = repeated_flip_p(flip_boundaries(d, (n,), (1.0,))[:, 0], sum(d))
        above = [level for level in LEVELS if level > sign_flip_p(d)]
        nearly = [level for level in LEVELS if level > 0.85 * sign_flip_p(d) - 0.001]
        assert nearly[0] * 0.999 <= p <= above[min(1, len(above) - 1)] or p == 1


def test_flips_reach_the_boundaries_no_more_often_than_planned():
    """Over all ways to flip the differences that were seen, ties among them."""
    for d in ([1.0, 2.0, 0.5, 1.5, 3.0, 2.5, 0.7, 1.1, 2.2], [1.0] * 9, [0.0] * 5 + [1.0] * 4):
        c = flip_boundaries(tuple(d), (5, 7, 9), (5 / 9, 7 / 9, 1.0))[FIVE]
        signs = np.array(list(itertools.product((-1, 1), repeat=9)))
        sums = np.abs(np.cumsum(signs * d, axis=1)[:, [4, 6, 8]])
        assert (sums >= c).any(axis=1).mean() <= 0.055
    assert repeated_flip_p(flip_boundaries((0.0,) * 6, (6,), (1.0,))[:, 0], 0.0) == 1


def test_six_pairs_are_too_few_for_a_first_look_and_nine_are_not():
    d = tuple(np.linspace(1, 2, 9))
    c = flip_boundaries(d, (6, 9), (6 / 24, 9 / 24))
    assert repeated_flip_p(c[:, 0], sum(d[:6])) > 0.05
    assert repeated_flip_p(c[:, 1], sum(d)) < 0.05
    # Later looks do not change earlier ones.
    assert flip_boundaries(d[:6], (6,), (6 / 24,))[:, 0] == pytest.approx(c[:, 0])
