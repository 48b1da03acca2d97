import math

import numpy as np
import pytest

from ablations.results.planning import (
    Further,
    detectable_effect,
    equivalence_chance,
    further_seeds,
    gpu_hours,
    pooled_sd,
    power,
    sd_of_difference,
    seeds_needed,
    seeds_table,
    upper_sd,
)
from ablations.results.statistics import delta_of, equivalence_p, welch_delta


@pytest.mark.parametrize("n", [2, 3, 6, 12, 24])
@pytest.mark.parametrize("effect", [0.1, 0.5, 1.0, 1.3])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 7])
def test_power_is_statsmodels(n, effect, alpha):
    tests = pytest.importorskip("statsmodels.stats.power")
    assert power(effect, 1.0, n, alpha) == pytest.approx(
        tests.TTestPower().power(effect, n, alpha), abs=5e-4
    )
    # Unpaired effects are stated in SDs of one arm there.
    assert power(effect, sd_of_difference(1.0), n, alpha, paired=False) == pytest.approx(
        tests.TTestIndPower().power(effect, n, alpha), abs=5e-4
    )


def test_power_is_what_the_tests_reach():
    rng = np.random.default_rng(0)
    seen = np.mean([delta_of(d).p < 0.05 for d in rng.normal(1, 1, (3000, 8))])
    assert seen == pytest.approx(power(1.0, 1.0, 8), abs=0.03)


def test_seeds_for_the_papers_pooling_claim():
    spreads = (0.2, 0.25, 0.3)
    needed = [seeds_needed(0.4, sd_of_difference(sd), paired=False) for sd in spreads]
    assert needed == [6, 8, 10]


def test_seeds_needed_are_the_fewest_that_reach_the_power():
    n = seeds_needed(0.4, 0.5, alpha=0.01)
    assert power(0.4, 0.5, n, 0.01) >= 0.8 > power(0.4, 0.5, n - 1, 0.01)
    assert seeds_needed(-0.4, 0.5, alpha=0.01) == n
    assert seeds_needed(0.01, 0.5, most=1000) is None
    assert seeds_needed(0.0, 0.5) is None
    assert seeds_needed(100.0, 0.5) == 2


def test_detectable_effect_is_the_inverse_of_power():
    for n, alpha in ((2, 0.05), (6, 0.05), (24, 0.005)):
        effect = detectable_effect(0.3 / n**0.5, n - 1, alpha)
        assert power(effect, 0.3, n, alpha) == pytest.approx(0.8, abs=1e-6)
    assert math.isnan(detectable_effect(0.0, 5))
    assert math.isnan(detectable_effect(math.nan, math.nan))


@pytest.mark.parametrize(("margin", "chance"), [(1.0, 0.41), (1.5, 0.86)])
def test_chance_of_equivalence_at_six_pairs(margin, chance):
    assert equivalence_chance(margin, 1.0, 6) == pytest.approx(chance, abs=0.005)
    rng = np.random.default_rng(1)
    found = [equivalence_p(delta_of(d), margin) < 0.05 for d in rng.normal(size=(3000, 6))]
    assert np.mean(found) == pytest.approx(equivalence_chance(margin, 1.0, 6), abs=0.03)


def test_pairing_pays_from_a_correlation_of_a_quarter_at_six_seeds():
    def paired(correlation):
        return power(1.5, sd_of_difference(1.0, correlation), 6)

    unpaired = power(1.5, sd_of_difference(1.0), 6, paired=False)
    assert paired(0.0) < unpaired
    assert paired(0.2) < unpaired < paired(0.3)


def test_an_upper_sd_is_above_the_truth_four_times_in_five():
    sds = np.random.default_rng(2).normal(size=(4000, 6)).std(axis=1, ddof=1)
    factor = upper_sd(1.0, 5)
    assert np.mean(sds * factor >= 1) == pytest.approx(0.8, abs=0.02)


def test_further_seeds_are_a_range_or_more_than_the_most():
    rng = np.random.default_rng(4)
    z = rng.normal(size=6)
    z = (z - z.mean()) / z.std(ddof=1)
    ask = further_seeds(delta_of(0.9 + z), 1000)
    assert 1 <= ask.low < ask.high
    se = 1 / 6**0.5
    assert 6 + ask.low == seeds_needed(0.9 + se, 1.0)
    assert 6 + ask.high == seeds_needed(0.9 - se, upper_sd(1.0, 5))
    assert further_seeds(delta_of(0.9 + z), 24).high is None
    assert further_seeds(delta_of(0.2 + z), 1000).high is None
    assert further_seeds(delta_of(0.01 + z), 12) == Further(None, None)
    assert further_seeds(delta_of([0.1] * 4), 100) == Further(None, None)
    assert further_seeds(delta_of([0.1]), 100) == Further(None, None)
    assert further_seeds(welch_delta(0.9 + z, z), 1000).low >= 1


def test_the_range_mostly_holds_what_is_needed():
    rng, inside = np.random.default_rng(6), []
    needed = seeds_needed(0.75, 1.0)
    for d in rng.normal(0.75, 1, (400, 6)):
        delta = delta_of(d)
        if delta.p >= 0.05:
            ask = further_seeds(delta, 1000)
            inside.append(6 + (ask.low or 1000) <= needed <= 6 + (ask.high or 10**6))
    assert np.mean(inside) > 0.7


def test_seeds_table():
    rows = seeds_table([0.4, 0.001], sd=0.25, correlation=0.5, arms=6)
    assert (rows[0].unpaired, rows[0].paired) == (8, 6)
    assert rows[0].holm_unpaired == seeds_needed(0.4, sd_of_difference(0.25), 0.05 / 6, False)
    assert rows[0].holm_paired == seeds_needed(0.4, 0.25, 0.05 / 6)
    assert rows[1].holm_paired is None


def test_pooled_sd_is_within_arms():
    sd, df = pooled_sd([[1, 2, 3, math.nan], [11, 12, 13], [5.0]])
    assert (sd, df) == (1.0, 4)
    assert math.isnan(pooled_sd([[1.0], []])[0])


def test_gpu_hours():
    assert gpu_hours(42, 600, gpus=2) == 14
