"""``ablate ensemble`` over trained trials; it trains nothing itself."""

import json
from pathlib import Path

import numpy as np
import pytest

from ablations.study import load_study, trials
from tests.conftest import Ablate
from tests.toy import write_project


def test_an_arms_nets_averaged(ablate: Ablate, tmp_path: Path) -> None:
    write_project(tmp_path)
    ablate("run", "toy.yaml", "--no-report")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    told = ablate("ensemble", "toy.yaml", "--arm", "no-bias", "--format", "json")
    made = json.loads(told.out)
    assert (made["arm"], made["seeds"], made["left_out"]) == ("no-bias", [0, 1, 2], [])
    assert "ten_crop" not in made
    folders = [
        tmp_path / "runs" / "trials" / trial.id
        for trial in trials(load_study(tmp_path / "toy.yaml"))
        if trial.arm == "no-bias"
    ]
    alone = [json.loads((f / "result.json").read_text())["metrics"]["test/error"] for f in folders]
    rows = made["centre_crop"]
    assert rows[0]["top1_error"] == pytest.approx(np.mean(alone))
    arrays = [np.load(f / "predictions.npz") for f in folders]
    mean = sum(a["probabilities"] for a in arrays) / 3
    assert rows[2]["top1_error"] == 100 * np.mean(mean.argmax(1) != arrays[0]["targets"])
    assert [row["choices"] for row in rows] == [3, 3, 1]

    # ten crops where every net has them, in columns of their own
    for folder, array in zip(folders, arrays, strict=True):
        right = np.eye(2)[array["targets"]]
        np.savez(folder / "predictions.npz", **array, probabilities_ten_crop=right)
    lines = ablate("ensemble", "toy.yaml", "--arm", "no-bias").out.splitlines()
    assert lines[0] == "no-bias: 3 nets, 64 test examples"
    assert lines[1].split("  ")[-1] == "top-1 ten-crop"
    assert lines[4].split() == ["3", "all", "1", f"{rows[2]['top1_error']:.2f}", "0.00"]

    (folders[1] / "predictions.npz").unlink()
    out = ablate("ensemble", "toy.yaml", "--arm", "no-bias").out
    assert "2 nets, 64 test examples (without seeds 1: no predictions)" in out
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert set(after) <= set(before)


def test_without_predictions(ablate: Ablate, tmp_path: Path) -> None:
    write_project(tmp_path, seeds=2)
    told = ablate("ensemble", "toy.yaml")
    assert told.code == 2
    assert told.errors == ["error: toy.yaml: arms.full: none of its 2 trials is done"]
    assert not (tmp_path / "runs").exists()
    ablate("run", "toy.yaml", "--no-report")
    for file in tmp_path.glob("runs/trials/*/predictions.npz"):
        file.unlink()
    told = ablate("ensemble", "toy.yaml")
    assert told.code == 2
    assert "none of its 2 trials stored predictions: test_step has to return" in told.errors[-1]
    told = ablate("ensemble", "toy.yaml", "--arm", "ful")
    assert 'no arm is called "ful"' in told.errors[-1]


def test_predictions_of_different_test_sets(ablate: Ablate, tmp_path: Path) -> None:
    write_project(tmp_path, seeds=2)
    ablate("run", "toy.yaml", "--no-report")
    (trial,) = (t for t in trials(load_study(tmp_path / "toy.yaml"))[3:] if t.arm == "full")
    file = tmp_path / "runs" / "trials" / trial.id / "predictions.npz"
    with np.load(file) as arrays:
        np.savez(file, **{name: values[:60] for name, values in arrays.items()})
    told = ablate("ensemble", "toy.yaml")
    assert told.code == 2
    assert "predictions of seeds 0 and 1 are not of one test set" in told.errors[-1]
