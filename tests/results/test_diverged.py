import math

import pytest

from ablations.results.diverged import divergence_p


def test_counts_are_compared_by_fishers_exact_test():
    # Both of six and none of six: 2 / C(12, 6).
    assert divergence_p((6, 6), (0, 6)) == pytest.approx(2 / 924)
    assert divergence_p((3, 6), (0, 6)) == pytest.approx(2 / 11)
    assert divergence_p((0, 6), (0, 6)) == 1.0
    assert math.isnan(divergence_p((0, 0), (0, 6)))
