import math

import numpy as np
import pandas as pd
import pytest

from ablations.results.frame import curves, find_holes, predictions, trial_frame, values_by_seed
from ablations.study import load_study, trials
from tests.results.fabricate import METRIC, fabricate, write_study

VALUES = {
    "full": [3.0, 3.1, 3.2, 3.3, 3.4, 3.5],
    "off": [4.0, "failed", "diverged", "interrupted", None, 4.5],
}


@pytest.fixture
def swept(tmp_path):
    study = write_study(tmp_path, ["full", "off"])
    workspace = fabricate(study, tmp_path / "runs", VALUES)
    return study, workspace, trial_frame(study, workspace)


def test_a_row_per_arm_and_seed_whatever_became_of_it(swept):
    study, _, frame = swept
    assert list(frame["arm"]) == ["full"] * 6 + ["off"] * 6
    assert list(frame["seed"]) == [0, 1, 2, 3, 4, 5] * 2
    off = frame[frame["arm"] == "off"]
    assert list(off["state"]) == ["done", "failed", "diverged", "interrupted", "waiting", "done"]
    assert off["value"].tolist() == pytest.approx([4.0, *[math.nan] * 4, 4.5], nan_ok=True)
    assert set(frame["trial"]) == {trial.id for trial in trials(study)}
    assert off["error"].iloc[1] == "RuntimeError: no"
    assert frame["metrics." + METRIC].iloc[0] == 3.0
    assert frame[["epochs", "steps", "parameters"]].iloc[0].tolist() == [5, 50, 12_000]
    assert (frame["commit"].iloc[0], frame["dirty"].iloc[0]) == ("abcdef1234", False)


def test_nothing_run_is_a_frame_of_waiting_trials(tmp_path):
    study = write_study(tmp_path, ["full", "off"])
    frame = trial_frame(study, fabricate(study, tmp_path / "runs", {}))
    assert set(frame["state"]) == {"waiting"}
    assert frame["value"].isna().all()


def test_holes_are_named(swept):
    holes = find_holes(swept[2])
    assert holes.missing == {"off": {1: "failed", 2: "diverged", 3: "interrupted", 4: "waiting"}}
    assert holes.duplicated == ()


def test_duplicate_cells_are_told_not_dropped(swept):
    frame = swept[2]
    twice = pd.concat([frame, frame.iloc[[2]]])
    assert find_holes(twice).duplicated == (("full", 2),)
    with pytest.raises(ValueError, match="full with seed 2"):
        values_by_seed(twice)


def test_matrix_of_values(swept):
    matrix = values_by_seed(swept[2])
    assert list(matrix.columns) == ["full", "off"]
    assert list(matrix.index) == list(range(6))
    assert matrix["full"].tolist() == VALUES["full"]


def test_an_arm_may_read_another_metric_of_the_same_trials(tmp_path):
    write_study(tmp_path, ["full", "off"])
    file = tmp_path / "known.yaml"
    file.write_text(file.read_text().replace("'off':\n", "'off':\n    metric: train/loss\n"))
    study = load_study(file)
    frame = trial_frame(study, fabricate(study, tmp_path / "runs", {"off": [4.0] * 6}))
    assert frame[frame["arm"] == "off"]["value"].tolist() == [0.1] * 6


def test_curves_take_the_last_row_of_an_epoch_trained_twice(swept):
    _, workspace, frame = swept
    trial = frame["trial"].iloc[0]
    with (workspace.trial_folder(trial) / "metrics.csv").open("a") as file:
        file.write("3,30,train/loss,77.0,1800000000\n")
        file.write("4,40,train/lo")  # cut off by a crash
    log = curves(frame, workspace)
    first = log[(log["trial"] == trial) & (log["name"] == "train/loss")].sort_values("epoch")
    assert first["epoch"].tolist() == [0, 1, 2, 3, 4]
    assert first["value"].iloc[3] == 77.0
    assert set(log["state"]) == {"done", "failed", "diverged", "interrupted"}
    assert list(log.columns[:4]) == ["arm", "seed", "trial", "state"]


def test_curves_of_nothing_are_empty(tmp_path):
    study = write_study(tmp_path, ["full", "off"])
    workspace = fabricate(study, tmp_path / "runs", {})
    assert curves(trial_frame(study, workspace), workspace).empty


def test_predictions(swept):
    _, workspace, frame = swept
    found = predictions(workspace, frame["trial"].iloc[0])
    assert found is not None
    assert (found.targets.shape, found.probabilities.shape) == ((50,), (50, 10))
    assert np.allclose(found.probabilities.sum(1), 1, atol=0.01)
    waiting = frame.loc[frame["state"] == "waiting", "trial"].iloc[0]
    assert predictions(workspace, waiting) is None
