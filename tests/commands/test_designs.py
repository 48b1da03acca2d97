"""Factorial studies and times to a threshold, from the study file to the tables."""

import json
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.conftest import Ablate
from tests.toy import write_project

RUN = ("run", "toy.yaml", "--no-report")


def table(ablate: Ablate) -> dict:
    return json.loads(ablate("table", "toy.yaml", "--format", "json").out)


def test_a_time_to_a_threshold(ablate: Ablate, tmp_path: Path) -> None:
    metric = {"epochs_to": {"metric": "train/error", "below": 45}}
    write_project(tmp_path, metric=metric, margin=None)
    told = ablate(*RUN)
    assert (told.code, told.errors) == (0, [])
    assert "train/error " in told.out and "epochs to train/error below 45" in told.out
    found = table(ablate)
    assert [row["arm"] for row in found["times"]] == ["full", "no-dropout", "no-bias"]
    assert {row["n"] for row in found["times"]} == {3}
    assert [row["mean"] for row in found["arms"]] == [
        row["mean"] for row in found["arms"] if 0 < row["mean"] <= 3
    ]
    # The record holds what was logged last.
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "runs" / "optuna.journal")))
    trials = optuna.load_study(study_name="toy", storage=storage).get_trials()
    assert len(trials) == 9 and all(trial.value is not None for trial in trials)
    assert "0 trials to run, 9 already done" in ablate(*RUN).out


def test_a_factorial_study(ablate: Ablate, tmp_path: Path) -> None:
    write_project(
        tmp_path,
        arms=None,
        baseline=None,
        seeds=2,
        design="factorial",
        factors={
            "dropout": {"on": {}, "off": {"model.init_args.dropout": 0.0}},
            "bias": {"on": {}, "off": {"model.init_args.bias": False}},
        },
    )
    told = ablate(*RUN)
    assert (told.code, told.errors) == (0, [])
    assert "Effects (2^2, full)" in told.out and "interaction" in told.out
    found = table(ablate)
    assert [effect["effect"] for effect in found["effects"]] == [
        "dropout",
        "bias",
        "dropout × bias",
    ]
    mean = {row["arm"]: row["mean"] for row in found["arms"]}
    both, bias = mean["dropout=off,bias=off"], mean["bias=off"]
    by_hand = (mean["dropout=off"] - mean["full"] + both - bias) / 2
    assert abs(found["effects"][0]["mean"] - by_hand) < 1e-9
    # Stored predictions of two classes: their error is the metric.
    assert {row["arm"] for row in found["noise"]} <= set(mean) - {"full"}
    assert found["noise"]
