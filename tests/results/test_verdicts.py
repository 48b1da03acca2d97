import math

import numpy as np
import pytest

from ablations.results.statistics import delta_of, holm
from ablations.results.verdicts import judge

RNG = np.random.default_rng(7)


def around(mean, sd=0.1, n=6):
    """Differences of exactly this mean and SD."""
    z = np.random.default_rng(n).normal(size=n)
    z = (z - z.mean()) / z.std(ddof=1)
    return delta_of(mean + sd * z)


def judged(*deltas, margin=None, diverged=()):
    return judge(deltas, ["min"] * len(deltas), margin, diverged)


def test_two_families_are_corrected_apart():
    deltas = [around(0.5), around(0.02), around(0.0), around(-0.3)]
    found = judged(*deltas, margin=0.2)
    assert [j.verdict for j in found] == ["worse", "equivalent", "equivalent", "better"]
    assert [j.p_holm for j in found] == pytest.approx(holm([d.p for d in deltas]))
    inside = [j.p_equivalent for j in found]
    assert [j.p_equivalent_holm for j in found] == pytest.approx(holm(inside))


def test_a_difference_inside_the_margin_is_equivalent_and_said_to_be_non_zero():
    (found,) = judged(around(0.3), margin=1.0)
    assert found.verdict == "equivalent"
    assert found.p_holm < 0.05
    assert found.flags == ("non-zero, below the margin",)


def test_without_a_margin_nothing_is_equivalent():
    found = judged(around(0.0), around(0.001))
    assert {j.verdict for j in found} == {"undecided"}
    assert all(math.isnan(j.p_equivalent_holm) for j in found)


def test_an_interval_beside_holms_undecided_is_flagged():
    found = judged(*[around(0.12)] * 5)
    assert {j.verdict for j in found} == {"undecided"}
    assert found[0].p_holm == pytest.approx(5 * around(0.12).p)
    assert {j.flags for j in found} == {("interval excludes zero",)}


def test_inside_the_margin_alone_but_not_after_correction_is_flagged():
    found = judged(*[around(0.0)] * 5, margin=0.1)
    assert {(j.verdict, j.flags) for j in found} == {("undecided", ("inside the margin",))}
    assert judged(around(0.0), margin=0.1)[0].verdict == "equivalent"


@pytest.mark.parametrize(
    ("mean", "verdict", "flags"),
    [
        (0.5, "worse", ()),
        (-0.5, "undecided", ("given that it trains",)),
        (0.0, "undecided", ("given that it trains",)),
    ],
)
def test_an_arm_that_diverges_is_neither_better_nor_equivalent(mean, verdict, flags):
    (found,) = judged(around(mean), margin=0.2, diverged=[1])
    assert (found.verdict, found.flags) == (verdict, flags)


@pytest.mark.parametrize("n", [1, 2])
def test_few_pairs_decide_nothing_and_explain_nothing(n):
    delta = delta_of([1.0, 1.0001][:n])
    (found,) = judged(delta, margin=2.0)
    assert (found.verdict, found.flags) == ("undecided", ())


def test_the_detectable_effect_is_at_the_level_that_holm_leaves():
    from ablations.results.planning import power

    found = judged(around(0.0), around(0.01), around(9.0))
    assert power(found[0].detectable, 0.1, 6, alpha=0.025) == pytest.approx(0.8, abs=1e-6)
    assert math.isnan(judged(delta_of([0.5] * 6))[0].detectable)


def test_no_arms_no_judgements():
    assert judge([], []) == ()


@pytest.mark.parametrize("effect", [0.0, 3.0])
def test_false_verdicts_in_a_family_stay_under_five_percent(effect):
    wrong, reps = 0, 700
    for values in RNG.normal(size=(reps, 5, 6)):
        shift = np.array([0, 0, effect, effect])[:, None]
        found = judged(*(delta_of(d) for d in values[1:] - values[0] + shift))
        wrong += any(j.verdict != "undecided" for j in found[: 4 if not effect else 2])
    assert wrong / reps <= 0.05 + 3 * (0.05 * 0.95 / reps) ** 0.5


def test_false_equivalence_at_the_margin_stays_under_five_percent():
    wrong, reps = 0, 700
    for values in RNG.normal(size=(reps, 4, 6)):
        found = judged(*(delta_of(d) for d in values[1:] - values[0] + 2.0), margin=2.0)
        wrong += any(j.verdict == "equivalent" for j in found)
    assert wrong / reps <= 0.05 + 3 * (0.05 * 0.95 / reps) ** 0.5
