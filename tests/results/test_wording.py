from dataclasses import replace

from ablations.results.tables import study_table
from ablations.results.wording import answer, arm_answer, digits_for
from tests.results.test_tables import FULL, VALUES, make


def test_one_arm_is_answered_in_full(tmp_path):
    table = study_table(*make(tmp_path, {"lrn": FULL, "no-lrn": VALUES["worse"]}))
    expected = (
        "no-lrn raises test/top1_error by 2.00 points [1.85, 2.15] against lrn "
        "(6 paired seeds): worse."
    )
    assert answer(table) == expected
    assert arm_answer(table, table.arms[0]) == expected


def test_a_gain_is_told_as_one(tmp_path):
    table = study_table(*make(tmp_path, {"lrn": FULL, "no-lrn": VALUES["better"]}))
    assert "no-lrn lowers test/top1_error by 1.20 points [1.05, 1.35]" in answer(table)
    assert answer(table).endswith(": better.")


def test_equivalent_and_undecided_keep_the_sign(tmp_path):
    values = {"lrn": FULL, "no-lrn": VALUES["same"]}
    study, workspace = make(tmp_path, values, margin=0.5)
    assert answer(study_table(study, workspace)).endswith(": equivalent within 0.5.")
    said = answer(study_table(replace(study, margin=None), workspace))
    assert "changes test/top1_error by +0.017 points [" in said
    assert said.endswith(": undecided.")


def test_several_arms_are_grouped_by_verdict(tmp_path):
    assert answer(study_table(*make(tmp_path, margin=0.5))) == (
        "Against full on test/top1_error, worse (+2.00) is worse; better (-1.20) is better; "
        "same (+0.02) is equivalent within 0.5; noisy (+0.33) is undecided (6 paired seeds)."
    )


def test_holes_are_part_of_the_answer(tmp_path):
    values = {"lrn": FULL, "no-lrn": [5.0, 5.1, "failed", 5.3, "diverged", None]}
    said = answer(study_table(*make(tmp_path, values)))
    assert said.startswith("So far, with 1 trial to come, no-lrn ")
    assert said.endswith("; 1 trial failed and 1 trial diverged.")
    assert "(3 paired seeds)" in said


def test_nothing_to_compare(tmp_path):
    assert answer(study_table(*make(tmp_path / "a", {"lrn": [], "no-lrn": []}))).startswith(
        "No answer yet"
    )
    lost = {"lrn": FULL, "no-lrn": ["failed"] * 6}
    assert answer(study_table(*make(tmp_path / "b", lost))).startswith("No answer: ")


def test_digits_follow_the_spread(tmp_path):
    small = {arm: [v / 1000 for v in column] for arm, column in VALUES.items()}
    assert digits_for(study_table(*make(tmp_path / "a"))) == 2
    assert digits_for(study_table(*make(tmp_path / "b", small))) == 5
