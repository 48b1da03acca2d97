import math

import pytest

from ablations.results.diverged import divergence_p, is_at_chance


@pytest.mark.parametrize(
    ("error", "examples", "expected"),
    [
        (90.0, 1000, True),
        (95.0, 1000, True),
        (87.5, 1000, True),
        (87.0, 1000, False),
        (89.5, 100_000, False),
        (math.nan, 1000, True),
        (math.inf, 1000, True),
    ],
)
def test_chance_is_within_three_standard_errors(error, examples, expected):
    # For ten classes and 1000 examples three standard errors are 2.85 points.
    assert is_at_chance(error, 90.0, examples) is expected


def test_counts_are_compared_by_fishers_exact_test():
    # Both of six and none of six: 2 / C(12, 6).
    assert divergence_p((6, 6), (0, 6)) == pytest.approx(2 / 924)
    assert divergence_p((3, 6), (0, 6)) == pytest.approx(2 / 11)
    assert divergence_p((0, 6), (0, 6)) == 1.0
    assert math.isnan(divergence_p((0, 0), (0, 6)))
