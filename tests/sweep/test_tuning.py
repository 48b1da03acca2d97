"""What is tried follows from the files alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import optuna
import pytest

from ablations.study import Study, load_study
from ablations.study.tuning import TuningTrial
from ablations.sweep.ledger import Ledger
from ablations.sweep.tuning import Tuning
from ablations.workspace import Workspace, write_json
from tests.toy import write_project

RATE = "optimizer.init_args.lr"
EPOCHS = 9


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "runs")
    made.create()
    return made


def tuned(folder: Path, **tune: Any) -> Study:
    stage = {"trials": 12, "space": {RATE: {"low": 0.001, "high": 10.0, "log": True}}, **tune}
    return load_study(write_project(folder, tune=stage, arms={"full": {}, "no-dropout": DROP}))


DROP = {"model.init_args.dropout": 0.0}


def stage_of(study: Study, workspace: Workspace) -> Tuning:
    return Tuning(study, workspace, Ledger(study, workspace), Mock(), Mock())


def curve(settings: Mapping[str, Any]) -> list[float]:
    """The error by epoch: best at a rate of 0.1, not a number above 3."""
    rate = settings[RATE]
    bad = float("nan") if rate > 3 else abs(rate - 0.1)
    return [bad + 1 / (epoch + 1) for epoch in range(EPOCHS)]


def train(workspace: Workspace, trial: TuningTrial, epochs: int = EPOCHS) -> dict[str, Any]:
    """The files of a try that was trained for so many epochs."""
    folder = workspace.trial_folder(trial.id)
    values = curve(trial.settings)[:epochs]
    lines = [f"{epoch},0,val/error,{value!r},0.0\n" for epoch, value in enumerate(values)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.csv").write_text("epoch,step,name,value,time\n" + "".join(lines))
    last = None if values[-1] != values[-1] else values[-1]
    status = "diverged" if last is None else "done" if epochs == EPOCHS else "stopped"
    return {"status": status, "metrics": {"val/error": last}, "seconds": 1.0}


def work_off(
    study: Study, workspace: Workspace, at_once: int, *, live: bool, most: int = 1000
) -> int:
    """Train tries, so many side by side, the last begun ending first; how many were trained."""
    stage, running, trained = stage_of(study, workspace), [], 0
    while True:
        while len(running) < at_once and trained < most and (trial := stage.take()):
            stage.launch(trial, 1)
            running.append(trial)
            trained += 1
        if not running:
            return trained
        trial = running.pop()
        epochs = EPOCHS
        for epoch in range(1, EPOCHS) if live else ():
            train(workspace, trial, epoch)
            stage.watch([trial])
            if (workspace.trial_folder(trial.id) / "stop").exists():
                epochs = min(epoch + 1, EPOCHS)
                break
        result = train(workspace, trial, epochs)
        write_json(workspace.trial_folder(trial.id) / "result.json", result)
        stage.ended(trial, result, "done")


def decided(study: Study, workspace: Workspace) -> dict[str, Any]:
    text = (workspace.study_folder(study.name) / "tuning.json").read_text()
    content: dict[str, Any] = json.loads(text)
    return content


@pytest.mark.filterwarnings("ignore:All-NaN")
@pytest.mark.parametrize(
    ("pruner", "sampler"), [("median", "tpe"), ("hyperband", "tpe"), ("none", "random")]
)
def test_workers_and_restarts_change_nothing(
    tmp_path: Path, workspace: Workspace, pruner: str, sampler: str
) -> None:
    study = tuned(tmp_path, pruner=pruner, sampler=sampler)
    assert work_off(study, workspace, 1, live=False) == 24
    expected = decided(study, workspace)
    states = [each["state"] for arm in expected.values() for each in arm["trials"]]
    assert ("pruned" in states) is (pruner != "none")
    assert len(states) == 24
    for at_once in (2, 9):
        other = Workspace(tmp_path / f"runs-{at_once}")
        other.create()
        assert work_off(study, other, at_once, live=True) == 24
        assert decided(study, other) == expected
    # Broken off after every third try, and what was asked forgotten now and then.
    other = Workspace(tmp_path / "broken")
    other.create()
    trained = []
    while len(trained) < 30 and (more := work_off(study, other, 2, live=True, most=3)):
        trained.append(more)
        if len(trained) % 3 == 0:
            (other.study_folder(study.name) / "tuning.json").unlink()
    assert trained == [3] * 8
    assert decided(study, other) == expected


def test_the_best_of_those_that_ended_is_chosen(tmp_path: Path, workspace: Workspace) -> None:
    study = tuned(tmp_path, pruner="hyperband")
    work_off(study, workspace, 3, live=True)
    for arm in decided(study, workspace).values():
        done = [each for each in arm["trials"] if each["state"] == "done"]
        best = arm["trials"][arm["chosen"]]
        assert best["value"] == min(each["value"] for each in done)
        assert best["settings"] == min((e["settings"] for e in done), key=lambda s: curve(s)[-1])
        assert arm["trials"][0]["settings"] == {RATE: 0.3}


def test_optuna_holds_every_try_once(tmp_path: Path, workspace: Workspace) -> None:
    # Two choices for five tries: some are the same, and are trained once.
    study = tuned(tmp_path, trials=5, space={RATE: [0.1, 0.2]}, pruner="none")
    trained = work_off(study, workspace, 4, live=False)
    assert trained == 4
    for _ in range(2):
        assert work_off(study, workspace, 4, live=False) == 0
    backend = optuna.storages.journal.JournalFileBackend(str(workspace.journal))
    storage = optuna.storages.JournalStorage(backend)
    for arm in ("full", "no-dropout"):
        kept = optuna.load_study(study_name=f"toy: tuning of {arm}", storage=storage).trials
        assert sorted(trial.user_attrs["number"] for trial in kept) == [0, 1, 2, 3, 4]
        assert {trial.state.name for trial in kept} == {"COMPLETE"}


def test_more_tries_go_on_where_the_first_ended(tmp_path: Path, workspace: Workspace) -> None:
    study = tuned(tmp_path, trials=6)
    assert work_off(study, workspace, 2, live=True) == 12
    before = decided(study, workspace)
    study = tuned(tmp_path, trials=8)
    assert work_off(study, workspace, 2, live=True) == 4
    for arm, stage in decided(study, workspace).items():
        assert stage["trials"][:6] == before[arm]["trials"]
    # A changed arm is tuned anew, the other is not.
    file = tmp_path / "toy.yaml"
    file.write_text(file.read_text().replace("dropout: 0.0", "dropout: 0.125"))
    assert work_off(load_study(file), workspace, 2, live=True) == 8
