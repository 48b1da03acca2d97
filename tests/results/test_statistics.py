import math

import numpy as np
import pytest
from scipy import stats

from ablations.results.statistics import (
    delta_of,
    equivalence_p,
    holm,
    paired_delta,
    seed_correlation,
    spread,
    verdict,
    welch_delta,
)

ARM = [4.1, 3.9, 4.6, 4.4, 3.8, 4.5]
BASE = [3.2, 3.5, 3.1, 3.6, 3.0, 3.4]


def test_delta_is_scipys_paired_t():
    delta = paired_delta(ARM, BASE)
    test = stats.ttest_rel(ARM, BASE)
    assert delta.n == 6
    assert delta.mean == pytest.approx(np.mean(ARM) - np.mean(BASE))
    assert delta.sd == pytest.approx(np.std(np.subtract(ARM, BASE), ddof=1))
    assert delta.p == pytest.approx(test.pvalue)
    assert delta.interval == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert delta.interval_90 == pytest.approx(tuple(test.confidence_interval(0.90)))
    assert delta.correlation == pytest.approx(stats.pearsonr(ARM, BASE).statistic)
    assert delta.counts == (6, 6)
    assert not delta.degenerate


@pytest.mark.parametrize("short", [6, 4])
def test_unpaired_is_welchs(short):
    arm = ARM[:short]
    delta = welch_delta([*arm, math.nan], [math.nan, *BASE])
    test = stats.ttest_ind(arm, BASE, equal_var=False)
    assert (delta.paired, delta.counts, delta.n, len(delta.differences)) == (
        *(False, (short, 6), short, 0),
    )
    assert (delta.p, delta.df) == pytest.approx((test.pvalue, test.df))
    assert delta.interval == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert delta.interval_90 == pytest.approx(tuple(test.confidence_interval(0.90)))
    assert math.isnan(delta.p_sign_flip)


def test_unpaired_without_variance_is_the_permutation_test():
    delta = welch_delta([2.0] * 4, [1.0] * 4)
    exact = stats.permutation_test(
        ([2.0] * 4, [1.0] * 4), lambda a, b: a.mean() - b.mean(), n_resamples=1000
    )
    assert delta.degenerate
    assert delta.p == pytest.approx(exact.pvalue) == 2 / 70
    assert delta.interval == (1.0, 1.0)
    assert welch_delta([2.0] * 4, [2.0] * 4).p == 1.0
    assert math.isnan(welch_delta([2.0], [1.0, 1.1]).p)


@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0])
def test_equivalence_is_two_one_sided_tests(margin):
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    paired = weightstats.ttost_paired(np.array(ARM), np.array(BASE), -margin, margin)[0]
    assert equivalence_p(paired_delta(ARM, BASE), margin) == pytest.approx(paired)
    free = weightstats.ttost_ind(np.array(ARM), np.array(BASE), -margin, margin, usevar="unequal")[
        0
    ]
    assert equivalence_p(welch_delta(ARM, BASE), margin) == pytest.approx(free)


def test_equivalence_agrees_with_the_90_percent_interval():
    rng = np.random.default_rng(1)
    for n in range(2, 9):
        delta = delta_of(rng.normal(0.2, 0.3, n))
        edge = max(map(abs, delta.interval_90))
        assert equivalence_p(delta, edge * 1.001) < 0.05 < equivalence_p(delta, edge * 0.999)
    assert math.isnan(equivalence_p(delta, None))


@pytest.mark.parametrize("n", [6, 12])
def test_the_interval_covers_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    deltas = [delta_of(d) for d in rng.normal(1, 2, (3000, n))]
    covered = np.mean([d.interval[0] <= 1 <= d.interval[1] for d in deltas])
    assert covered == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 3000) ** 0.5)


def test_a_pair_without_a_side_is_dropped_and_named():
    arm, base = [4.1, math.nan, 4.6, 4.4, math.inf, 4.5], [3.2, 3.5, 3.1, math.nan, 3.0, 3.4]
    delta = paired_delta(arm, base)
    assert delta.missing == (1, 3, 4)
    assert delta.differences == pytest.approx([0.9, 1.5, 1.1])
    assert delta.p == pytest.approx(stats.ttest_rel([4.1, 4.6, 4.5], [3.2, 3.1, 3.4]).pvalue)


def test_one_pair_has_a_mean_alone_and_none_has_nothing():
    one = paired_delta([2.0], [1.5])
    assert (one.n, one.mean) == (1, 0.5)
    assert all(map(math.isnan, (one.sd, one.p, *one.interval, one.correlation)))
    none = paired_delta([math.nan], [1.5])
    assert none.n == 0
    assert all(map(math.isnan, (none.mean, none.sd, none.p, *none.interval)))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shapes"):
        paired_delta([1.0, 2.0], [1.0])


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 10])
def test_without_variance_p_is_the_sign_flip_floor(n):
    base = np.linspace(3, 4, n)
    delta = paired_delta(base + 0.3, base)
    assert delta.degenerate
    assert delta.p == 2 / 2**n
    # The interval is the inversion of that test.
    for interval, level in ((delta.interval, 0.05), (delta.interval_90, 0.10)):
        if 2 / 2**n <= level:
            assert interval == pytest.approx((0.3, 0.3))
        else:
            assert all(map(math.isnan, interval))


def test_without_any_difference_p_is_one():
    delta = paired_delta(BASE, BASE)
    assert (delta.p, delta.mean, delta.interval) == (1.0, 0.0, (0.0, 0.0))


def test_float32_noise_is_no_variance():
    base = np.float32([3.1, 3.2, 3.3, 3.4])
    assert paired_delta((base + np.float32(0.1)).astype(float), base.astype(float)).p == 2 / 2**4


def test_holm_known_answers():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0


def test_holm_equals_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).uniform(size=9) ** 3
    assert holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])


def test_holm_leaves_out_what_was_not_tested():
    assert holm([0.01, math.nan, 0.02]) == pytest.approx([0.02, math.nan, 0.02], nan_ok=True)


def test_holm_counts_hypotheses_that_are_not_tested_now():
    assert holm([0.01, 0.02], family=4) == pytest.approx([0.04, 0.06])


def _delta(*differences):
    return paired_delta(differences, np.zeros(len(differences)))


LARGE, SMALL = _delta(1.9, 2.0, 2.1, 2.0), _delta(-0.1, 0.0, 0.1, 0.05)


@pytest.mark.parametrize(
    ("delta", "p_holm", "mode", "margin", "diverged", "expected"),
    [
        (LARGE, 0.01, "min", None, 0, "worse"),
        (LARGE, 0.01, "max", None, 0, "better"),
        (LARGE, 0.05, "min", None, 0, "undecided"),
        (LARGE, math.nan, "min", None, 0, "undecided"),
        (LARGE, 0.01, "min", 1.0, 0, "worse"),
        (LARGE, 0.01, "min", 3.0, 0, "equivalent"),
        (SMALL, 0.60, "min", 1.0, 0, "equivalent"),
        (SMALL, 0.60, "min", 0.1, 0, "undecided"),
        (SMALL, 0.60, "min", None, 0, "undecided"),
        (SMALL, 0.60, "min", 1.0, 1, "undecided"),
        (LARGE, 0.01, "max", None, 1, "undecided"),
        (LARGE, 0.01, "min", None, 1, "worse"),
        (_delta(2.0, 2.1), 0.001, "min", 1.0, 0, "undecided"),
        (_delta(2.0), math.nan, "min", None, 0, "undecided"),
    ],
)
def test_verdict(delta, p_holm, mode, margin, diverged, expected):
    assert verdict(delta, p_holm, equivalence_p(delta, margin), mode, diverged) == expected


def test_a_corrected_p_decides_equivalence():
    assert verdict(SMALL, 0.6, 0.049, "min") == "equivalent"
    assert verdict(SMALL, 0.6, 0.051, "min") == "undecided"


def test_equal_arms_are_equivalent_once_there_are_five_pairs():
    for n, expected in ((4, "undecided"), (5, "equivalent")):
        delta = _delta(*[0.0] * n)
        assert verdict(delta, 1.0, equivalence_p(delta, 1.0), "min") == expected


def test_correlation_needs_three_pairs_and_spread():
    assert math.isnan(seed_correlation([1, 2], [1, 2]))
    assert math.isnan(seed_correlation([1, 1, 1], [1, 2, 3]))
    assert seed_correlation([1, 2, 3, math.nan], [2, 4, 6, 0]) == pytest.approx(1.0)


def test_spread_is_of_finite_values():
    assert spread([1.0, math.nan, 3.0]) == (2, 2.0, pytest.approx(math.sqrt(2)))
    assert spread([1.0])[:2] == (1, 1.0)
    assert all(map(math.isnan, spread([])[1:]))
