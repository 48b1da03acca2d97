import itertools
from math import comb

import numpy as np
import pytest

from ablations.results.ensemble import MOST, averaged_errors


def test_known_answers():
    """Three nets, two examples of class 0; only the first net is right, and sure, on both."""
    nets = [
        [[0.9, 0.1], [0.9, 0.1]],
        [[0.4, 0.6], [0.2, 0.8]],
        [[0.4, 0.6], [0.0, 1.0]],
    ]
    one, two, three = averaged_errors(nets, [0, 0])
    assert (one.nets, one.choices, one.possible, one.top5_error) == (1, 3, 3, None)
    assert one.top1_error == pytest.approx((0 + 100 + 100) / 3)
    # nets 1 and 2: .65, .55; 1 and 3: .65, .45; 2 and 3: .4, .1
    assert two.top1_error == pytest.approx((0 + 50 + 100) / 3)
    # .567, .367
    assert (three.top1_error, three.choices) == (50.0, 1)


def test_top5_and_equal_outputs():
    nets = np.full((2, 4, 8), 1 / 8)
    one, two = averaged_errors(nets, [0, 4, 5, 7])
    # the first of equal classes is guessed, as argmax does
    assert (one.top1_error, one.top5_error) == (two.top1_error, two.top5_error) == (75.0, 50.0)


def test_against_a_plain_loop():
    rng = np.random.default_rng(0)
    p, true = rng.dirichlet(np.ones(10), (5, 40)).astype(np.float32), rng.integers(0, 10, 40)
    for row in averaged_errors(p, true):
        errors = [
            100 * np.mean(p[list(nets)].mean(0).argmax(1) != true)
            for nets in itertools.combinations(range(5), row.nets)
        ]
        assert row.top1_error == pytest.approx(np.mean(errors))
        assert row.choices == row.possible == len(errors)


def test_many_nets_are_sampled_and_the_same_ones_again():
    rng = np.random.default_rng(1)
    p, true = rng.dirichlet(np.ones(3), (9, 30)), rng.integers(0, 3, 30)
    rows = averaged_errors(p, true)
    assert [row.possible for row in rows] == [comb(9, k) for k in range(1, 10)]
    assert [row.choices for row in rows] == [9, 36, MOST, MOST, MOST, MOST, 36, 9, 1]
    assert rows == averaged_errors(p, true)


@pytest.mark.parametrize(
    ("p", "true"),
    [(np.ones((2, 3)), [0, 1]), (np.ones((2, 3, 4)), [0, 1]), (np.full((1, 1, 2), np.nan), [0])],
)
def test_what_is_no_stack_of_predictions_is_refused(p, true):
    with pytest.raises(ValueError, match="need finite"):
        averaged_errors(p, true)
