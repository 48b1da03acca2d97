"""The tuning stage: as many tries for each arm, never the test set, the same after any restart."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ablations.results.threshold import first_crossing
from ablations.study import load_study
from ablations.study.tuning import tuning_trial
from tests.conftest import Ablate
from tests.toy import write_project

pytestmark = pytest.mark.usefixtures("untracked")
RUN = ("run", "toy.yaml", "--no-report")
RATE = "optimizer.init_args.lr"
TUNE = {"trials": 5, "space": {RATE: {"low": 0.01, "high": 1.0, "log": True}}, "pruner": "none"}
ARMS: dict[str, Any] = {"full": {}, "no-bias": {"model.init_args.bias": False}}


def project(folder: Path, **tune: Any) -> None:
    write_project(folder, arms=ARMS, seeds=3, margin=None, tune=TUNE | tune)


def stages(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "runs/studies/toy/tuning.json").read_text())
    return content


def decided(folder: Path) -> dict[str, Any]:
    kept = ("settings", "state", "value")
    return {
        arm: (stage["chosen"], [{key: each[key] for key in kept} for each in stage["trials"]])
        for arm, stage in stages(folder).items()
    }


def table(ablate: Ablate) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(ablate("table", "toy.yaml", "--format", "json").out)
    return content


def test_every_arm_gets_its_own_settings(ablate: Ablate, tmp_path: Path) -> None:
    project(tmp_path)
    assert "first 5 tuning trials for each of 2 arms" in ablate("plan", "toy.yaml").out
    told = ablate(*RUN)
    assert told.code == 0, told
    assert "10 tuning trials and then 6 trials to run" in told.out
    found = table(ablate)
    own = found["own_settings"]
    assert own["question"].endswith("(each arm with its own settings)")
    for arm, stage in stages(tmp_path).items():
        tries = stage["trials"]
        assert len(tries) == 5 and stage["complete"]
        best = min(tries, key=lambda each: each["value"])
        assert tries[stage["chosen"]]["value"] == best["value"]
        assert tries[0]["settings"] == {RATE: 0.3}  # as written
        assert found["tuning"][arm]["planned"] == 5
        (row,) = (row for row in own["arms"] if row["arm"] == arm)
        assert row["n"] == 3
    text = ablate("table", "toy.yaml").out
    assert text.index("Own settings: every arm") > text.index("no-bias")


def test_rates_are_tuned_on_the_time_to_a_threshold(ablate: Ablate, tmp_path: Path) -> None:
    level = 48.0
    metric = {"epochs_to": {"metric": "train/error", "below": level}}
    stage = TUNE | {"space": {RATE: [1e-6, 0.3, 1.0]}}
    write_project(tmp_path, arms=ARMS, seeds=3, margin=None, metric=metric, tune=stage)
    told = ablate(*RUN)
    assert told.code == 0, told
    slow = []
    for stage in stages(tmp_path).values():
        assert stage["metric"] == "epochs to train/error below 48"
        for each in stage["trials"]:
            log = pd.read_csv(tmp_path / "runs/trials" / each["id"] / "metrics.csv")
            curve = log[log["name"] == "train/error"].sort_values("epoch")
            assert set(log["name"]) == {"train/error", "train/loss", "val/error", "val/loss"}
            time = first_crossing(curve["epoch"] + 1, curve["value"], level)
            # One that never crosses is worse than any that does, and worse than none.
            assert each["value"] == pytest.approx(min(time, 4.0))
            slow += [time] if each["settings"][RATE] < 1e-3 else []
        values = [each["value"] for each in stage["trials"]]
        assert values[stage["chosen"]] == min(values) < 4
    assert math.inf in slow
    own = table(ablate)["own_settings"]
    assert (own["metric"], own["scale"]) == ("epochs to train/error below 48", "log")
    assert {row["n"] for row in own["arms"]} == {3}


def test_an_arm_that_was_tuned_more_than_the_baseline_is_marked(
    ablate: Ablate, tmp_path: Path
) -> None:
    project(tmp_path, trials=2, space={}, arms={"no-bias": TUNE["space"]})
    assert ablate(*RUN).code == 0
    own = table(ablate)["own_settings"]["arms"]
    assert ["≠ tuning" in row["marks"] for row in own] == [False, True]
    assert "favours the arms with more: full 0 and no-bias 2." in ablate("table", "toy.yaml").out


def test_no_try_sees_the_test_set_or_a_seed_of_the_study(ablate: Ablate, tmp_path: Path) -> None:
    project(tmp_path)
    ablate(*RUN)
    for stage in stages(tmp_path).values():
        for each in stage["trials"]:
            result = json.loads((tmp_path / "runs/trials" / each["id"] / "result.json").read_text())
            assert result["seed"] == 10_000
            assert not [name for name in result["metrics"] if name.startswith("test")]
            assert not (tmp_path / "runs/trials" / each["id"] / "predictions.npz").exists()


@pytest.mark.parametrize("stop", [1, 4, 7])
def test_a_restart_comes_to_the_same(ablate: Ablate, tmp_path: Path, stop: int) -> None:
    project(tmp_path)
    told = ablate(*RUN, "--workspace", "whole")
    assert told.code == 0, told
    told = ablate(*RUN, "--max-trials", str(stop))
    assert f"{10 - stop} tuning trials and then" in told.out
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("runs/trials/*/result.json")}
    assert len(before) == stop
    assert ablate(*RUN).code == 0
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())
    again = decided(tmp_path)
    (tmp_path / "runs").rename(tmp_path / "restarted")
    (tmp_path / "whole").rename(tmp_path / "runs")
    assert decided(tmp_path) == again


def test_no_table_of_seeds_before_there_are_any(ablate: Ablate, tmp_path: Path) -> None:
    project(tmp_path, trials=2)
    told = ablate(*RUN, "--max-trials", "4")
    assert told.code == 0, told
    assert "stopped by --max-trials, " in told.out and "undecided" not in told.out
    assert not list(tmp_path.glob("runs/studies/*/table.md"))
    assert "stopped by --max-trials, " in ablate(*RUN, "--max-trials", "1").out
    assert list(tmp_path.glob("runs/studies/*/table.md"))


def test_hopeless_tries_are_given_up(ablate: Ablate, tmp_path: Path) -> None:
    project(tmp_path, pruner="median", trials=9, metric="val/loss")
    assert ablate(*RUN).code == 0
    for stage in stages(tmp_path).values():
        assert len(stage["trials"]) == 9
        states = [each["state"] for each in stage["trials"]]
        assert set(states) <= {"done", "pruned"}
        assert stage["trials"][stage["chosen"]]["state"] == "done"
        assert all(e["epochs"] <= 3 for e in stage["trials"] if e["state"] == "pruned")


@pytest.mark.parametrize(
    ("tune", "told"),
    [
        ({"space": {"optimizer.init_args.rl": [0.1, 0.2]}}, "tune.space.optimizer.init_args.rl"),
        ({"arms": {"no-bias": {"model.init_args.widht": [1, 2]}}}, "tune.arms.no-bias.model"),
        ({"space": {"model.init_args.bias": [True, False]}}, "nothing but what is tuned in both"),
    ],
)
def test_a_space_that_no_arm_takes(
    ablate: Ablate, tmp_path: Path, tune: dict[str, Any], told: str
) -> None:
    project(tmp_path, **tune)
    for command in ("plan", "run"):
        found = ablate(command, "toy.yaml")
        assert found.code == 2
        assert told in found.errors[-1]
    assert not (tmp_path / "runs").exists()


def test_a_try_is_not_the_trial_of_the_same_settings(tmp_path: Path) -> None:
    project(tmp_path)
    study = load_study(tmp_path / "toy.yaml")
    first = tuning_trial(study, "full", 0, {RATE: 0.3})
    assert first.id == tuning_trial(study, "full", 4, {RATE: 0.3}).id
    assert first.id != tuning_trial(study, "full", 0, {RATE: 0.2}).id
    assert first.id != tuning_trial(study, "no-bias", 0, {RATE: 0.3}).id
