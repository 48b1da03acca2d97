"""What a table says below itself, and the marks in its rows."""

import re

import pytest

from ablations.results.tables import study_table
from ablations.workspace import read_json, write_json
from tests.results.fabricate import fabricate, write_study
from tests.results.test_tables import FULL, VALUES, make


def shifted(*differences):
    return [v + d for v, d in zip(FULL, differences, strict=False)]


SMALL = shifted(0.3, 0.31, 0.29, 0.3, 0.32, 0.28)
NOISY = shifted(0.1, 1.1, 1.3, 0.1, 1.5, 0.4)


def told(table, start):
    (note,) = [note for note in table.notes if re.match(start, note)]
    return note


def test_what_the_interval_covers_and_how_far_the_arms_correlate(tmp_path):
    table = study_table(*make(tmp_path, margin=0.5))
    assert table.notes[:2] == (
        "Interval: 95%, paired t over seeds: new seeds, this test set. Holm: p corrected for 4 "
        "comparisons.",
        "Correlation with full over seeds: -0.35 (noisy) to +0.91 (same).",
    )
    assert not any("margin" in note for note in table.notes)
    without = study_table(*make(tmp_path / "without", {"full": FULL, "one": NOISY}))
    assert "The study states no margin, so that no arm can be equivalent." in without.notes
    assert re.fullmatch(r".* over seeds: \S+ \(one\)\.", told(without, "Correlation"))


def test_a_difference_below_the_margin_is_explained(tmp_path):
    values = {"full": FULL, "small": SMALL, "noisy": NOISY}
    table = study_table(*make(tmp_path, values, margin=1.0))
    small, noisy = table.arms
    assert (small.verdict, small.marks[0]) == ("equivalent", "*")
    assert told(table, "Equivalent and non-zero, below the margin").startswith(
        "Equivalent and non-zero, below the margin: small."
    )
    assert "*" not in noisy.marks


def test_an_interval_without_zero_beside_undecided_is_explained(tmp_path):
    values = {"full": FULL, "close": NOISY, "other": VALUES["noisy"], "same": VALUES["same"]}
    table = study_table(*make(tmp_path, values))
    close = table.arms[0]
    assert close.delta.interval[0] > 0 and close.verdict == "undecided"
    assert "*" in close.marks
    assert "close. The interval speaks" in told(table, "Undecided, though")


def test_undecided_arms_name_the_detectable_difference_then_further_seeds(tmp_path):
    values = {"full": FULL, "close": shifted(0.2, 1.1, 1.3, -0.1, 1.5, 0.1), "worse": SMALL}
    table = study_table(*make(tmp_path, values))
    close, worse = table.arms
    assert worse.further is None
    low, high = close.further.low, close.further.high
    assert 1 <= low < high
    sees = f"±{close.judgement.detectable:.2f}"
    assert told(table, "Undecided, with").endswith(f": close ({sees}; {low} to {high}).")


def test_no_seeds_are_asked_of_an_arm_that_no_seed_can_decide(tmp_path):
    gain = [f - 1.2 for f in FULL]
    gain[2:4] = [2.0, "diverged"]
    table = study_table(*make(tmp_path, {"full": FULL, "gain": gain}))
    (row,) = table.arms
    assert row.judgement.flags == ("given that it trains",)
    assert row.further is None
    assert {"*", "given that it trains"} <= set(row.marks)
    assert told(table, "Better or equivalent given that it trains").endswith("does: gain.")
    diverged = told(table, "Where trials diverged")
    assert "equivalent: gain 1 of 6. Against full 0 of 6, Fisher's exact p is 1 (gain)." in diverged


def test_a_baseline_that_diverges_is_told_too(tmp_path):
    table = study_table(*make(tmp_path, {"full": ["diverged", *FULL[1:]], "one": NOISY}))
    assert told(table, "Where trials diverged").endswith("equivalent: full 1 of 6.")
    assert "given that it trains" not in table.arms[0].marks
    assert "Pairs left out, as a side has no value: seed 0 of one." in table.notes


def test_pairs_that_lack_a_side_are_named(tmp_path):
    values = {
        "full": [3.0, 3.1, "failed", 3.3, 3.4, 3.5],
        "off": [4.0, "diverged", 4.2, 4.35, None, 4.5],
        "on": VALUES["worse"],
    }
    table = study_table(*make(tmp_path, values))
    left_out = "Pairs left out, as a side has no value: seeds 1 and 2 of off; seed 2 of on."
    assert left_out in table.notes
    assert [row.pairs for row in table.arms] == [3, 5]
    assert "Unequal numbers of pairs: off 3 and on 5." in table.notes
    assert "n = 3" in table.arms[0].marks


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (1, "One pair gives no interval and no verdict: one."),
        (2, "Two pairs give an interval and no verdict: one."),
    ],
)
def test_one_pair_and_two(tmp_path, seeds, said):
    table = study_table(*make(tmp_path, {"full": FULL[:seeds], "one": NOISY[:seeds]}, seeds))
    assert said in table.notes
    assert table.arms[0].further is None


def test_unequal_budgets_are_marked(tmp_path):
    arms = ["full", "short", "stopped"]
    study = write_study(tmp_path, arms, 6)
    workspace = fabricate(study, tmp_path / "runs", {"full": FULL}, stopped_early=False)
    fabricate(study, workspace.root, {"short": FULL}, epochs=4, stopped_early=False)
    fabricate(study, workspace.root, {"stopped": FULL[:3]}, epochs=3, stopped_early=True)
    fabricate(study, workspace.root, {"stopped": [None] * 3 + FULL[3:]}, stopped_early=False)
    table = study_table(study, workspace)
    assert [row.marks for row in table.rows] == [
        (),
        ("≠ epochs", "≠ parameters"),
        ("≠ epochs", "cut short", "≠ parameters"),
    ]
    assert "Unequal epochs: full 5, short 4 and stopped 3 to 5." in table.notes
    assert "Trials that ended before their schedule did: stopped (3)." in table.notes
    assert told(table, "Parameters").startswith("Parameters differ from the 12.0k of full: short +")


@pytest.mark.parametrize(("parameters", "marked"), [(12_240, False), (12_241, True)])
def test_parameters_within_two_percent_are_equal(tmp_path, parameters, marked):
    study = write_study(tmp_path, ["full", "off"])
    workspace = fabricate(study, tmp_path / "runs", {"full": FULL, "off": NOISY})
    file = workspace.study_folder(study.name) / "arms.json"
    arms = read_json(file)
    arms["off"]["parameters"] = parameters
    write_json(file, arms)
    (row,) = study_table(study, workspace).arms
    assert ("≠ parameters" in row.marks) is marked


@pytest.mark.parametrize(("high", "inactive"), [(1.019, True), (1.021, False)])
def test_a_norm_that_only_divides_by_a_constant_is_inactive(tmp_path, high, inactive):
    logged = {"lrn/n1_low": 2.0, "lrn/n1_high": 2 * high, "lrn/n2_low": 1.0, "lrn/n2_high": 3.0}
    study = write_study(tmp_path, ["full", "off"], 6)
    workspace = fabricate(study, tmp_path / "runs", {"full": FULL}, logged=logged)
    fabricate(study, workspace.root, {"off": NOISY})
    table = study_table(study, workspace)
    assert ("n1 inactive" in table.baseline.marks) is inactive
    assert not any("inactive" in mark for mark in table.arms[0].marks)
    told = "Normalisation that is inactive, as 90% of its denominators lie within 2%: n1 of full."
    assert (told in table.notes) is inactive


def test_unequal_tuning_is_marked(tmp_path):
    study, workspace = make(tmp_path, {"full": FULL, "none": NOISY, "fewer": NOISY})
    learned = {"changes": {}, "parameters": 1, "flops": 1}
    tries = {"full": 5, "none": 0, "fewer": 5}
    arms = {arm: learned | {"tries": number} for arm, number in tries.items()}
    write_json(workspace.study_folder(study.name) / "arms.json", arms)
    table = study_table(study, workspace)
    assert ["≠ tuning" in row.marks for row in table.rows] == [False, True, False]
    assert any(note.endswith("with more: full 5, none 0 and fewer 5.") for note in table.notes)


def test_the_best_checkpoint_is_told(tmp_path):
    best = study_table(*make(tmp_path, {"full": FULL, "one": NOISY}, weights="best"))
    assert "Metrics are those of each trial's best checkpoint, not of its last epoch." in best.notes


@pytest.mark.parametrize(
    ("metric", "data"),
    [
        ("test/top1_error", "this test set"),
        ("val_loss", "this validation set"),
        ({"epochs_to": {"metric": "train/loss", "below": 1}}, "this training set"),
        ({"gap": ["test/loss", "train/loss"]}, "the same data"),
        ("loss", "the same data"),
    ],
)
def test_an_interval_says_of_which_data_it_speaks(tmp_path, metric, data):
    study = write_study(tmp_path, ["full", "off"], metric=metric)
    table = study_table(study, fabricate(study, tmp_path / "runs", {}))
    assert f"new seeds, {data}." in table.notes[0]
