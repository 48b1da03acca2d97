import math

import numpy as np
import pytest

from ablations.results.crossed import crossed_interval, mcnemar
from ablations.results.statistics import delta_of


def draw(rng, n, total, of_seeds, of_examples, rest):
    return (
        of_seeds * rng.standard_normal((n, 1))
        + of_examples * rng.standard_normal(total)
        + rest * rng.standard_normal((n, total))
    )


def test_the_variance_is_that_of_the_mean_squares():
    anova = pytest.importorskip("statsmodels.stats.anova")
    ols = pytest.importorskip("statsmodels.formula.api").ols
    d = draw(np.random.default_rng(0), 4, 9, 1, 1, 0.5)
    rows = {"y": d.ravel(), "s": np.repeat(range(4), 9), "e": np.tile(range(9), 4)}
    import pandas as pd

    table = anova.anova_lm(ols("y ~ C(s) + C(e)", pd.DataFrame(rows)).fit())
    seeds, examples, rest = table["sum_sq"] / table["df"]
    found = crossed_interval(d)
    assert found.mean == pytest.approx(d.mean())
    assert found.se**2 == pytest.approx((seeds + examples - rest) / 36)
    assert found.se_seeds == pytest.approx(delta_of(d.mean(axis=1)).se)
    parts = np.array([seeds - rest, examples - rest, rest])
    assert (found.seeds, found.examples, found.interaction) == pytest.approx(parts / parts.sum())


def test_it_covers_where_seeds_alone_do_not():
    rng = np.random.default_rng(1)
    both, alone = [], []
    for _ in range(1500):
        d = draw(rng, 6, 100, 0.3, 4.0, 6.0)
        found = crossed_interval(d)
        both.append(found.interval[0] <= 0 <= found.interval[1])
        seeds = delta_of(d.mean(axis=1)).interval
        alone.append(seeds[0] <= 0 <= seeds[1])
    assert np.mean(both) == pytest.approx(0.95, abs=0.02)
    assert np.mean(alone) < 0.85


def test_shares_tell_what_would_help():
    rng = np.random.default_rng(2)
    assert crossed_interval(draw(rng, 8, 200, 2.0, 0.1, 1.0)).seeds > 0.9
    assert crossed_interval(draw(rng, 8, 200, 0.01, 5.0, 1.0)).examples > 0.9


def test_it_is_never_narrower_than_one_source_alone():
    rng = np.random.default_rng(3)
    for _ in range(50):
        found = crossed_interval(draw(rng, 3, 10, 0.0, 0.0, 1.0))
        assert found.se >= found.se_seeds
        assert found.seeds + found.examples + found.interaction == pytest.approx(1)


def test_no_difference_anywhere():
    found = crossed_interval(np.zeros((3, 5)))
    assert (found.mean, found.se) == (0, 0)
    assert all(map(math.isnan, found.interval))


@pytest.mark.parametrize("bad", [np.zeros(5), np.zeros((1, 5)), np.full((3, 5), np.nan)])
def test_it_needs_a_whole_matrix(bad):
    with pytest.raises(ValueError, match="at least 2 seeds"):
        crossed_interval(bad)


def test_mcnemar_is_statsmodels():
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    rng = np.random.default_rng(4)
    first, second = rng.random((2, 300)) < [[0.12], [0.06]]
    found = mcnemar(first, second)
    table = [
        [int((first & second).sum()), found.only_first_wrong],
        [found.only_second_wrong, int((~first & ~second).sum())],
    ]
    assert found.p == pytest.approx(tables.mcnemar(table, exact=True).pvalue)
    assert mcnemar(first, first).p == 1.0
