import pytest

from ablations.results.agreement import compare
from ablations.results.statistics import delta_of

OURS = delta_of([1.0, 1.4, 1.2, 0.9, 1.1, 1.3])


@pytest.mark.parametrize(
    ("paper", "p_holm", "sign"),
    [
        (2.0, 0.01, "agrees"),
        (-2.0, 0.01, "disagrees"),
        (2.0, 0.05, "undecided"),
        (2.0, float("nan"), "undecided"),
        (0.0, 0.01, "undecided"),
    ],
)
def test_the_sign(paper, p_holm, sign):
    assert compare(paper, OURS, p_holm, same_data=False, sd=0.2).sign == sign


def test_sizes_are_compared_on_the_same_data_alone():
    other = compare(2.0, OURS, 0.01, same_data=False, sd=0.2)
    assert (other.ratio, other.ratio_interval, other.paper_interval) == (None, None, None)
    same = compare(2.0, OURS, 0.01, same_data=True, sd=0.2)
    assert same.ratio == pytest.approx(1.15 / 2)
    assert same.ratio_interval == pytest.approx(tuple(end / 2 for end in OURS.interval))


def test_single_runs_leave_open_what_seeds_vary():
    half = 1.959964 * 2**0.5 * 0.2
    found = compare(-2.0, OURS, 0.01, same_data=True, sd=0.2)
    assert found.paper_interval == pytest.approx((-2 - half, -2 + half))
    assert found.ratio_interval[0] < found.ratio < found.ratio_interval[1] < 0
    assert compare(2.0, OURS, 0.01, same_data=True, sd=float("nan")).paper_interval is None


def test_one_pair_has_a_ratio_without_interval():
    found = compare(2.0, delta_of([1.0]), float("nan"), same_data=True, sd=0.1)
    assert (found.ratio, found.ratio_interval) == (0.5, None)
