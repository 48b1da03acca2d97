"""Factorial studies and times to a threshold, from the study file to the tables."""

import json
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
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


def test_metrics_made_of_logged_ones(ablate: Ablate, tmp_path: Path) -> None:
    gap = {"gap": ["test/error", "train/error"]}
    early = {"early": {"metric": "train/loss", "epoch": 1}}
    write_project(tmp_path, metric=None, metrics=["test/error", gap, early], seeds=2)
    assert (ablate(*RUN).code, ablate("report", "toy.yaml").code) == (0, 0)
    names = ["test/error - train/error", "train/loss after 1 epoch"]
    text = ablate("table", "toy.yaml").out
    assert all(name in text for name in names)
    assert names[0] in (tmp_path / "reports" / "toy.html").read_text()
    found = {row["arm"]: row for row in table(ablate)["arms"]}
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    (experiment,) = (e for e in client.search_experiments() if e.name == "toy")
    kept = client.search_runs([experiment.experiment_id], "tags.`ablations.kind` = 'arm'")
    for run in kept:
        for reading in found[run.data.tags["ablations.arm"]]["beside"]:
            told = run.data.metrics[f"delta/of {reading['metric']}"]
            assert abs(told - reading["delta"]) < 1e-9
    assert len(kept) == 3


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({"gap": ["test/error", "trian/error"]}, 'metrics: "trian/error" is not logged'),
        ({"early": {"metric": "trian/loss", "epoch": 1}}, 'did you mean "train/loss"?'),
        (
            {"early": {"metric": "train/loss", "epoch": 4}},
            "metrics: train/loss after 4 epochs is never reached: trainer.max_epochs is 3",
        ),
    ],
)
def test_a_metric_that_cannot_be_made_is_refused(
    ablate: Ablate, tmp_path: Path, made: dict, told: str
) -> None:
    write_project(tmp_path, metric=None, metrics=["test/error", made])
    found = ablate(*RUN)
    assert found.code == 2
    assert any(told in line for line in found.errors), found.errors
    assert not (tmp_path / "runs" / "trials").exists()


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
