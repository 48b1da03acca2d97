"""Fused seeds whose worker or sweep is killed: the attempt in flight is lost, and nothing else."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.soak.command import ablate, start, wait_for
from tests.toy import write_yaml

pytestmark = pytest.mark.soak

STUDY = {
    "question": "Does dropout help?",
    "base": "bases/digits.yaml",
    "metric": "test/top1_error",
    "baseline": "with",
    "arms": {
        "with": {"trainer.max_epochs": 4},
        "without": {"trainer.max_epochs": 4, "model.init_args.dropout": 0.0},
    },
    "seeds": 4,
}
RUN = ("run", "fuse.yaml", "--fuse", "4", "--no-report")


def begun(runs: Path) -> list[int]:
    """The worker of each trial that has been through an epoch and has not ended."""
    found = []
    for metrics in runs.glob("trials/*/metrics.csv"):
        if not (metrics.parent / "result.json").exists():
            found.append(json.loads((metrics.parent / "attempt.json").read_text())["pid"])
    return found


def results_in(runs: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in runs.glob("trials/*/result.json")]


def test_killed_worker_and_killed_sweep(tmp_path: Path) -> None:
    write_yaml(tmp_path / "fuse.yaml", STUDY)
    runs = tmp_path / "runs"
    process = start(tmp_path, *RUN)
    wait_for(lambda: len(begun(runs)) >= 4)
    process.kill()
    process.communicate()
    assert not results_in(runs)

    process = start(tmp_path, *RUN)
    before = set(begun(runs))
    worker = wait_for(lambda: [pid for pid in begun(runs) if pid not in before])[0]
    os.kill(worker, signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert output.count("the worker died; trying again") == 4
    results = results_in(runs)
    assert sorted((each["attempt"], each.get("fused", 1)) for each in results) == [
        *[(1, 4)] * 4,
        *[(2, 1)] * 4,
    ]
    assert "8 already done" in ablate(tmp_path, *RUN)
    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("fuse")
    assert experiment is not None
    mirrored = client.search_runs([experiment.experiment_id], max_results=100)
    trials = [run for run in mirrored if run.data.tags.get("ablations.kind") == "trial"]
    assert len(trials) == 8 and {run.info.status for run in trials} == {"FINISHED"}
