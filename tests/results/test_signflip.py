import itertools
import math

import numpy as np
import pytest
from scipy import stats

from ablations.results.signflip import permutation_p, sign_flip_p


@pytest.mark.parametrize("n", [2, 3, 7, 10])
def test_equals_the_enumeration_of_all_flips(n):
    d = np.random.default_rng(n).normal(0.5, 1, n)
    sums = [abs(np.dot(signs, d)) for signs in itertools.product((-1, 1), repeat=n)]
    assert sign_flip_p(d) == np.mean(np.array(sums) >= abs(d.sum()) - 1e-9)


def test_equals_scipys_permutation_test():
    d = np.random.default_rng(3).normal(0.4, 1, 11)
    test = stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(d) == pytest.approx(test.pvalue)


def test_ties_count_as_flips_that_reach_the_sum():
    assert sign_flip_p([1, 1, -1]) == 1.0
    assert sign_flip_p([0.1 + 0.2, -0.3, 0.3]) == 1.0
    assert sign_flip_p([0.5, 0.5, 1e-9], tolerance=1e-8) == 0.5


def test_the_least_p_is_two_of_all_flips():
    assert sign_flip_p([1, 2, 3, 4, 5, 6]) == 2 / 2**6
    assert sign_flip_p(np.linspace(1, 2, 32)) == 2 / 2**32
    assert math.isnan(sign_flip_p([1.0]))


def test_more_are_drawn_at_random():
    d = np.random.default_rng(5).normal(0.3, 1, 40)
    p = sign_flip_p(d)
    assert p == sign_flip_p(d)
    other = sign_flip_p(d, rng=np.random.default_rng(9))
    assert other == pytest.approx(p, abs=0.005)
    assert p == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=0.02)
    assert sign_flip_p(np.ones(40)) == 1e-5


def test_symmetric_differences_that_are_not_normal_keep_the_level():
    rng = np.random.default_rng(11)
    p = [sign_flip_p(d) for d in rng.standard_t(1.5, (3000, 8))]
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 4 * (0.05 * 0.95 / 3000) ** 0.5


def test_two_groups_are_dealt_out_anew():
    assert permutation_p([1, 2, 3], [4, 5, 6]) == pytest.approx(2 / 20)
    assert permutation_p([3, 3, 3], [3, 3, math.nan, 3]) == 1
    assert math.isnan(permutation_p([1.0], [2.0, 3.0]))
    a, b = np.random.default_rng(4).normal(0, 1, (2, 20))
    p = permutation_p(a, b)
    assert p == permutation_p(a, b) == pytest.approx(stats.ttest_ind(a, b).pvalue, abs=0.02)
