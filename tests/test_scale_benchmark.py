"""The benchmark of scale runs a sweep of trials that end at once."""

from pathlib import Path

from ablations.study import trials
from ablations.workspace import Workspace
from benchmarks.scale import ARMS, finished, sweep


def test_a_sweep_of_trials_that_end_at_once(tmp_path: Path) -> None:
    pulse = sweep(tmp_path, 2 * len(ARMS))
    # One for each trial, and two once all have ended.
    assert len(pulse) == 2 * len(ARMS) + 2
    assert pulse == sorted(pulse, key=lambda beat: beat[0])


def test_a_workspace_of_finished_trials(tmp_path: Path) -> None:
    study = finished(tmp_path, 3 * len(ARMS))
    states = Workspace(tmp_path / "runs").states(trial.id for trial in trials(study))
    assert list(states.values()) == 3 * len(ARMS) * ["done"]
