"""Seeds that are trained as one leave what each leaves alone."""

import csv
import errno
import json
import os
import signal
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ablations.commands.fuse import pays
from ablations.nets.classifier import Classifier
from ablations.nets.stack import StackedClassifier
from ablations.study import load_study
from ablations.study.yamlfile import merge
from ablations.sweep import fused
from ablations.sweep.fused import run_fused
from ablations.sweep.job import Order
from ablations.sweep.orders import order_for
from ablations.sweep.trial import run_trial
from ablations.workspace import Workspace
from tests.conftest import Ablate
from tests.sweep.conftest import order as toy_order
from tests.toy import write_project, write_yaml

SEEDS = (0, 1, 4)
SHORT: dict[str, Any] = {"trainer": {"max_epochs": 1, "limit_train_batches": 2}}


def orders(folder: Path, arm: str = "full", **changes: Any) -> list[Order]:
    """Three epochs of the digits, in double precision: rounding grows as a net is trained."""
    study = load_study("quickstart")
    made = []
    for seed in SEEDS:
        order = order_for(study, arm, seed, f"{arm}-{seed}", folder / str(seed), 1)
        short: dict[str, Any] = {"trainer": {"max_epochs": 3, "precision": "64-true"}}
        short["data"] = {"init_args": {"limit": 640}}
        overrides = merge(merge(dict(order.recipe.overrides), short), changes)
        made.append(replace(order, recipe=replace(order.recipe, overrides=overrides)))
    return made


def result_in(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


def rows_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def assert_alike(together: Path, alone: Path, count: int = len(SEEDS)) -> None:
    result, expected = result_in(together), result_in(alone)
    assert result.pop("fused") == count
    assert result.keys() == expected.keys()
    assert result["metrics"] == pytest.approx(expected["metrics"], rel=1e-5, abs=1e-6)
    same = ("id", "seed", "status", "epochs", "steps", "parameters", "chance", "stopped_early")
    assert [result[key] for key in same] == [expected[key] for key in same]
    for own, other in zip(rows_in(together), rows_in(alone), strict=True):
        assert [own[key] for key in ("epoch", "step", "name")] == [
            other[key] for key in ("epoch", "step", "name")
        ]
        assert float(own["value"]) == pytest.approx(float(other["value"]), rel=1e-5, abs=1e-6)
    with np.load(together / "predictions.npz") as own, np.load(alone / "predictions.npz") as other:
        assert own.keys() == other.keys()
        for name in own:
            np.testing.assert_allclose(own[name], other[name], rtol=1e-5, atol=1e-6)
    own_config, config = (place / "config.yaml" for place in (together, alone))
    own_lines = set(own_config.read_text().splitlines()) ^ set(config.read_text().splitlines())
    assert {line.split(":")[0].strip() for line in own_lines} <= {
        "default_root_dir",
        "enable_checkpointing",
    }


@pytest.mark.parametrize("arm", ["full", "columns=dense"])
def test_three_seeds_leave_what_each_leaves_alone(tmp_path: Path, arm: str) -> None:
    outcomes = run_fused(orders(tmp_path / "fused", arm))
    assert [each.alone for each in outcomes] == [""] * 3
    for order in orders(tmp_path / "alone", arm)[:2]:
        run_trial(order)
        assert_alike(tmp_path / "fused" / order.folder.name, order.folder)


def test_local_layers_and_ten_views(tmp_path: Path) -> None:
    net = {"name": "11pct", "image_size": 7, "channels": 1, "width": 0.25, "learning_rate": 1e-3}
    changes = {
        "model": {"class_path": "ablations.nets.CudaConvnet", "init_args": net},
        "data": {"init_args": {"crop": 7, "ten_crop": True, "flip": True}},
    }
    outcomes = run_fused(orders(tmp_path / "fused", **changes))
    assert [each.alone for each in outcomes] == [""] * 3
    order = orders(tmp_path / "alone", **changes)[1]
    run_trial(order)
    assert_alike(tmp_path / "fused" / order.folder.name, order.folder)


def test_arms_that_differ_in_values_leave_what_each_leaves_alone(tmp_path: Path) -> None:
    arms = ["full", "activation=tanh", "lrn=off", "pooling=plain", "dropout=off"]
    given, alone = (
        [replace(orders(tmp_path / way / arm, arm)[0], seed=at) for at, arm in enumerate(arms)]
        for way in ("fused", "alone")
    )
    assert [each.alone for each in run_fused(given)] == [""] * 5
    for order, own in zip(given, alone, strict=True):
        run_trial(own)
        assert_alike(order.folder, own.folder, len(arms))


def test_arms_that_do_not_fit_together_are_fused_each_by_itself(tmp_path: Path) -> None:
    arms = ("full", "columns=dense", "conv4=off")
    given = [order for arm in arms for order in orders(tmp_path / arm, arm, **SHORT)]
    outcomes = run_fused(given[:7])
    assert [each.alone for each in outcomes[:6]] == [""] * 6
    assert {result_in(order.folder)["fused"] for order in given[:6]} == {3}
    assert outcomes[6].alone and "fused" not in result_in(given[6].folder)


def test_a_seed_whose_loss_is_not_finite_is_trained_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spoilt(StackedClassifier):
        def __init__(self, members: Sequence[Classifier]) -> None:
            super().__init__(members)
            with torch.no_grad():
                self.network.get_parameter("fc6.weight")[1] = float("nan")

    monkeypatch.setattr(Classifier, "stack", staticmethod(Spoilt))
    outcomes = run_fused(orders(tmp_path / "fused"))
    assert [each.alone for each in outcomes] == ["", "its loss was not finite", ""]
    run_trial(orders(tmp_path / "alone")[2])
    assert_alike(tmp_path / "fused" / "4", tmp_path / "alone" / "4")
    assert "fused" not in result_in(tmp_path / "fused" / "1")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"trainer": {"gradient_clip_val": 1.0}}, "trainer.gradient_clip_val is 1.0"),
        ({"model": {"init_args": {"schedule": "plateau"}}}, "a plateau lowers"),
        ({"optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}}, "optimizer"),
        (
            {"trainer": {"callbacks": [{"class_path": "ablations.nets.timing.StepTime"}]}},
            "trainer.callbacks",
        ),
    ],
)
def test_what_cannot_be_fused_is_trained_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], why: str
) -> None:
    asked: list[Order] = []

    def alone(order: Order) -> fused.Outcome:
        asked.append(order)
        return fused.Outcome(order.trial, "done")

    monkeypatch.setattr(fused, "run_trial", alone)
    given = orders(tmp_path, **changes)
    outcomes = run_fused(given)
    assert asked == given
    assert all(why in each.alone for each in outcomes), outcomes[0].alone
    assert not list(tmp_path.glob("*/metrics.csv"))


def test_a_fused_attempt_that_fails_is_made_up_for_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(StackedClassifier, "validation_step", out_of_memory)
    outcomes = run_fused(orders(tmp_path, **SHORT))
    assert {each.alone for each in outcomes} == {"MemoryError: no room"}
    assert all("fused" not in result_in(tmp_path / str(seed)) for seed in SEEDS)


def never(order: Order) -> Any:
    raise AssertionError("trained alone")


@pytest.mark.parametrize("told", [OSError, RuntimeError])
def test_a_full_disk_and_a_signal_end_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: type[Exception]
) -> None:
    def full(*_: Any) -> None:
        behind = OSError(errno.ENOSPC, "No space left on device")
        raise behind if told is OSError else told("file write failed") from behind

    def signalled(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(fused, "run_trial", never)
    for act, status in ((full, "no space"), (signalled, "preempted")):
        monkeypatch.setattr(StackedClassifier, "on_train_batch_start", act)
        assert {each.status for each in run_fused(orders(tmp_path, **SHORT))} == {status}
    assert not list(tmp_path.glob("*/result.json")) + list(tmp_path.glob("*/failure.json"))


def test_what_is_written_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = ("full", "dropout=off")
    given = [order for arm in arms for order in orders(tmp_path / arm, arm, **SHORT)]
    write = fused.write_json

    def refused(path: Path, content: Any) -> None:
        if path.parent == given[1].folder and "fused" in content:
            raise PermissionError("not allowed")
        write(path, content)

    monkeypatch.setattr(fused, "write_json", refused)
    outcomes = run_fused(given)
    assert [each.trial for each in outcomes] == [order.trial for order in given]
    assert outcomes[0].alone == "" and outcomes[1].alone == "PermissionError: not allowed"
    told = [result_in(order.folder).get("fused") for order in given]
    assert told == [6, None, None, 3, 3, 3]


def test_nothing_is_left_of_how_a_former_attempt_ended(tmp_path: Path) -> None:
    given = orders(tmp_path, **SHORT)
    for order in given:
        order.folder.mkdir()
        for name in ("failure.json", "hang.txt"):
            (order.folder / name).write_text("{}")
    run_fused(given)
    assert not list(tmp_path.glob("*/failure.json")) + list(tmp_path.glob("*/hang.txt"))


def test_modules_that_offer_no_stack(tmp_path: Path) -> None:
    study = load_study(write_project(tmp_path / "project"))
    given = [toy_order(study, tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    assert [(each.status, each.alone) for each in run_fused(given)] == [
        ("done", "TwoClasses has no method stack")
    ] * 2


STUDY = {
    "question": "Does dropout help?",
    "base": "bases/digits.yaml",
    "metric": "test/top1_error",
    "baseline": "with",
    "arms": {"with": {}, "without": {"model.init_args.dropout": 0.0}},
    "seeds": 5,
}


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The arms of each group that is handed over to be fused."""
    seen: list[tuple[str, ...]] = []
    fused_as_told = fused.run_fused

    def noted(given: Sequence[Order]) -> Any:
        seen.append(tuple(order.recipe.arm for order in given))
        return fused_as_told(given)

    monkeypatch.setattr(fused, "run_fused", noted)
    return seen


def test_a_sweep_hands_over_as_many_seeds_as_it_may(
    ablate: Ablate, untracked: None, tmp_path: Path, handed: list[tuple[str, ...]]
) -> None:
    short = {"trainer.max_epochs": 1, "data.init_args.limit": 128}
    arms: dict[str, dict[str, Any]] = STUDY["arms"]  # type: ignore[assignment]
    changed = {name: {**short, **arm} for name, arm in arms.items()}
    write_yaml(tmp_path / "fuse.yaml", STUDY | {"arms": changed})
    told = ablate("run", "fuse.yaml", "--fuse", "3", "--max-trials", "8", "--no-report")
    assert told.code == 0, told
    assert handed == [("with",) * 3, ("without",) * 3, ("with",) * 2]
    told = ablate("run", "fuse.yaml", "--fuse", "3", "--no-report")
    assert handed[3:] == [("without",) * 2]
    results = [json.loads(f.read_text()) for f in tmp_path.glob("runs/trials/*/result.json")]
    assert len(results) == 10 and sorted(r["fused"] for r in results) == [2] * 4 + [3] * 6


def test_what_is_left_of_arms_alike_is_handed_over_together(
    ablate: Ablate, untracked: None, tmp_path: Path, handed: list[tuple[str, ...]]
) -> None:
    arms: dict[str, dict[str, Any]] = {
        "with": {},
        "without": {"model.init_args.dropout": 0.0},
        "dense": {"model.init_args.connectivity": "dense"},
        "plain": {"model.init_args.pooling": "plain"},
    }
    short = {"trainer.max_epochs": 1, "data.init_args.limit": 128}
    changed = {name: {**short, **arm} for name, arm in arms.items()}
    write_yaml(tmp_path / "fuse.yaml", STUDY | {"arms": changed, "seeds": 2})
    told = ablate("run", "fuse.yaml", "--fuse", "6", "--no-report", "--workers", "1")
    assert told.code == 0, told
    assert handed == [("with",) * 2 + ("plain",) * 2 + ("without",) * 2, ("dense",) * 2]
    results = [json.loads(f.read_text()) for f in tmp_path.glob("runs/trials/*/result.json")]
    assert sorted(r["fused"] for r in results) == [2] * 2 + [6] * 6


def test_an_arm_that_cannot_be_fused_is_tried_once(
    ablate: Ablate, untracked: None, tmp_path: Path, handed: list[tuple[str, ...]]
) -> None:
    short = {"trainer.max_epochs": 1, "data.init_args.limit": 128}
    arms = {"with": {**short, "model.init_args.schedule": "plateau"}, "without": short}
    write_yaml(tmp_path / "fuse.yaml", STUDY | {"arms": arms, "seeds": 5})
    told = ablate("run", "fuse.yaml", "--fuse", "2", "--no-report", "--workers", "1")
    assert told.code == 0 and told.out.count("trained alone: a plateau lowers") == 1
    assert handed == [("with",) * 2, ("without",) * 2, ("without",) * 2]
    results = [json.loads(f.read_text()) for f in tmp_path.glob("runs/trials/*/result.json")]
    assert sorted(r.get("fused", 1) for r in results) == [1] * 6 + [2] * 4


@pytest.mark.parametrize("how", ["died", "made no progress"])
def test_seeds_whose_worker_died_are_tried_again_alone(
    ablate: Ablate, untracked: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def died(given: Sequence[Order]) -> Any:
        if how != "died":
            given[0].folder.mkdir(parents=True)
            (given[0].folder / "hang.txt").write_text("Thread 0x1")
        raise BrokenExecutor

    monkeypatch.setattr(fused, "run_fused", died)
    short = {"trainer.max_epochs": 1, "data.init_args.limit": 128}
    arms = {"with": short, "without": {**short, "model.init_args.dropout": 0.0}}
    write_yaml(tmp_path / "fuse.yaml", STUDY | {"arms": arms, "seeds": 2})
    told = ablate("run", "fuse.yaml", "--fuse", "2", "--no-report")
    assert told.code == 0 and told.out.count(f"the worker {how}; trying again") == 4
    results = [json.loads(f.read_text()) for f in tmp_path.glob("runs/trials/*/result.json")]
    assert [result["attempt"] for result in results] == [2] * 4


def test_only_workers_on_this_machine_fuse(ablate: Ablate) -> None:
    told = ablate("run", "quickstart", "--fuse", "2", "--executor", "slurm")
    assert told.code == 2 and "--fuse: goes with --executor local" in told.errors[-1]


@pytest.mark.parametrize("text", ["0", "two", "-1"])
def test_what_is_no_number_of_trials(ablate: Ablate, text: str) -> None:
    told = ablate("run", "quickstart", f"--fuse={text}")
    assert told.code == 2 and "--fuse: expected a number from 1, or auto" in told.errors[-1]


def test_auto_fuses_small_nets_and_goes_on_as_it_began(
    ablate: Ablate, untracked: None, tmp_path: Path
) -> None:
    short = {"trainer.max_epochs": 1, "data.init_args.limit": 128}
    arms = {"with": short, "without": {**short, "model.init_args.dropout": 0.0}}
    write_yaml(tmp_path / "fuse.yaml", STUDY | {"arms": arms, "seeds": 3})
    run = ("run", "fuse.yaml", "--no-report", "--workers", "1")
    told = ablate(*run, "--fuse", "auto", "--max-trials", "2")
    assert "training up to 6 trials as one: the nets are small" in told.out
    told = ablate(*run, "--fuse", "auto")
    assert "training up to 6 trials as one: as those that have ended" in told.out
    assert ablate(*run).code == 0

    (tmp_path / "more").mkdir()
    write_yaml(tmp_path / "more" / "alone.yaml", STUDY | {"arms": arms, "seeds": 3})
    alone = ("run", "more/alone.yaml", "--workspace", "more/runs", *run[2:])
    ablate(*alone, "--max-trials", "1")
    assert "training alone: as those that have ended" in ablate(*alone, "--fuse", "auto").out
    results = [json.loads(f.read_text()) for f in tmp_path.glob("more/runs/trials/*/result.json")]
    assert len(results) == 6 and not any("fused" in result for result in results)


def test_auto_trains_large_nets_alone(tmp_path: Path) -> None:
    study, workspace = load_study("quickstart"), Workspace(tmp_path)
    arms = {arm.name: {"flops": 885_248} for arm in study.arms}
    assert pays(study, workspace, arms)[0] == 6
    kept = pays(replace(study, keep_weights=True), workspace, arms)
    assert kept == (1, "weights are chosen, kept or loaded")
    arms["full"] = {"flops": 24_000_000}
    assert pays(study, workspace, arms) == (1, "it pays for small nets only")
    assert pays(study, workspace, {})[0] == 1
