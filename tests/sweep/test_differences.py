"""Arms seen side by side: what they change, and what is wrong with them."""

import datetime
import json
from pathlib import Path

from ablations.study import Study, load_study
from ablations.sweep.differences import changes, check_differences, check_rehearsals
from ablations.sweep.rehearsal import rehearse
from tests.sweep.conftest import order
from tests.toy import write_project


def test_changes_between_configurations() -> None:
    nan = float("nan")
    baseline = {"a": {"b": 1, "c": {}}, "d": [1], "e": None, "g": nan, "h": {"x": 1}}
    arm = {"a": {"b": 2, "c": {}}, "d": [1], "f": float("inf"), "e": {"class_path": "x.Y"}}
    arm |= {"g": float("nan"), "i": [datetime.date(2020, 2, 1), nan], "h": None}
    found = changes(arm, baseline)
    assert found == {
        "a.b": [1, 2],
        "h.x": [1, None],
        "f": [None, "inf"],
        "e.class_path": [None, "x.Y"],
        "i": [None, ["2020-02-01", "nan"]],
    }
    json.dumps(found, allow_nan=False)


def test_arms_that_are_the_same_once_resolved(tmp_path: Path) -> None:
    arms = {"a": {"x": 1}, "full": {}, "b": {"x": 2}, "c": {"x": 3}, "d": {"metric": "val/loss"}}
    study = load_study(write_project(tmp_path, arms=arms))
    same = {"m": {"x": 0.0}}
    configs = {"a": same, "full": same, "b": {"m": {"x": 2}}, "c": {"m": {"x": 2}}, "d": same}
    told = [(error.key, error.message) for error in check_differences(study, configs)]
    assert told == [
        ("arms.a", 'changes nothing: it is the same as the baseline "full"'),
        ("arms.c", 'is identical to arm "b"'),
    ]
    assert check_differences(study, {"b": configs["b"], "full": same}) == []


def test_a_metric_that_only_one_arm_lacks(toy: Study) -> None:
    rehearsed = {arm.name: rehearse(order(toy, Path(), arm.name)) for arm in toy.arms[:2]}
    lacking = rehearsed["full"]
    object.__setattr__(lacking, "logged", ("tst/error",))
    (error,) = check_rehearsals(toy, rehearsed)
    assert (error.key, error.nearest) == ("metric", "tst/error")
    assert error.message.startswith('"test/error" is not logged by fit or test')
