"""Designs give exactly these arms; trial ids say what is the same training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablations.study import InputError, Study, Trial, load_study, trials
from ablations.study.design import arms_of_factors
from ablations.study.yamlfile import flatten
from tests.toy import edit_base, write_project

FILE = Path("study.yaml")
FACTORS: dict[str, Any] = {
    "lrn": {"on": {}, "off": {"m.lrn": False}},
    "pool": {"max": None, "mean": {"m.pool": "mean"}, "none": {"m": {"pool": None}}},
    "drop": {"yes": {"m.drop": 0.5}, "no": {"m.drop": 0.0}},
}
FULL = {"m.drop": 0.5}
STRIPPED = {"m.lrn": False, "m.pool": None, "m.drop": 0.0}


def designed(design: str) -> tuple[dict[str, dict[str, Any]], str]:
    arms, baseline = arms_of_factors(FACTORS, design, FILE)
    return {arm.name: flatten(dict(arm.overrides)) for arm in arms}, baseline


def test_leave_one_out() -> None:
    assert designed("leave-one-out") == (
        {
            "full": FULL,
            "lrn=off": FULL | {"m.lrn": False},
            "pool=mean": FULL | {"m.pool": "mean"},
            "pool=none": FULL | {"m.pool": None},
            "drop=no": {"m.drop": 0.0},
        },
        "full",
    )


def test_add_one_in() -> None:
    assert designed("add-one-in") == (
        {
            "stripped": STRIPPED,
            "lrn=on": {"m.pool": None, "m.drop": 0.0},
            "pool=max": {"m.lrn": False, "m.drop": 0.0},
            "pool=mean": STRIPPED | {"m.pool": "mean"},
            "drop=yes": STRIPPED | {"m.drop": 0.5},
        },
        "stripped",
    )


def test_factorial() -> None:
    arms, baseline = designed("factorial")
    assert baseline == "full" == next(iter(arms))
    assert arms == {
        "full": FULL,
        "drop=no": {"m.drop": 0.0},
        "pool=mean": FULL | {"m.pool": "mean"},
        "pool=mean,drop=no": {"m.pool": "mean", "m.drop": 0.0},
        "pool=none": FULL | {"m.pool": None},
        "pool=none,drop=no": {"m.pool": None, "m.drop": 0.0},
        "lrn=off": FULL | {"m.lrn": False},
        "lrn=off,drop=no": {"m.lrn": False, "m.drop": 0.0},
        "lrn=off,pool=mean": FULL | {"m.lrn": False, "m.pool": "mean"},
        "lrn=off,pool=mean,drop=no": {"m.lrn": False, "m.pool": "mean", "m.drop": 0.0},
        "lrn=off,pool=none": FULL | {"m.lrn": False, "m.pool": None},
        "lrn=off,pool=none,drop=no": STRIPPED,
    }
    levels = {arm.name: arm.levels for arm in arms_of_factors(FACTORS, "factorial", FILE)[0]}
    assert levels["pool=none"] == {"lrn": "on", "pool": "none", "drop": "yes"}


def test_a_study_of_factors(tmp_path: Path) -> None:
    off = {"model.init_args.bias": False}
    factors = {"bias": {"on": {}, "off": off}, "width": {"wide": {}, "narrow": {"m.w": 4}}}
    file = write_project(tmp_path, arms=None, baseline=None, factors=factors)
    study = load_study(file)
    assert (study.design, study.baseline) == ("leave-one-out", "full")
    assert [arm.name for arm in study.arms] == ["full", "bias=off", "width=narrow"]
    file = write_project(tmp_path, arms=None, baseline="bias=off", factors=factors)
    assert load_study(file).baseline == "bias=off"


@pytest.mark.parametrize(
    ("factors", "key", "told"),
    [
        ({}, "factors", "at least one factor is needed"),
        ({"a": {"on": {}}}, "factors.a", "a factor needs at least two levels"),
        ({"a": ["on", "off"]}, "factors.a", "a factor needs at least two levels"),
        ({"a": {"on": {}, "off": 3}}, "factors.a.off", "expected a mapping of what it changes"),
        (
            {"a": {"on": {}, "off": {"x.y": 1}}, "b": {"on": {}, "off": {"x": {"y": 2}}}},
            "factors.b",
            'changes x.y, which factor "a" changes too',
        ),
        (
            {"a": {"on": {}, "off": {"x": None}}, "b": {"on": {}, "off": {"x.y": 2}}},
            "factors.b",
            'changes x.y, which factor "a" changes too',
        ),
    ],
)
def test_factors_that_are_refused(factors: Any, key: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        arms_of_factors(factors, "factorial", FILE)
    assert (caught.value.file, caught.value.key) == (FILE, key)
    assert told in caught.value.message


def test_factors_may_share_a_parent_and_a_prefix() -> None:
    factors = {"a": {"on": {}, "off": {"x.y": 1}}, "b": {"on": {}, "off": {"x.yy": 2}}}
    assert len(arms_of_factors(factors, "factorial", FILE)[0]) == 4


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return load_study(write_project(tmp_path))


def ids(study: Study) -> dict[tuple[str, int], str]:
    return {(trial.arm, trial.seed): trial.id for trial in trials(study)}


def test_trials_go_seed_by_seed(study: Study) -> None:
    assert [(trial.seed, trial.arm) for trial in trials(study)] == [
        (seed, arm) for seed in (0, 1, 2) for arm in ("full", "no-dropout", "no-bias")
    ]
    assert len(set(ids(study).values())) == 9
    assert [trial.seed for trial in trials(replace(study, seeds=(5, 1)))][::3] == [5, 1]
    assert trials(study, (2,)) == trials(study)[6:]


def test_ids_stay(study: Study) -> None:
    # a change here makes everybody's finished trials train again
    assert trials(study)[0] == Trial("97898c4700d5e26f", "full", 0)


def test_names_seeds_and_questions_are_not_part_of_an_id(study: Study, tmp_path: Path) -> None:
    arms = {"a": {}, "b": {"model": {"init_args": {"bias": False}}}, "c": {"x.y": 1}}
    other = write_project(
        tmp_path / "other",
        question="Something else?",
        metric="val/acc",
        arms=arms,
        baseline="a",
        seeds=[1, 9],
        margin=None,
        claims={"b": "x#y"},
    )
    assert ids(load_study(other))["a", 1] == ids(study)["full", 1]
    assert ids(load_study(other))["b", 1] == ids(study)["no-bias", 1]


def test_an_arm_that_reads_another_metric_shares_its_trials(tmp_path: Path) -> None:
    arms = {"full": {}, "val": {"metric": "val/error"}}
    shared = ids(load_study(write_project(tmp_path, arms=arms)))
    assert shared["full", 0] == shared["val", 0]


@pytest.mark.parametrize(
    "changes",
    [
        {"trainer.devices": 2, "trainer.accelerator": "auto", "trainer.strategy": "ddp"},
        {"trainer.logger": True, "trainer.default_root_dir": "/elsewhere"},
        {"trainer.enable_progress_bar": False, "trainer.log_every_n_steps": 5},
        {"data.init_args.num_workers": 2, "data.init_args.pin_memory": True},
        {"data.init_args.resident_gib": 0.0},
        {"seed_everything": 4, "ckpt_path": "last.ckpt"},
    ],
)
def test_what_changes_no_result_changes_no_id(
    study: Study, tmp_path: Path, changes: dict[str, Any]
) -> None:
    edit_base(tmp_path, changes)
    changed = load_study(study.file)
    assert changed.base_config != study.base_config
    assert ids(changed) == ids(study)


def test_the_order_of_keys_changes_no_id(study: Study, tmp_path: Path) -> None:
    edit_base(tmp_path, {"data": None})
    edit_base(tmp_path, {"data": study.base_config["data"]})
    edit_base(tmp_path, {"trainer.max_epochs": None})
    edit_base(tmp_path, {"trainer.max_epochs": 3})
    assert ids(load_study(study.file)) == ids(study)


@pytest.mark.parametrize(
    "changes",
    [
        {"trainer.max_epochs": 4},
        {"trainer.precision": "bf16-mixed"},
        {"model.init_args.dropout": 0.3},
        {"data.init_args.batch_size": 16},
        {"optimizer.init_args.lr": 0.1},
    ],
)
def test_a_changed_base_changes_every_id(
    study: Study, tmp_path: Path, changes: dict[str, Any]
) -> None:
    edit_base(tmp_path, changes)
    before, after = ids(study), ids(load_study(study.file))
    kept = {arm for arm, seed in before if before[arm, seed] == after[arm, seed]}
    # the arm that sets dropout itself does not see the base's
    assert kept == ({"no-dropout"} if "model.init_args.dropout" in changes else set())


def test_cli_and_weights_are_part_of_an_id(study: Study) -> None:
    for changed in (replace(study, cli="a:b"), replace(study, weights="best")):
        assert not set(ids(changed).values()) & set(ids(study).values())


def test_a_changed_arm_trains_alone(study: Study, tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(file.read_text().replace("dropout: 0.0", "dropout: 0.1"))
    before, after = ids(study), ids(load_study(file))
    assert {key[0] for key in before if before[key] != after[key]} == {"no-dropout"}
