"""What a trial leaves in its folder, however it ends."""

import csv
import errno
import json
import math
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import yaml

from ablations.study import Study, load_study
from ablations.sweep import watch
from ablations.sweep.orders import order_for
from ablations.sweep.trial import run_trial
from tests.sweep.conftest import order
from tests.toy import NAMESPACES, edit_base, module_name, write_project


def result_in(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


def rows_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_what_a_trial_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: str
) -> None:
    monkeypatch.chdir(tmp_path)
    study = load_study(write_project(tmp_path / "project", namespace))
    folder = tmp_path / "trial"
    outcome = run_trial(order(study, folder, "no-bias", 7))
    assert (outcome.trial, outcome.status, outcome.error) == ("no-bias-7", "done", None)
    assert {path.name for path in folder.iterdir()} == {
        "attempt.json",
        "config.yaml",
        "log.txt",
        "metrics.csv",
        "predictions.npz",
        "result.json",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"project", "trial"}

    result = result_in(folder)
    names = {f"{stage}/{name}" for stage in ("train", "val", "test") for name in ("loss", "error")}
    assert set(result["metrics"]) == names
    expected = {"schema": 1, "id": "no-bias-7", "status": "done", "seed": 7, "epochs": 3}
    expected |= {"steps": 12, "parameters": 64, "attempt": 1, "resumed": False}
    assert {key: result[key] for key in expected} == expected
    assert result["commit"] is None and result["dirty"] is None
    started, finished = (datetime.fromisoformat(result[key]) for key in ("started", "finished"))
    assert started.utcoffset() == finished.utcoffset() and started < finished
    assert 0 < result["seconds"] <= (finished - started).total_seconds() + 0.01
    environment = result["environment"]
    assert environment["torch"] == torch.__version__
    assert (environment["device"], environment["threads"]) == ("cpu", 1)

    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["class_path"] == f"{module_name(namespace)}.TwoClasses"
    assert config["model"]["init_args"]["bias"] is False
    assert config["model"]["init_args"]["hidden"] == 16
    assert config["seed_everything"] == 7

    with np.load(folder / "predictions.npz") as predictions:
        probabilities, targets = predictions["probabilities"], predictions["targets"]
    assert probabilities.shape == (64, 2) and targets.shape == (64,)
    wrong = 100 * np.mean(probabilities.argmax(1) != targets)
    assert wrong == pytest.approx(result["metrics"]["test/error"])


def test_metrics_by_epoch(toy: Study, tmp_path: Path) -> None:
    run_trial(order(toy, tmp_path))
    rows = rows_in(tmp_path)
    assert list(rows[0]) == ["epoch", "step", "name", "value", "time"]
    seen = [(row["epoch"], row["name"]) for row in rows]
    assert len(seen) == len(set(seen))
    metrics = result_in(tmp_path)["metrics"]
    for name, value in metrics.items():
        own = [row for row in rows if row["name"] == name]
        assert [row["epoch"] for row in own] == (["2"] if "test" in name else ["0", "1", "2"])
        assert float(own[-1]["value"]) == value


def test_the_same_trial_twice_is_bitwise_the_same(toy: Study, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run_trial(order(toy, tmp_path / name))
    one, two = (result_in(tmp_path / name)["metrics"] for name in ("one", "two"))
    assert one == two
    run_trial(order(toy, tmp_path / "three", seed=1))
    assert one != result_in(tmp_path / "three")["metrics"]


def test_switches_of_one_trial_do_not_reach_the_next(
    toy: Study, unruly: Study, tmp_path: Path
) -> None:
    run_trial(order(toy, tmp_path / "before"))
    run_trial(order(unruly, tmp_path / "switching", act="switch"))
    run_trial(order(toy, tmp_path / "after"))
    assert torch.get_num_threads() == 1
    assert torch.get_default_dtype() == torch.float32
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.is_anomaly_enabled()
    before, after = (result_in(tmp_path / name)["metrics"] for name in ("before", "after"))
    assert before == after


def test_threads(unruly: Study, tmp_path: Path) -> None:
    run_trial(replace(order(unruly, tmp_path), threads=2))
    result = result_in(tmp_path)
    assert result["metrics"]["threads"] == 2.0
    assert result["environment"]["threads"] == 2


@pytest.mark.parametrize("act", ["raise", "exit", "interrupt"])
def test_a_trial_that_fails(unruly: Study, tmp_path: Path, act: str) -> None:
    outcome = run_trial(replace(order(unruly, tmp_path, act=act), attempt=2))
    assert outcome.status == "failed"
    assert not (tmp_path / "result.json").exists()
    failure = json.loads((tmp_path / "failure.json").read_text())
    assert set(failure) == {"error", "traceback", "attempts", "time"}
    assert failure["attempts"] == 2
    assert failure["error"] == outcome.error
    if act == "raise":
        assert failure["error"] == "ValueError: too bad"
        assert 'raise ValueError("too bad' in failure["traceback"]
        assert "unruly_classes.py" in failure["traceback"]
    # the next attempt that ends well leaves no failure
    assert run_trial(order(unruly, tmp_path)).status == "done"
    assert not (tmp_path / "failure.json").exists()


def test_a_trial_that_cannot_be_built(unruly: Study, tmp_path: Path) -> None:
    outcome = run_trial(order(unruly, tmp_path, hidden="many"))
    assert outcome.status == "failed"
    assert str(outcome.error).endswith("model.init_args.hidden: expected int, got 'many'")


def test_a_trial_without_memory_fails(unruly: Study, tmp_path: Path) -> None:
    outcome = run_trial(order(unruly, tmp_path, act="memory"))
    assert (outcome.status, outcome.error) == ("failed", "MemoryError")


def test_a_full_disk_is_no_failure_of_the_trial(unruly: Study, tmp_path: Path) -> None:
    outcome = run_trial(order(unruly, tmp_path / "training", act="full"))
    assert outcome.status == "no space"
    assert not (tmp_path / "training" / "failure.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        full = OSError(errno.ENOSPC, "No space left on device")
        patch.setattr("ablations.sweep.trial.write_json", Mock(side_effect=full))
        outcome = run_trial(order(unruly, tmp_path / "beginning"))
    assert (outcome.status, outcome.error) == ("no space", str(full))


def test_a_line_cut_off_by_a_kill_is_not_glued_to_the_next(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text("epoch,step,name,value,time\n0,4,train/loss,0.5,1.0\n0,4,val/lo")
    metrics = watch.MetricsFile(file)
    metrics.note({"val/loss": 0.25}, 4, 0)
    metrics.flush()
    assert [row["name"] for row in rows_in(tmp_path)] == ["train/loss", "val/loss"]


@pytest.mark.parametrize("left", ["", "epoch,st"])
def test_a_disk_that_was_full_leaves_no_file_without_its_first_line(
    tmp_path: Path, left: str
) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text(left)
    metrics = watch.MetricsFile(file)
    for epoch in range(2):
        metrics.note({"loss": 1.5}, step=epoch, epoch=epoch)
        metrics.flush()
    with file.open() as lines:
        assert [row["value"] for row in csv.DictReader(lines)] == ["1.5", "1.5"]


def test_progress_puts_the_end_off(
    toy: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timer = Mock()
    monkeypatch.setattr("ablations.sweep.process.faulthandler", timer)
    run_trial(replace(order(toy, tmp_path), timeout=1e-6))
    told = timer.dump_traceback_later.call_args_list
    # At the start, then at each of 3 epochs' 4 training and 2 validation batches, 2 sanity checks
    # and 2 of the test.
    assert len(told) == 1 + 3 * (4 + 2) + 2 + 2
    assert [call.args for call in told] == [(60.0,)] + (len(told) - 1) * [(1e-6,)]
    assert all(call.kwargs["exit"] for call in told)
    timer.cancel_dump_traceback_later.assert_called_once_with()
    assert not (tmp_path / "hang.txt").exists()
    run_trial(order(toy, tmp_path))
    assert len(timer.dump_traceback_later.call_args_list) == len(told)


def test_a_trial_that_diverges(unruly: Study, tmp_path: Path) -> None:
    told = order(unruly, tmp_path, act="nan")
    overrides = {**told.recipe.overrides, "trainer": {"max_epochs": 50}}
    outcome = run_trial(replace(told, recipe=replace(told.recipe, overrides=overrides)))
    assert (outcome.status, outcome.error) == ("diverged", None)
    result = result_in(tmp_path)
    assert result["status"] == "diverged"
    assert result["metrics"]["train/loss"] is None
    assert "NaN" not in (tmp_path / "result.json").read_text()
    # the second epoch was not finite: no step of a third was taken
    assert result["steps"] == 8
    losses = [float(row["value"]) for row in rows_in(tmp_path) if row["name"] == "train/loss"]
    assert [math.isfinite(loss) for loss in losses][:2] == [True, False]


@pytest.mark.parametrize(("act", "status"), [("guess", "diverged"), ("learn", "done")])
def test_a_net_that_has_learned_nothing_has_diverged(
    unruly: Study, tmp_path: Path, act: str, status: str
) -> None:
    """Of 128 points in two classes, three standard errors of guessing are 13.26 points."""
    assert run_trial(order(unruly, tmp_path, act=act)).status == status
    result = result_in(tmp_path)
    assert result["status"] == status
    assert result["chance"] == {"metric": "train/top1_error", "level": 50.0, "examples": 128}


@pytest.mark.parametrize(("act", "early"), [("", False), ("stop", True)])
def test_a_schedule_that_was_cut_short_is_told(
    unruly: Study, tmp_path: Path, act: str, early: bool
) -> None:
    run_trial(order(unruly, tmp_path, act=act))
    result = result_in(tmp_path)
    assert (result["stopped_early"], result["status"], result["chance"]) == (early, "done", None)
    assert result["epochs"] == (1 if early else 3)


def test_what_is_printed_is_kept(unruly: Study, tmp_path: Path) -> None:
    run_trial(order(unruly, tmp_path, act="print"))
    log = (tmp_path / "log.txt").read_text()
    assert "printed by another program" in log


@pytest.fixture
def saving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after each batch instead of each minute."""
    monkeypatch.setattr(watch, "CHECKPOINT_SECONDS", -1.0)


@pytest.fixture(scope="module")
def whole(unruly: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    run_trial(order(unruly, folder))
    return folder


def last_rows(folder: Path) -> dict[tuple[str, str], float]:
    return {(row["epoch"], row["name"]): float(row["value"]) for row in rows_in(folder)}


@pytest.mark.usefixtures("saving")
@pytest.mark.parametrize("at", [1, 4, 6, 11])
def test_a_resumed_trial_is_bitwise_an_undisturbed_one(
    unruly: Study, whole: Path, tmp_path: Path, at: int
) -> None:
    once = str(tmp_path / "raised")
    broken = order(unruly, tmp_path / "resumed", act="raise", at=at, once=once)
    assert run_trial(broken).status == "failed"
    assert (tmp_path / "resumed" / "checkpoint.ckpt").exists()
    assert run_trial(replace(broken, attempt=2)).status == "done"
    expected, resumed = result_in(whole), result_in(tmp_path / "resumed")
    assert (resumed["resumed"], resumed["attempt"]) == (True, 2)
    assert (resumed["steps"], resumed["epochs"]) == (expected["steps"], expected["epochs"])
    assert not (tmp_path / "resumed" / "checkpoint.ckpt").exists()
    # Lightning forgets the broken epoch's means over the batches before the interruption
    epoch = (at - (at % 4 == 0)) // 4
    lost = {(str(epoch), f"train/{name}") for name in ("loss", "error")}
    kept, again = last_rows(whole), last_rows(tmp_path / "resumed")
    assert kept.keys() == again.keys()
    assert {key for key in kept if kept[key] != again[key]} <= lost
    with (
        np.load(whole / "predictions.npz") as one,
        np.load(tmp_path / "resumed" / "predictions.npz") as two,
    ):
        assert np.array_equal(one["probabilities"], two["probabilities"])


def test_a_preempted_trial_goes_on_where_it_was(unruly: Study, whole: Path, tmp_path: Path) -> None:
    once = str(tmp_path / "told")
    preempted = order(unruly, tmp_path / "trial", act="preempt", at=6, once=once)
    assert run_trial(preempted).status == "preempted"
    assert not (tmp_path / "trial" / "failure.json").exists()
    saved = torch.load(tmp_path / "trial" / "checkpoint.ckpt", weights_only=True)
    assert saved["global_step"] == 7
    assert run_trial(preempted).status == "done"
    result, expected = result_in(tmp_path / "trial"), result_in(whole)
    assert (result["resumed"], result["steps"]) == (True, expected["steps"])
    assert result["metrics"] == expected["metrics"] | {
        name: result["metrics"][name] for name in ("process",)
    }


@pytest.mark.usefixtures("saving")
def test_a_checkpoint_that_is_not_whole_is_left(unruly: Study, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "torn"
    run_trial(order(unruly, folder, act="raise"))
    content = (folder / "checkpoint.ckpt").read_bytes()
    (folder / "checkpoint.ckpt").write_bytes(content[: len(content) // 2])
    assert run_trial(order(unruly, folder)).status == "done"
    result = result_in(folder)
    assert result["resumed"] is False
    assert result["metrics"] == result_in(whole)["metrics"]


@pytest.mark.parametrize("weights", ["last", "best"])
def test_weights(tmp_path: Path, weights: Any) -> None:
    study = load_study(write_project(tmp_path / "project"))
    keep = {"class_path": "pytorch_lightning.callbacks.ModelCheckpoint"}
    keep |= {"init_args": {"monitor": "val/loss", "mode": "max"}}
    edit_base(tmp_path / "project", {"trainer.callbacks": [keep], "optimizer.init_args.lr": 1.0})
    study = load_study(study.file)
    run_trial(replace(order(study, tmp_path / "trial"), weights=weights))
    values = [
        float(row["value"]) for row in rows_in(tmp_path / "trial") if row["name"] == "val/loss"
    ]
    assert values[-1] < values[0]
    run_trial(order(study, tmp_path / "last"))
    same = result_in(tmp_path / "last")["metrics"] == result_in(tmp_path / "trial")["metrics"]
    assert same is (weights == "last")


def test_a_module_that_is_not_tested(tmp_path: Path) -> None:
    source = f"from {module_name('pytorch_lightning')} import TwoClasses\n\n\n"
    source += "class Untested(TwoClasses):\n    test_step = None\n"
    study = load_study(write_project(tmp_path / "project"))
    (tmp_path / "project" / "untested_classes.py").write_text(source)
    edit_base(tmp_path / "project", {"model.class_path": "untested_classes.Untested"})
    study = load_study(study.file)
    assert run_trial(order(study, tmp_path / "trial")).status == "done"
    assert not any(name.startswith("test/") for name in result_in(tmp_path / "trial")["metrics"])
    assert not (tmp_path / "trial" / "predictions.npz").exists()


def test_what_a_net_of_ours_leaves(tmp_path: Path) -> None:
    study = load_study("lrn")
    made = order_for(study, "lrn", 0, "ten-crop", tmp_path / "trial", 1)
    changes = {
        "trainer": {"max_epochs": 1},
        "data": {"init_args": {"crop": 8, "ten_crop": True, "limit": 640}},
    }
    assert run_trial(replace(made, recipe=replace(made.recipe, overrides=changes))).error is None
    metrics = result_in(tmp_path / "trial")["metrics"]
    for layer in ("lrn1", "lrn2", "cnorm2"):
        assert 1 <= metrics[f"lrn/{layer}_low"] <= metrics[f"lrn/{layer}_high"]
    with np.load(tmp_path / "trial" / "predictions.npz") as arrays:
        assert set(arrays) == {"targets", "probabilities", "probabilities_ten_crop"}
        targets = arrays["targets"]
        for views in ("", "_ten_crop"):
            guesses = arrays[f"probabilities{views}"].argsort(1)[:, ::-1]
            for top in (1, 5):
                wrong = 100 * np.mean((guesses[:, :top] != targets[:, None]).all(1))
                assert wrong == pytest.approx(metrics[f"test/top{top}_error{views}"])


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_try_sees_no_test_set_and_ends_when_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: str
) -> None:
    monkeypatch.chdir(tmp_path)
    study = load_study(write_project(tmp_path / "project", namespace))
    whole = replace(order(study, tmp_path / "whole"), test=False, metrics=("val/error",))
    told = replace(order(study, tmp_path / "told"), test=False, metrics=("val/error",))
    told.folder.mkdir()
    (told.folder / "stop").touch()
    assert [run_trial(each).status for each in (whole, told)] == ["done", "stopped"]
    assert [result_in(each.folder)["epochs"] for each in (whole, told)] == [3, 1]
    for each in (whole, told):
        assert not any("test" in name for name in result_in(each.folder)["metrics"])
        assert not (each.folder / "predictions.npz").exists()
    first = [row for row in rows_in(whole.folder) if row["epoch"] == "0"]
    keys = ("epoch", "step", "name", "value")
    assert [[row[key] for key in keys] for row in rows_in(told.folder)] == [
        [row[key] for key in keys] for row in first
    ]
