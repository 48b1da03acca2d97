import math
from dataclasses import replace

import numpy as np
import pytest

from ablations.results.boundaries import boundaries, critical
from ablations.results.sequential import decide
from ablations.results.statistics import delta_of, paired_delta
from ablations.study import SeedPlan

LOOKS = SeedPlan(6, 24, 3).looks
BASE = np.random.default_rng(0).normal(5, 0.2, 24)


def arm(mean, sd=0.25, n=24, seed=1):
    return BASE[:n] + np.random.default_rng(seed).normal(mean, sd, n)


def run(arms, looks=LOOKS, base=BASE, mode="min", **options):
    return decide(arms, base, looks, dict.fromkeys(arms, mode), **options)


def plain(standing):
    """As values that can be compared."""
    delta = replace(standing.delta, differences=standing.delta.differences.tolist())
    return repr(replace(standing, delta=delta))


def test_looks_end_at_the_most():
    assert SeedPlan(6, 24, 3).looks == (6, 9, 12, 15, 18, 21, 24)
    assert SeedPlan(6, 13, 4).looks == (6, 10, 13)
    assert SeedPlan(6, 6, 3).looks == (6,)


def test_clear_arms_stop_and_the_rest_go_on():
    arms = {"worse": arm(2.0)[:9], "better": arm(-2.0)[:9], "open": arm(0.15, 1.0)[:9]}
    found = run(arms, mode="min")
    assert [s.judgement.verdict for s in found.values()] == ["worse", "better", "undecided"]
    assert [(s.open, s.wants, s.early) for s in found.values()] == [
        (False, 6, True),
        (False, 6, True),
        (True, 12, False),
    ]
    assert [s.delta.n for s in found.values()] == [6, 6, 9]
    assert run(arms, mode="max")["worse"].judgement.verdict == "better"


def test_before_the_first_look_there_is_no_p_and_no_interval():
    standing = run({"a": arm(2.0)[:5]})["a"]
    assert (standing.open, standing.wants, standing.seeds) == (True, 6, 0)
    assert standing.delta.n == 5
    assert all(map(math.isnan, (standing.delta.p, *standing.delta.interval)))


def test_a_look_waits_for_every_open_arm_and_for_the_baseline():
    arms = {"slow": arm(0.0, 1.0)[:8], "fast": arm(0.1, 1.0, seed=2)[:12]}
    assert {s.seeds for s in run(arms).values()} == {6}
    arms["slow"] = arm(0.0, 1.0)[:9]
    assert {s.seeds for s in run(arms).values()} == {9}
    assert {s.seeds for s in run(arms, base=BASE[:7]).values()} == {6}


def test_seeds_beyond_the_stop_change_nothing_and_a_replay_comes_to_the_same():
    arms = {"worse": arm(2.0), "open": arm(0.1, 1.0, seed=3)}
    at_nine = {name: values[:9] for name, values in arms.items()}
    first = run(at_nine)
    assert first["worse"].seeds == 6
    assert [plain(s) for s in run(at_nine).values()] == [plain(s) for s in first.values()]
    assert plain(run(arms)["worse"]) == plain(first["worse"])


def test_the_interval_is_the_repeated_one():
    standing = run({"a": arm(0.1, 1.0)[:12]})["a"]
    plain_delta = paired_delta(arm(0.1, 1.0)[:12], BASE[:12])
    c = boundaries(LOOKS, tuple(n / 24 for n in LOOKS))[:, 2]
    for interval, level in ((standing.delta.interval, 0.05), (standing.delta.interval_90, 0.10)):
        half = critical(c, level) * plain_delta.se
        assert interval == pytest.approx((plain_delta.mean - half, plain_delta.mean + half))
    assert standing.delta.p > plain_delta.p
    assert standing.delta.correlation == plain_delta.correlation


def test_a_rejection_leaves_its_level_to_the_others():
    """The arm passes at 5% / 2 only, once the clear arm of a family of two is out of the way."""
    c = boundaries(LOOKS, tuple(n / 24 for n in LOOKS))[:, 0]
    z = np.random.default_rng(5).normal(size=6)
    z = (z - z.mean()) / z.std(ddof=1)
    between = (critical(c, 0.05) + critical(c, 0.025)) / 2 / 6**0.5
    arms = {"clear": BASE[:6] + 20 + z, "close": BASE[:6] + between + z}
    assert [s.judgement.verdict for s in run(arms, base=BASE[:6]).values()] == ["worse", "worse"]
    arms["clear"] = BASE[:6] + z
    found = run(arms, base=BASE[:6])
    assert found["close"].judgement.verdict == "undecided"
    assert found["close"].judgement.p_holm == pytest.approx(2 * found["close"].delta.p)


def test_a_stopped_arm_that_was_not_rejected_stays_in_the_family():
    arms = {"same": arm(0.0, 0.05)[:9], "open": arm(0.4, 0.6, seed=8)[:9]}
    found = run(arms, margin=0.3)
    assert (found["same"].judgement.verdict, found["same"].seeds) == ("equivalent", 6)
    later = found["open"]
    assert later.seeds == 9
    assert later.judgement.p_holm == pytest.approx(min(1, 2 * later.delta.p))


def test_equivalence_is_the_repeated_90_percent_interval_inside_the_margin():
    standing = run({"a": arm(0.02, 0.2)[:6]})["a"]
    edge = max(map(abs, standing.delta.interval_90))
    for margin, verdict in ((edge * 1.01, "equivalent"), (edge * 0.99, "undecided")):
        found = run({"a": arm(0.02, 0.2)[:6]}, margin=margin)["a"]
        assert found.judgement.verdict == verdict
        assert (found.judgement.p_equivalent < 0.05) == (verdict == "equivalent")


def test_the_last_look_closes_every_arm():
    standing = run({"a": arm(0.0, 1.0)})["a"]
    assert (standing.judgement.verdict, standing.open, standing.wants) == ("undecided", False, 24)
    assert not standing.early


def test_lost_pairs_are_dropped_and_the_error_is_spent_as_planned():
    values = arm(0.3, 0.25)[:9]
    values[[1, 7]] = np.nan
    standing = run({"a": values})["a"]
    assert (standing.seeds, standing.delta.n, standing.delta.missing) == (9, 7, (1, 7))
    counts = (5, 7, 10, 13, 16, 19, 22)
    c = boundaries(counts, tuple(n / 24 for n in LOOKS))[:, 1]
    low, high = standing.delta.interval
    assert (high - low) / 2 == pytest.approx(critical(c, 0.05) * standing.delta.se)


def test_two_pairs_are_not_tested():
    values = arm(5.0)[:6]
    values[:4] = np.nan
    standing = run({"a": values})["a"]
    assert standing.open
    assert math.isnan(standing.judgement.p_holm)


@pytest.mark.parametrize(
    ("mean", "verdict", "open_"),
    [(2, "worse", False), (-2, "undecided", False), (0, "undecided", True)],
)
def test_an_arm_that_diverged_is_neither_better_nor_extended_in_vain(mean, verdict, open_):
    values = arm(mean, 0.5)[:6]
    values[2] = np.nan
    gone = {"a": np.isnan(values)}
    standing = run({"a": values}, diverged=gone)["a"]
    assert (standing.judgement.verdict, standing.open) == (verdict, open_)


def test_without_variance_p_pays_for_every_look():
    arms = {"a": BASE + 0.3}
    first, second = run({"a": arms["a"][:6]})["a"], run(arms)["a"]
    assert first.delta.p == pytest.approx(7 * 2 / 2**6)
    assert (first.judgement.verdict, second.judgement.verdict) == ("undecided", "worse")
    assert second.seeds == 9
    assert run({"a": BASE.copy()}, margin=0.1)["a"].judgement.verdict == "equivalent"


def test_false_verdicts_of_the_whole_procedure():
    rng, reps = np.random.default_rng(12), 250
    wrong, covered = 0, []
    for values in rng.normal(size=(reps, 4, 12)):
        arms = {str(i): values[i] for i in range(3)}
        found = run(arms, looks=(4, 8, 12), base=values[3])
        wrong += any(s.judgement.verdict != "undecided" for s in found.values())
        covered += [s.delta.interval[0] <= 0 <= s.delta.interval[1] for s in found.values()]
    assert wrong / reps <= 0.05 + 3 * (0.05 * 0.95 / reps) ** 0.5
    assert np.mean(covered) >= 0.95 - 3 * (0.05 * 0.95 / reps) ** 0.5


def test_false_equivalence_of_the_whole_procedure():
    rng, reps = np.random.default_rng(13), 300
    wrong = 0
    for d in rng.normal(1.5, 1, (reps, 12)):
        found = run({"a": d}, looks=(4, 8, 12), base=np.zeros(12), margin=1.5)["a"]
        wrong += found.judgement.verdict == "equivalent"
    assert wrong / reps <= 0.05 + 3 * (0.05 * 0.95 / reps) ** 0.5


def test_a_clear_difference_needs_few_seeds():
    rng = np.random.default_rng(14)
    seeds = [run({"a": d}, base=np.zeros(24))["a"].seeds for d in rng.normal(1.0, 0.25, (100, 24))]
    assert np.mean(seeds) < 8


def test_one_look_is_the_fixed_test():
    values = arm(0.3, 0.4)[:6]
    standing = run({"a": values}, looks=(6,))["a"]
    fixed = delta_of(values - BASE[:6])
    assert standing.delta.p == pytest.approx(fixed.p, rel=0.01)
    assert standing.delta.interval == pytest.approx(fixed.interval)


def test_times_that_are_only_known_to_be_longer_flip_signs_at_each_look():
    quick = np.log(np.linspace(5, 6, 24))
    slow = np.minimum(quick + np.random.default_rng(3).normal(0.9, 0.1, 24), np.log(12))
    late = np.stack([slow == np.log(12), np.zeros(24, bool)], axis=1)
    assert 0 < late[:6].sum() < 6
    known = run({"slow": slow}, base=quick)["slow"]
    assert (known.judgement.verdict, known.seeds) == ("worse", 6)
    found = run({"slow": slow}, base=quick, margin=5.0, late={"slow": late})["slow"]
    # Of six pairs the least p is 2 / 64, more than the first look may spend; and never equivalent.
    assert (found.judgement.verdict, found.seeds, found.early) == ("worse", 9, True)
    assert found.delta.bound == "at least"
    assert all(map(math.isnan, (*found.delta.interval, found.judgement.p_equivalent)))
    both = np.ones((24, 2), bool)
    none = run({"a": quick}, base=quick, late={"a": both})["a"]
    assert (none.judgement.verdict, none.delta.p, none.delta.bound) == ("undecided", 1, "none")


def test_looks_without_a_censored_time_are_students():
    slow = arm(0.2, 1.0)
    late = np.zeros((24, 2), bool)
    assert plain(run({"a": slow}, late={"a": late})["a"]) == plain(run({"a": slow})["a"])
    late[20] = True
    before = run({"a": slow[:18]}, late={"a": late[:18]})["a"]
    assert before.delta.interval == run({"a": slow[:18]})["a"].delta.interval
