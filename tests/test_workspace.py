"""The workspace's files: whole or absent, readable by whoever comes later, kept by one sweep."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablations.study import InputError, Study, load_study, trials
from ablations.workspace import State, Workspace, read_json, write_atomic, write_json
from tests.toy import write_project, write_yaml


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return load_study(write_project(tmp_path / "project"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs")


def test_files_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "deeper" / "file.txt"
    write_atomic(file, "one")
    write_atomic(file, b"two")
    assert file.read_text() == "two"

    def fails(*_: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="disk full"):
            write_atomic(file, "three")
    assert file.read_text() == "two"
    assert list(file.parent.iterdir()) == [file]


def test_json(tmp_path: Path) -> None:
    assert read_json(tmp_path / "nothing.json") is None
    write_json(tmp_path / "file.json", {"a": [1, None, "ü"]})
    assert read_json(tmp_path / "file.json") == {"a": [1, None, "ü"]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", {"a": float("nan")})
    assert read_json(tmp_path / "file.json") == {"a": [1, None, "ü"]}


def test_a_workspace_is_made_once(workspace: Workspace) -> None:
    workspace.check()
    assert not workspace.root.exists()
    workspace.create()
    made = {path.name for path in workspace.root.iterdir()}
    assert made == {"workspace.json", "studies", "trials"}
    workspace.check()
    workspace.create()
    assert read_json(workspace.root / "workspace.json") == {"format": 1, "id": workspace.id}
    assert len(workspace.id) == 12
    assert {path.name for path in workspace.root.iterdir()} == made


def test_an_empty_folder_may_become_one(workspace: Workspace) -> None:
    workspace.root.mkdir()
    workspace.check()


@pytest.mark.parametrize("content", ['{"format": 2}', "{}", "[]", "3"])
def test_other_formats_are_refused(workspace: Workspace, content: str) -> None:
    workspace.root.mkdir()
    (workspace.root / "workspace.json").write_text(content)
    with pytest.raises(InputError, match="this version reads 1") as caught:
        workspace.check()
    assert caught.value.file == workspace.root / "workspace.json"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in ("file", "file/runs"):
        with pytest.raises(InputError, match="is not a folder"):
            Workspace(tmp_path / place).check()
        with pytest.raises(InputError, match="the workspace is not writable"):
            Workspace(tmp_path / place).create()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(InputError, match="the workspace is not writable"):
        Workspace(tmp_path / "locked" / "runs").check()


_HOLDS = """\
import sys, time
from pathlib import Path
from ablations.workspace import Workspace

with Workspace(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    time.sleep(60)
"""


def test_one_sweep_at_a_time(workspace: Workspace) -> None:
    workspace.create()
    assert workspace.busy_since() is None
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    other = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(workspace.root)],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert other.stdout is not None and other.stdout.readline() == "locked\n"
    since = workspace.busy_since()
    assert since is not None and time.time() - 60 < since <= time.time()
    told = rf"runs: another sweep is running here \(process {other.pid} on "
    with pytest.raises(InputError, match=told), workspace.locked():
        pass
    assert (workspace.root / "owner.json").exists()
    # a sweep that was killed keeps nobody out
    other.kill()
    other.communicate()
    assert workspace.busy_since() is None
    with workspace.locked():
        assert workspace.busy_since() is not None
    assert workspace.busy_since() is None
    assert not (workspace.root / "owner.json").exists()


def test_states(workspace: Workspace, study: Study) -> None:
    workspace.create()
    now = time.time()

    def leave(trial: str, **files: Any) -> None:
        for name, content in files.items():
            write_json(workspace.trial_folder(trial) / f"{name}.json", content)

    before, since = {"started": now - 50}, {"started": now + 50}
    leave("done", attempt=before, result={"status": "done"})
    leave("done-though-it-failed-before", failure={}, result={"status": "done"})
    leave("diverged", attempt=before, result={"status": "diverged"})
    leave("failed", attempt=before, failure={})
    leave("broken-off", attempt=before)
    leave("under-way", attempt=since)
    leave("just-failed", attempt=since, failure={})
    expected: dict[str, State] = {
        "nothing": "waiting",
        "done": "done",
        "done-though-it-failed-before": "done",
        "diverged": "diverged",
        "failed": "failed",
        "broken-off": "interrupted",
        "under-way": "interrupted",
        "just-failed": "failed",
    }
    assert workspace.states(set(expected)) == expected
    with workspace.locked():
        assert workspace.states(set(expected)) == expected | {"under-way": "running"}
    assert workspace.states({"under-way"}) == {"under-way": "interrupted"}


def test_states_of_a_workspace_that_is_not_there(workspace: Workspace) -> None:
    assert workspace.states({"a"}) == {"a": "waiting"}
    assert workspace.arms("toy") == {}
    assert workspace.result("a") is None
    assert not workspace.root.exists()


def finish(workspace: Workspace, study: Study, arm: str, seed: int) -> None:
    (trial,) = (t for t in trials(study, (seed,)) if t.arm == arm)
    write_json(workspace.trial_folder(trial.id) / "result.json", {"status": "done"})


def test_seeds_that_once_finished_stay(workspace: Workspace, study: Study) -> None:
    workspace.create()
    more = replace(study, seeds=(0, 1, 2, 7, 5))
    workspace.record_study(more)
    finish(workspace, more, "no-bias", 7)
    assert workspace.with_recorded_seeds(study).seeds == (0, 1, 2, 7)
    finish(workspace, more, "full", 5)
    assert workspace.with_recorded_seeds(study).seeds == (0, 1, 2, 5, 7)
    # recorded with fewer seeds, the others are not forgotten
    workspace.record_study(replace(study, seeds=(0,)))
    assert workspace.with_recorded_seeds(replace(study, seeds=(0,))).seeds == (0, 5, 7)
    assert workspace.with_recorded_seeds(more).seeds == (0, 1, 2, 7, 5)


def test_a_recorded_study_is_read_without_its_home(tmp_path: Path, workspace: Workspace) -> None:
    arms = {"on": None, "off": {"model.init_args.bias": False}}
    file = write_project(
        tmp_path / "project",
        arms=arms,
        baseline="on",
        seeds=[4, 2],
        claims={"off": "paper#bias"},
        question="Größe?",
    )
    (file.parent / "claims").mkdir()
    write_yaml(file.parent / "claims" / "paper.yaml", {"bias": 1})
    study = load_study(file)
    workspace.create()
    workspace.record_study(study)
    file.parent.rename(tmp_path / "gone")
    copy = load_study(workspace.study_folder("toy") / "study.yaml")
    home = workspace.study_folder("toy")
    assert copy == replace(study, file=home / "study.yaml", base=home / "base.yaml")
    assert trials(copy) == trials(study)
    assert (home / "claims" / "paper.yaml").exists()


def test_the_stores_of_a_workspace(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.root.parent)
    relative = Workspace(Path("runs"))
    assert relative.tracking_uri == f"sqlite:///{workspace.root}/mlflow.db"
    assert relative.artifacts == workspace.root / "artifacts"
    assert json.dumps(str(relative.trial_folder("x"))) == '"runs/trials/x"'
