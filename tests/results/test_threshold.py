import math

import numpy as np
import pytest
from scipy import stats

from ablations.results.threshold import first_crossing, median_time, time_ratio

SLOW, FAST = [18.0, 21.0, 17.5, 24.0, 19.0, 22.0], [3.0, 3.4, 2.9, 3.8, 3.3, 3.1]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([90, 40, 20, 10], 2.75),
        ([90, 40, 25, 30], 3.0),
        ([90, 20, 40, 10], 1 + 65 / 70),
        ([20, 10, 5, 5], 1.0),
        ([90, 80, 70, 60], math.inf),
        ([90, math.nan, 20, 10], 3.0),
        ([math.nan] * 4, math.inf),
    ],
)
def test_the_first_crossing_is_interpolated(values, expected):
    assert first_crossing([1, 2, 3, 4], values, 25) == pytest.approx(expected)


def test_a_ratio_is_the_mean_on_logs():
    found = time_ratio(SLOW, FAST, 30)
    logs = np.log(SLOW) - np.log(FAST)
    test = stats.ttest_1samp(logs, 0)
    assert (found.bound, found.censored, found.n) == ("exact", (0, 0), 6)
    assert found.ratio == pytest.approx(stats.gmean(SLOW) / stats.gmean(FAST))
    assert found.interval == pytest.approx(tuple(np.exp(test.confidence_interval())))
    assert found.p == pytest.approx(test.pvalue)


@pytest.mark.parametrize(
    ("slow", "fast", "bound"), [(20, 30, "at least"), (30, 3.2, "at most"), (20, 3.2, "none")]
)
def test_censoring_makes_a_bound_with_a_sign_flip_p(slow, fast, bound):
    a = [t if t < slow else math.inf for t in SLOW]
    b = [t if t < fast else math.inf for t in FAST]
    budget = 24.0
    found = time_ratio(a, b, budget)
    logs = np.log(np.minimum(a, budget)) - np.log(np.minimum(b, budget))
    assert found.bound == bound
    assert found.ratio == pytest.approx(math.exp(logs.mean()))
    assert all(map(math.isnan, found.interval))
    exact = stats.permutation_test((logs,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert found.p == pytest.approx(exact.pvalue)


def test_a_time_beyond_the_budget_is_censored():
    found = time_ratio(SLOW, FAST, 20.0)
    assert found.censored == (3, 0)


def test_trials_that_are_missing_drop_their_pair():
    found = time_ratio([math.nan, *SLOW[1:]], FAST, 30)
    assert found.n == 5
    assert found.ratio == pytest.approx(time_ratio(SLOW[1:], FAST[1:], 30).ratio)
    assert math.isnan(time_ratio([math.nan], [1.0], 30).ratio)


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([0.0], [1.0])])
def test_bad_times_are_refused(a, b):
    with pytest.raises(ValueError, match=r"one length|above 0"):
        time_ratio(a, b, 10)


def test_medians_are_kaplan_meiers():
    survival = pytest.importorskip("statsmodels.duration.survfunc")
    rng = np.random.default_rng(0)
    # Odd: where exactly half have crossed, statsmodels waits for the next.
    for n in (3, 5, 7, 21):
        times = rng.exponential(5, n).round(2) + 0.01
        seen = times <= 8
        expected = survival.SurvfuncRight(np.minimum(times, 8), seen).quantile(0.5)
        expected = math.inf if math.isnan(expected) else expected
        assert median_time(np.where(seen, times, math.inf), 8) == pytest.approx(expected)
    assert median_time([math.inf, math.inf], 8) == math.inf
    assert math.isnan(median_time([], 8))


def test_the_interval_covers_and_censoring_keeps_the_level():
    rng = np.random.default_rng(1)
    covered, wrong = [], []
    for _ in range(1000):
        a, b = np.exp(rng.normal(0, 0.3, (2, 6)))
        low, high = time_ratio(5 * a, b, 1e9).interval
        covered.append(low <= 5 <= high)
        wrong.append(time_ratio(a, b, 1.2).p < 0.05)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)
    assert np.mean(wrong) <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5
