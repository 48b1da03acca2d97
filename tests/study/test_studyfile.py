"""Every key of a study file: what is accepted, what it becomes, what is refused and how."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ablations.study import Arm, InputError, Metric, SeedPlan, Study, Tune, load_study, trials
from ablations.study.fields import parse_metric
from ablations.study.schema import Range, Threshold
from ablations.study.tuning import own_settings_file
from tests.toy import write_project

Load = Callable[..., Study]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return lambda **keys: load_study(write_project(tmp_path, **keys))


def refused(load: Load, **keys: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        load(**keys)
    assert Path(str(caught.value.file)).name == "toy.yaml"
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_toy_study(load: Load, tmp_path: Path) -> None:
    study = load()
    assert study.name == "toy"
    assert study.question == "Do dropout and biases lower the test error?"
    assert study.base == tmp_path / "base.yaml"
    assert study.base_config["trainer"]["max_epochs"] == 3
    assert study.metric == Metric("test/error", "min")
    assert study.baseline == "full"
    assert study.arms == (
        Arm("full", {}),
        Arm("no-dropout", {"model": {"init_args": {"dropout": 0.0}}}),
        Arm("no-bias", {"model": {"init_args": {"bias": False}}}),
    )
    assert study.seeds == (0, 1, 2)
    assert study.margin == 5.0
    defaults = (study.claims, study.cli, study.weights, study.threads, study.design)
    assert defaults == ({}, None, "last", 1, None)


@pytest.mark.parametrize(
    ("key", "value", "attribute"),
    [
        ("question", "  Does it help?\n", "Does it help?"),
        ("metric", "val/acc", Metric("val/acc", "max")),
        ("metric", {"name": "score", "mode": "min"}, Metric("score", "min")),
        ("metric", {"name": "val/acc"}, Metric("val/acc", "max")),
        ("baseline", "no-bias", "no-bias"),
        ("seeds", 2, (0, 1)),
        ("seeds", [7, 3], (7, 3)),
        ("seeds", None, (0, 1, 2, 3, 4, 5)),
        ("margin", 1, 1.0),
        ("margin", None, None),
        ("claims", {"no-bias": "alexnet#lrn"}, {"no-bias": "alexnet#lrn"}),
        ("cli", "my_project.main:MyCLI", "my_project.main:MyCLI"),
        ("weights", "best", "best"),
        ("threads", 4, 4),
    ],
)
def test_values(load: Load, key: str, value: Any, attribute: Any) -> None:
    assert getattr(load(**{key: value}), key) == attribute


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("question", "", "expected text, got ''"),
        ("question", 3, "expected text, got 3; put it in quotes"),
        ("base", ["base.yaml"], "expected text, got ['base.yaml']"),
        ("metric", 3, "expected text, got 3; put it in quotes"),
        ("metric", {"names": "a"}, "expected a metric's name, or {name: ..., mode: min|max}, got"),
        ("metric", {"name": "a", "mode": "low"}, "expected one of min, max, got 'low'"),
        ("baseline", True, "expected text, got True; put it in quotes"),
        ("arms", ["full", "no-bias"], "expected a mapping, got ['full', 'no-bias']"),
        ("seeds", 0, "expected a whole number of at least 1, got 0"),
        ("seeds", -1, "expected a whole number of at least 1, got -1"),
        ("seeds", 1.5, "expected a whole number of at least 1, got 1.5"),
        ("seeds", True, "expected a whole number of at least 1, got True"),
        ("seeds", "three", "expected a whole number of at least 1, got 'three'"),
        ("seeds", [], "a list of different whole numbers"),
        ("seeds", [1, 1], "a list of different whole numbers"),
        ("seeds", [1, "2"], "a list of different whole numbers"),
        ("seeds", [1, -2], "a list of different whole numbers"),
        ("seeds", [2**32], "from 0 to 4294967295"),
        ("seeds", 10**9, "expected at most 10000 seeds"),
        ("margin", 0, "expected a number above 0, in the metric's units, got 0"),
        ("margin", -1.0, "expected a number above 0"),
        ("margin", True, "expected a number above 0"),
        ("margin", "1%", "expected a number above 0"),
        ("margin", float("nan"), "expected a number above 0"),
        ("margin", float("inf"), "expected a number above 0"),
        ("claims", "alexnet#lrn", "expected a mapping"),
        ("cli", 3, "expected text"),
        ("weights", "bset", "expected one of last, best, got 'bset'"),
        ("threads", 0, "expected a whole number of at least 1"),
    ],
)
def test_values_that_are_refused(load: Load, key: str, value: Any, told: str) -> None:
    error = refused(load, **{key: value})
    assert error.key == key
    assert told in error.message


@pytest.mark.parametrize("key", ["question", "base", "metric", "baseline"])
def test_keys_that_must_be_there(load: Load, key: str) -> None:
    error = refused(load, **{key: None})
    assert (error.key, error.message) == (key, "is missing")


@pytest.mark.parametrize(
    ("key", "hint"), [("sedes", "seeds"), ("Metric", "metric"), ("claim", "claims"), ("x", None)]
)
def test_unknown_keys(load: Load, key: str, hint: str | None) -> None:
    error = refused(load, **{key: 1})
    assert (error.key, error.message, error.nearest) == (key, "unknown key", hint)


@pytest.mark.parametrize(
    ("value", "hint"), [("bset", "best"), ("last ", "last"), (3, None)], ids=str
)
def test_choices_name_the_nearest(load: Load, value: Any, hint: str | None) -> None:
    assert refused(load, weights=value).nearest == hint


def test_arms_or_factors(load: Load) -> None:
    factors = {"bias": {"on": {}, "off": {"model.init_args.bias": False}}}
    assert refused(load, factors=factors).message == "either arms or factors must be given"
    assert refused(load, arms=None).message == "either arms or factors must be given"
    error = refused(load, design="factorial")
    assert (error.key, error.message) == ("design", "goes with factors, not with arms")
    assert refused(load, arms=None, factors=factors, design="leave-one").nearest == "leave-one-out"


@pytest.mark.parametrize(
    "written",
    [
        {"model.init_args.bias": False, "model.init_args.dropout": 0.0},
        {"model": {"init_args": {"bias": False, "dropout": 0.0}}},
        {"model.init_args": {"bias": False}, "model": {"init_args.dropout": 0.0}},
    ],
)
def test_dotted_and_nested_overrides(load: Load, written: dict[str, Any]) -> None:
    arm = load(arms={"full": None, "stripped": written}).arm("stripped")
    assert arm.overrides == {"model": {"init_args": {"bias": False, "dropout": 0.0}}}


def test_arms_as_yaml_reads_them(tmp_path: Path) -> None:
    file = write_project(tmp_path)
    text = file.read_text().replace("full", '"on"').replace("no-bias", "off")
    file.write_text(text.replace("dropout: 0.0", "dropout: 1e-3"))
    study = load_study(file)
    assert [arm.name for arm in study.arms] == ["on", "no-dropout", "off"]
    assert study.arm("no-dropout").overrides == {"model": {"init_args": {"dropout": 0.001}}}


def test_an_arm_with_a_metric_of_its_own(load: Load) -> None:
    arms = {
        "full": {},
        "loss": {"metric": "test/loss"},
        "no-bias": {"metric": {"name": "x", "mode": "max"}, "model.init_args.bias": False},
    }
    study = load(arms=arms)
    assert study.arm("loss") == Arm("loss", {}, Metric("test/loss", "min"))
    assert study.arm("no-bias").overrides == {"model": {"init_args": {"bias": False}}}
    assert study.metric_of("no-bias") == Metric("x", "max")
    assert study.metric_of("full") == Metric("test/error", "min")


@pytest.mark.parametrize(
    ("arms", "key", "told"),
    [
        ({"full": {}, "a": 3}, "arms.a", "expected a mapping of what it changes, {} for nothing"),
        ({"full": {}, "a": [1]}, "arms.a", "expected a mapping of what it changes"),
        ({"full": {}, "a": {"metric": "x"}}, "arms.a.metric", "cannot be told from its name"),
        ({"full": {}, "a": {"metric": 3}}, "arms.a.metric", "expected text, got 3; put"),
        ({"full": {}, "a": {"b.c": 1, "b": 2}}, "arms.a.b", "is written twice"),
        ({"full": {}, "a": {"b": {"c.d": 1, "c": 2}}}, "arms.a.b.c", "is written twice"),
        ({"full": {}}, "arms", "at least two arms are needed"),
        ({"full": {}, "a\nb": {"x": 1}}, "arms.a\nb", "must be one line of text"),
        ({"full": {}, " ": {"x": 1}}, "arms. ", "must be one line of text"),
        ({"full": {}, "a": {}}, "arms.a", 'changes nothing: it is the same as the baseline "full"'),
        ({"a": {}, "full": {}}, "arms.a", "changes nothing"),
        ({"full": {"x": 1}, "a": {"x": 1}}, "arms.a", "changes nothing"),
        ({"full": {}, "a": {"metric": "test/error"}}, "arms.a", "changes nothing"),
        ({"full": {}, "a": {"x.y": 1}, "b": {"x": {"y": 1}}}, "arms.b", 'identical to arm "a"'),
    ],
)
def test_arms_that_are_refused(load: Load, arms: Any, key: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        load(arms=arms)
    assert caught.value.key == key
    assert told in caught.value.message


def test_names_that_point_to_no_arm(load: Load) -> None:
    error = refused(load, baseline="ful")
    assert (error.key, error.nearest) == ("baseline", "full")
    error = refused(load, claims={"no-biass": "alexnet#lrn"})
    assert (error.key, error.nearest) == ("claims.no-biass", "no-bias")
    error = refused(load, claims={"no-bias": "alexnet"})
    assert (error.key, error.message) == ("claims.no-bias", 'expected "file#id"')
    with pytest.raises(InputError, match=r'no arm is called "no-bais".*did you mean "no-bias"'):
        load().arm("no-bais")


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("loss", "min"),
        ("test/top1_error", "min"),
        ("val_loss", "min"),
        ("valLoss", "min"),
        ("BCELoss", "min"),
        ("error_rate", "min"),
        ("accuracy_loss", "min"),
        ("RMSE", "min"),
        ("val/acc", "max"),
        ("val/acc1", "max"),
        ("acc@5", "max"),
        ("loss_weighted_accuracy", "max"),
        ("F1", "max"),
        ("f1_macro", "max"),
        ("f1score", "max"),
        ("mAP", "max"),
        ("error/mAP50", "max"),
        ("test/AUROC", "max"),
        ("R2", "max"),
        ("reward", "max"),
    ],
)
def test_the_mode_is_inferred(name: str, mode: str) -> None:
    assert parse_metric(name) == Metric(name, mode)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["test/top1", "quality", "hit_rate", "neg_loss", "flossy", "1"])
def test_the_mode_is_asked_for(name: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_metric(name)
    assert f"write {{name: {name}, mode: min}} or mode: max" in caught.value.message
    assert parse_metric({"name": name, "mode": "max"}) == Metric(name, "max")


def test_where_a_study_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    assert load_study("toy.yaml").file == Path("toy.yaml")
    for name, hint in [("toi.yaml", "toy.yaml"), ("zzzz", None)]:
        with pytest.raises(InputError, match="no such study") as caught:
            load_study(name)
        assert (caught.value.file, caught.value.nearest) == (name, hint)
    with pytest.raises(InputError, match="is a folder; a study is a file"):
        load_study(tmp_path)


def test_a_study_called_study_has_its_folders_name(tmp_path: Path) -> None:
    file = write_project(tmp_path / "project")
    assert load_study(file.rename(file.with_name("study.yaml"))).name == "project"


def test_where_a_base_is_found(load: Load, tmp_path: Path) -> None:
    load()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "base.yaml").rename(tmp_path / "deeper" / "other.yaml")
    study = load_study(_with_base(tmp_path, "deeper/other.yaml"))
    assert study.base == tmp_path / "deeper" / "other.yaml"
    study = load_study(_with_base(tmp_path, str(tmp_path / "deeper" / "other.yaml")))
    assert study.base == tmp_path / "deeper" / "other.yaml"
    for name, hint in [("deeper/othr.yaml", "deeper/other.yaml"), ("zzzz", None)]:
        with pytest.raises(InputError) as caught:
            load_study(_with_base(tmp_path, name))
        assert (caught.value.key, caught.value.nearest) == ("base", hint)


def test_a_shipped_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "shipped"
    write_project(shipped)
    (shipped / "bases").mkdir()
    (shipped / "base.yaml").rename(shipped / "bases" / "plain.yaml")
    monkeypatch.setattr("ablations.study.studyfile.shipped_configs", lambda: shipped)
    file = write_project(tmp_path / "mine", base="bases/plain.yaml")
    assert load_study(file).base == shipped / "bases" / "plain.yaml"
    _with_base(shipped, "bases/plain.yaml")
    assert load_study("toy").base == shipped / "bases" / "plain.yaml"
    with pytest.raises(InputError) as caught:
        load_study(_with_base(tmp_path / "mine", "bases/plan.yaml"))
    assert caught.value.nearest == "bases/plain.yaml"
    with pytest.raises(InputError) as caught:
        load_study("toi")
    assert caught.value.nearest == "toy"


def test_a_base_with_a_key_written_twice(load: Load, tmp_path: Path) -> None:
    load()
    (tmp_path / "base.yaml").write_text("model: {a: 1}\nmodel.a: 2\n")
    with pytest.raises(InputError, match=r"base\.yaml: model\.a: is written twice"):
        load_study(tmp_path / "toy.yaml")


def _with_base(folder: Path, base: str) -> Path:
    file = folder / "toy.yaml"
    lines = file.read_text().splitlines()
    lines = [f"base: {base}" if line.startswith("base:") else line for line in lines]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_seeds_that_are_added_as_needed(load: Load) -> None:
    study = load(seeds={"start": 6, "max": 13, "step": 4})
    assert study.plan == SeedPlan(6, 13, 4)
    assert study.plan.looks == (6, 10, 13)
    assert study.seeds == tuple(range(13))
    assert load().plan is None


def test_metrics_of_which_the_first_decides(load: Load) -> None:
    study = load(metric=None, metrics=["test/error", "train/error"])
    assert study.metric == Metric("test/error", "min")
    assert study.beside == (Metric("train/error", "min"),)


def test_the_epochs_to_a_threshold(load: Load) -> None:
    metric = load(metric={"epochs_to": {"metric": "train/error", "below": 25}}).metric
    assert metric.threshold == Threshold("train/error", 25.0)
    assert (metric.name, metric.logged, metric.mode) == (
        "epochs to train/error below 25",
        "train/error",
        "min",
    )


GAP = {"gap": ["test/error", "train/error"]}
EARLY = {"early": {"metric": "train/loss", "epoch": 2}}


def test_metrics_made_of_logged_ones(load: Load) -> None:
    accuracy = {"gap": [{"name": "val/score", "mode": "max"}, "train/acc"]}
    study = load(metric=None, metrics=["test/error", GAP, EARLY, accuracy])
    assert [(m.name, m.mode, m.needs) for m in study.beside] == [
        ("test/error - train/error", "min", ("test/error", "train/error")),
        ("train/loss after 2 epochs", "min", ("train/loss",)),
        ("val/score - train/acc", "max", ("val/score", "train/acc")),
    ]
    assert trials(study) == trials(load())


def test_an_arm_with_a_made_metric_keeps_it_in_the_study_of_its_own_settings(
    load: Load, tmp_path: Path
) -> None:
    arms = {"full": {}, "no-bias": {"model.init_args.bias": False}}
    for metric in (GAP, EARLY, {"epochs_to": {"metric": "train/acc", "above": 0.9}}, "a/acc"):
        study = load(arms=arms | {"again": {"metric": metric}})
        raw = yaml.safe_load((tmp_path / "toy.yaml").read_text())
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump(own_settings_file(raw, study)))
        assert load_study(tmp_path / "toy.yaml").arm("again").metric == study.arm("again").metric


def test_a_tuning_stage(load: Load) -> None:
    space = {"model.lr": {"low": 1e-3, "high": 1, "log": True}, "model.bias": [True, False]}
    own = {"no-bias": {"model.width": {"low": 2, "high": 8, "step": 2}}}
    study = load(metric="test/error", tune={"trials": 9, "space": space, "arms": own})
    assert study.tune == Tune(
        trials=9,
        space={"model.lr": Range(1e-3, 1.0, log=True), "model.bias": Range(choices=(True, False))},
        arms={"no-bias": {"model.width": Range(2, 8, step=2, whole=True)}},
        metric=Metric("val/error", "min"),
    )


SPACE = {"lr": [1, 2]}


@pytest.mark.parametrize(
    ("keys", "where", "told"),
    [
        ({"seeds": {"start": 6}}, "seeds.max", "is missing"),
        ({"seeds": {"start": 6, "maximum": 9}}, "seeds.maximum", "unknown key"),
        ({"seeds": {"start": 2, "max": 9}}, "seeds.start", "at least 3"),
        ({"seeds": {"start": 6, "max": 6}}, "seeds.max", "more than start (6)"),
        ({"seeds": {"start": 6, "max": 9}, "pairing": "none"}, "pairing", "are paired"),
        ({"pairing": "epochs"}, "pairing", "expected one of seeds, none"),
        ({"metrics": ["a/error"]}, "metrics", "either metric or metrics"),
        ({"metric": None, "metrics": []}, "metrics", "expected a list of metrics"),
        ({"metric": None, "metrics": ["loss", "loss"]}, "metrics", "written twice"),
        ({"metric": {"epochs_to": {"below": 2}}}, "metric.epochs_to.metric", "is missing"),
        (
            {"metric": {"epochs_to": {"metric": "test/error", "below": 2}}},
            "metric.epochs_to.metric",
            "measured once",
        ),
        ({"metric": {"epochs_to": {"metric": "loss"}}}, "metric.epochs_to.below", "must be given"),
        ({"metric": {"gap": "test/error"}}, "metric.gap", "expected two metrics"),
        ({"metric": {"gap": ["a/error", "b/acc"]}}, "metric.gap.1", "not two metrics of the same"),
        ({"metric": {"gap": ["a/error", GAP]}}, "metric.gap.1", "expected a logged metric"),
        ({"metric": GAP | {"mode": "min"}}, "metric.mode", "unknown key"),
        (
            {"metric": {"early": {"metric": "test/loss", "epoch": 2}}},
            "metric.early.metric",
            "once",
        ),
        ({"metric": {"early": {"metric": "train/loss"}}}, "metric.early.epoch", "is missing"),
        (
            {"metric": {"early": {"metric": "train/loss", "epoch": 0}}},
            "metric.early.epoch",
            "at least 1",
        ),
        ({"metric": GAP, "tune": {"trials": 3, "space": SPACE}}, "tune.metric", "name one of val"),
        ({"cells": 4}, "cells", "goes with factors"),
        ({"tune": {"space": SPACE}}, "tune.trials", "is missing"),
        ({"tune": {"trials": 3}}, "tune.space", "is missing"),
        ({"tune": {"trials": 3, "space": {"lr": [1]}}}, "tune.space.lr", "at least two"),
        ({"tune": {"trials": 3, "space": SPACE, "seed": 2}}, "tune.seed", "one of the study's"),
        (
            {"tune": {"trials": 3, "space": SPACE, "arms": {"no-bais": SPACE}}},
            "tune.arms.no-bais",
            "no such arm",
        ),
        ({"tune": {"trials": 3, "space": SPACE, "metric": "test/loss"}}, "tune.metric", "never"),
        ({"tune": {"trials": 3, "space": SPACE, "pruner": "mean"}}, "tune.pruner", "one of median"),
        (
            {"tune": {"trials": 3, "space": {"lr": {"low": 0, "high": 1, "log": True}}}},
            "tune.space.lr.log",
            "starts above 0",
        ),
        (
            {"tune": {"trials": 3, "space": {"lr": {"low": 1, "high": 1}}}},
            "tune.space.lr.high",
            "more than low",
        ),
        ({"keep_weights": 1}, "keep_weights", "expected true or false"),
    ],
)
def test_what_later_keys_refuse(load: Load, keys: dict[str, Any], where: str, told: str) -> None:
    error = refused(load, **keys)
    assert error.key == where
    assert told in error.message


def test_a_fractional_design(tmp_path: Path, load: Load) -> None:
    factors = {name: {"with": {}, "without": {f"model.{name}": 0}} for name in "abc"}
    asked = {"arms": None, "baseline": None, "factors": factors, "design": "fractional"}
    study = load(**asked, cells=4)
    assert [arm.name for arm in study.arms] == [
        "full",
        "a=without,c=without",
        "b=without,c=without",
        "a=without,b=without",
    ]
    assert refused(load, **asked).key == "cells"
    assert "go into 4, 8 cells, not 6" in refused(load, **asked, cells=6).message
