"""Trial folders are mirrored into MLflow again and again, and nothing is ever there twice."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from ablations.study import InputError, Study, Trial, trials
from ablations.sweep.tracking import Tracker, check_uri
from ablations.workspace import State, Workspace, write_json

ARMS = {
    "full": {"changes": {}},
    "no-dropout": {"changes": {"model.init_args.dropout": [0.25, 0.0]}},
    "no-bias": {"changes": {"model.init_args.bias": [True, False]}},
}


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store with its tables, which take seconds to make."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def workspace(tmp_path: Path, empty_store: Path) -> Workspace:
    made = Workspace(tmp_path / "runs")
    made.create()
    shutil.copy(empty_store, made.root / "mlflow.db")
    return made


def leave(
    workspace: Workspace, trial: Trial, epochs: list[int], state: State = "done", **result: Any
) -> None:
    """What a trial leaves in its folder after these epochs."""
    folder = workspace.trial_folder(trial.id)
    write_json(folder / "attempt.json", {"started": 1000.0})
    rows = ["epoch,step,name,value,time"]
    for number, epoch in enumerate(epochs):
        rows += [
            f"{epoch},{epoch},{name},{number / 10},{1000 + number}"
            for name in ("train/loss", "val/error")
        ]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    if state in ("done", "diverged"):
        finished = {"finished": "2024-05-06T07:08:09+00:00", "seconds": 2.5, "commit": "abc"}
        content = {"status": state, "metrics": {}, "dirty": False} | finished | result
        write_json(folder / "result.json", content)


Start = Callable[[], Tracker]


@pytest.fixture
def start(toy: Study, workspace: Workspace) -> Iterator[Start]:
    """Trackers, as one parent after another would make them."""
    made: list[Tracker] = []

    def new() -> Tracker:
        made.append(Tracker(toy, workspace, ARMS))
        return made[-1]

    yield new
    for tracker in made:
        tracker._thread.shutdown()


def mirror(tracker: Tracker, states: Mapping[Trial, State], close: str | None = "FINISHED") -> None:
    for trial, state in states.items():
        tracker.sync([trial], {trial.id: state})
    tracker._thread.submit(int).result()
    if close:
        tracker.close(close)


def runs(workspace: Workspace, kind: str | None = None) -> dict[str, Any]:
    """All runs of the store by name, as the UI would show them."""
    client = MlflowClient(workspace.tracking_uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(experiments, max_results=1000)
    names = [run.info.run_name for run in found]
    assert len(names) == len(set(names))
    return {
        run.info.run_name: run
        for run in found
        if kind is None or run.data.tags["ablations.kind"] == kind
    }


def history(workspace: Workspace, run: Any, name: str = "train/loss") -> list[tuple[int, float]]:
    client = MlflowClient(workspace.tracking_uri)
    rows = client.get_metric_history(run.info.run_id, name)
    return sorted((row.step, row.value) for row in rows)


def running(workspace: Workspace) -> list[str]:
    return [name for name, run in runs(workspace).items() if run.info.status == "RUNNING"]


def test_what_is_mirrored(toy: Study, workspace: Workspace, start: Start) -> None:
    plan = trials(toy)
    states: list[State] = ["done", "failed", "diverged", "interrupted"]
    for trial, state in zip(plan, states, strict=False):
        leave(workspace, trial, [0, 1, 2], state)
    (workspace.trial_folder(plan[1].id) / "failure.json").write_text("{}")
    tracker = start()
    mirror(tracker, dict(zip(plan, states, strict=False)))
    assert tracker.trouble is None

    (parent,) = runs(workspace, "study").values()
    arms = runs(workspace, "arm")
    assert set(arms) == {"full", "no-dropout", "no-bias"}
    assert tracker.ids is not None
    assert tracker.ids[1] == {name: run.info.run_id for name, run in arms.items()}
    assert arms["no-bias"].data.params == {
        "arm": "no-bias",
        "model.bias": "False",
        "model.dropout": "0.25",
    }
    assert {run.data.tags["ablations.parent"] for run in arms.values()} == {parent.info.run_id}

    mirrored = runs(workspace, "trial")
    assert {name: run.info.status for name, run in mirrored.items()} == {
        "full · seed 0": "FINISHED",
        "no-dropout · seed 0": "FAILED",
        "no-bias · seed 0": "FINISHED",
        "full · seed 1": "KILLED",
    }
    done, bare = mirrored["full · seed 0"], mirrored["no-bias · seed 0"]
    assert done.data.tags["mlflow.parentRunId"] == arms["full"].info.run_id
    assert done.data.tags["ablations.trial"] == plan[0].id
    assert done.data.tags["ablations.seed"] == "0"
    assert done.data.tags["ablations.state"] == "done"
    assert done.data.tags["mlflow.source.git.commit"] == "abc"
    assert done.data.tags["ablations.dirty"] == "false"
    assert bare.data.params["model.bias"] == "False"
    assert done.data.metrics["trial/seconds"] == 2.5
    assert history(workspace, done) == [(0, 0.0), (1, 0.1), (2, 0.2)]
    assert done.info.start_time == 1_000_000
    client = MlflowClient(workspace.tracking_uri)
    kept = {file.path for file in client.list_artifacts(done.info.run_id)}
    assert kept == {"metrics.csv", "result.json"}
    assert running(workspace) == []


def test_mirroring_again_changes_nothing(toy: Study, workspace: Workspace, start: Start) -> None:
    first, second = trials(toy)[:2]
    for trial in (first, second):
        leave(workspace, trial, [0, 1])
    tracker = start()
    mirror(tracker, {first: "done"}, close=None)
    mirror(tracker, {first: "done", second: "done"})
    before = {name: run.to_dictionary() for name, run in runs(workspace, "trial").items()}
    mirror(start(), {first: "done", second: "done"})
    assert {name: run.to_dictionary() for name, run in runs(workspace, "trial").items()} == before
    assert history(workspace, runs(workspace)["full · seed 0"]) == [(0, 0.0), (1, 0.1)]
    assert len(runs(workspace)) == 1 + 3 + 2


def test_a_trial_is_mirrored_while_it_runs(toy: Study, workspace: Workspace, start: Start) -> None:
    trial = trials(toy)[0]
    tracker = start()
    leave(workspace, trial, [0], "running")
    mirror(tracker, {trial: "running"}, close=None)
    assert history(workspace, runs(workspace)["full · seed 0"]) == [(0, 0.0)]
    leave(workspace, trial, [0, 1], "running")
    torn = workspace.trial_folder(trial.id) / "metrics.csv"
    torn.write_text(torn.read_text() + "2,2,train/lo")
    mirror(tracker, {trial: "running"}, close=None)
    assert history(workspace, runs(workspace)["full · seed 0"]) == [(0, 0.0), (1, 0.1)]
    assert "full · seed 0" in running(workspace)
    leave(workspace, trial, [0, 1, 2])
    mirror(tracker, {trial: "done"})
    assert history(workspace, runs(workspace)["full · seed 0"]) == [(0, 0.0), (1, 0.1), (2, 0.2)]
    assert running(workspace) == []


def test_an_epoch_repeated_after_a_resume(toy: Study, workspace: Workspace, start: Start) -> None:
    seen, unseen = trials(toy)[:2]
    tracker = start()
    leave(workspace, seen, [0, 1], "running")
    mirror(tracker, {seen: "running"}, close=None)
    leave(workspace, seen, [0, 1, 1, 2])
    leave(workspace, unseen, [0, 1, 1, 2])
    mirror(tracker, {seen: "done", unseen: "done"})
    for name in ("full · seed 0", "no-dropout · seed 0"):
        assert [step for step, _ in history(workspace, runs(workspace)[name])] == [0, 1, 2]


def test_of_a_repeated_epoch_the_last_row_counts(
    toy: Study, workspace: Workspace, start: Start
) -> None:
    trial = trials(toy)[0]
    leave(workspace, trial, [0, 1, 1, 2])
    mirror(start(), {trial: "done"})
    shown = history(workspace, runs(workspace)["full · seed 0"])
    assert shown == [(0, 0.0), (1, 0.2), (2, 0.3)]


def test_arms_that_share_a_trial(workspace: Workspace, start: Start, toy: Study) -> None:
    trial = trials(toy)[0]
    shared = replace(trial, arm="no-bias")
    leave(workspace, trial, [0])
    tracker = start()
    tracker.sync([trial, shared], {trial.id: "done"})
    tracker.close("FINISHED")
    assert set(runs(workspace, "trial")) == {"full · seed 0", "no-bias · seed 0"}


def test_a_trial_that_is_trained_again(toy: Study, workspace: Workspace, start: Start) -> None:
    trial = trials(toy)[0]
    leave(workspace, trial, [0, 1, 2])
    mirror(start(), {trial: "done"})
    leave(workspace, trial, [0], finished="2025-01-01T00:00:00+00:00")
    mirror(start(), {trial: "done"})
    (run,) = runs(workspace, "trial").values()
    assert history(workspace, run) == [(0, 0.0)]


def test_after_a_crash(toy: Study, workspace: Workspace, start: Start) -> None:
    broken, other = trials(toy)[:2]
    leave(workspace, broken, [0], "running")
    leave(workspace, other, [0, 1])
    mirror(start(), {broken: "running", other: "done"}, close=None)
    assert len(running(workspace)) == 5
    mirror(start(), {broken: "interrupted", other: "done"}, close=None)
    leave(workspace, broken, [0, 1])
    mirror(start(), {broken: "done", other: "done"})
    assert running(workspace) == []
    for run in runs(workspace, "trial").values():
        assert history(workspace, run) == [(0, 0.0), (1, 0.1)]


def test_a_crash_and_then_another_plan(toy: Study, workspace: Workspace, start: Start) -> None:
    abandoned, kept = trials(toy)[:2]
    for trial in (abandoned, kept):
        leave(workspace, trial, [0], "running")
    mirror(start(), {abandoned: "running", kept: "running"}, close=None)
    leave(workspace, kept, [0])
    mirror(start(), {kept: "done"})
    assert running(workspace) == []


def test_a_lost_memory(toy: Study, workspace: Workspace, start: Start) -> None:
    states: dict[Trial, State] = dict.fromkeys(trials(toy)[:2], "done")
    for trial in states:
        leave(workspace, trial, [0, 1])
    mirror(start(), states)
    before = {name: run.info.run_id for name, run in runs(workspace).items()}
    (workspace.study_folder("toy") / "tracking.json").unlink()
    mirror(start(), states)
    assert {name: run.info.run_id for name, run in runs(workspace).items()} == before
    for run in runs(workspace, "trial").values():
        assert history(workspace, run) == [(0, 0.0), (1, 0.1)]
        assert len(history(workspace, run, "trial/seconds")) == 1
    assert running(workspace) == []


def test_a_server_that_goes_away_and_comes_back(
    toy: Study, workspace: Workspace, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError("the server is away\nand more")

    plan = trials(toy)[:3]
    for trial in plan:
        leave(workspace, trial, [0, 1])
    tracker = start()
    with monkeypatch.context() as lost:
        lost.setattr(MlflowClient, "__init__", away)
        mirror(tracker, {plan[0]: "done"}, close=None)
        assert tracker.trouble == "ConnectionError: the server is away"
    mirror(tracker, {plan[1]: "done"}, close=None)
    assert tracker.trouble is None
    with monkeypatch.context() as lost:
        lost.setattr(MlflowClient, "log_batch", away)
        mirror(tracker, {plan[2]: "done"}, close=None)
        assert tracker.trouble is not None
    tracker.close("FINISHED")
    assert tracker.trouble is None
    mirrored = runs(workspace, "trial")
    assert len(mirrored) == 3
    assert all(history(workspace, run) == [(0, 0.0), (1, 0.1)] for run in mirrored.values())
    assert running(workspace) == []


@pytest.mark.parametrize("lost", ["create_run", "log_batch", "set_terminated"])
def test_an_answer_that_is_lost(
    toy: Study, workspace: Workspace, start: Start, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """The server does what it is asked, but nobody hears of it: nothing is there twice."""
    trial = trials(toy)[0]
    leave(workspace, trial, [0, 1], "running")
    tracker = start()
    if lost != "create_run":
        mirror(tracker, {trial: "running"}, close=None)
        leave(workspace, trial, [0, 1, 1, 2])
    else:
        mirror(tracker, {}, close=None)
    real = getattr(MlflowClient, lost)

    def deaf(*arguments: Any, **named: Any) -> None:
        real(*arguments, **named)
        raise ConnectionError("no answer")

    state: State = "running" if lost == "create_run" else "done"
    with monkeypatch.context() as cut:
        cut.setattr(MlflowClient, lost, deaf)
        mirror(tracker, {trial: state}, close=None)
        assert tracker.trouble == "ConnectionError: no answer"
    leave(workspace, trial, [0, 1, 1, 2])
    mirror(tracker, {trial: "done"})
    assert tracker.trouble is None
    (run,) = runs(workspace, "trial").values()
    assert [step for step, _ in history(workspace, run)] == [0, 1, 2]
    assert running(workspace) == []


def test_runs_that_a_crash_left_twice(toy: Study, workspace: Workspace, start: Start) -> None:
    trial = trials(toy)[0]
    leave(workspace, trial, [0, 1])
    mirror(start(), {trial: "done"}, close=None)
    client = MlflowClient(workspace.tracking_uri)
    for name in ("toy", "no-bias", "full · seed 0"):
        run = runs(workspace)[name]
        tags = {**run.data.tags, "mlflow.runName": f"the twin of {name}"}
        client.create_run(run.info.experiment_id, tags=tags)
    mirror(start(), {trial: "done"})
    assert len(runs(workspace)) == 1 + 3 + 1
    assert running(workspace) == []


def test_a_run_that_somebody_deleted(toy: Study, workspace: Workspace, start: Start) -> None:
    trial = trials(toy)[0]
    leave(workspace, trial, [0, 1])
    mirror(start(), {trial: "done"}, close=None)
    client = MlflowClient(workspace.tracking_uri)
    for run in runs(workspace).values():
        client.delete_run(run.info.run_id)
    tracker = start()
    mirror(tracker, {trial: "done"})
    assert tracker.trouble is None
    assert len(runs(workspace)) == 1 + 3 + 1


def test_two_workspaces_on_one_server(
    toy: Study, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same study in both: each has its own runs, whatever crashes, in one experiment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", workspace.tracking_uri)
    other = Workspace(tmp_path / "other")
    other.create()
    trial = trials(toy)[0]
    for place in (workspace, other):
        leave(place, trial, [0, 1], "running")
    first, second = Tracker(toy, workspace, ARMS), Tracker(toy, other, ARMS)
    mirror(first, {trial: "running"}, close=None)
    mirror(second, {trial: "running"}, close=None)
    leave(other, trial, [0, 1])
    mirror(Tracker(toy, other, ARMS), {trial: "done"})
    client = MlflowClient(workspace.tracking_uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "toy"]
    found = client.search_runs([experiment.experiment_id])
    for place, status in ((workspace, "RUNNING"), (other, "FINISHED")):
        mine = [run for run in found if run.data.tags["ablations.workspace"] == place.id]
        assert [run.info.status for run in mine] == 5 * [status]
    first.close("FINISHED")


def test_a_server_that_never_comes_back(
    toy: Study, workspace: Workspace, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError

    trial = trials(toy)[0]
    leave(workspace, trial, [0, 1])
    with monkeypatch.context() as lost:
        lost.setattr(MlflowClient, "__init__", away)
        tracker = start()
        mirror(tracker, {trial: "done"})
        assert tracker.trouble is not None
        assert tracker.ids is None
    mirror(start(), {trial: "done"})
    assert history(workspace, runs(workspace)["full · seed 0"]) == [(0, 0.0), (1, 0.1)]
    assert running(workspace) == []


def test_the_answer(toy: Study, workspace: Workspace, start: Start, tmp_path: Path) -> None:
    tracker = start()
    numbers = {"seeds/paired": 3, "delta/mean": 1.5, "delta/low": None, "delta/p": float("nan")}
    (tmp_path / "table.md").write_text("a table")
    summary = {"arm": "no-bias", "verdict": "worse", "sentence": "It matters.", "colour": "#123456"}
    artifacts = [tmp_path / "table.md"]
    tracker.conclude([summary | {"numbers": numbers}], "It does.", "**It does.**", artifacts)
    tracker.close("FINISHED")
    assert tracker.trouble is None
    arm = runs(workspace)["no-bias"]
    assert arm.data.metrics == {"seeds/paired": 3.0, "delta/mean": 1.5}
    assert arm.data.tags["ablations.verdict"] == "worse"
    assert arm.data.tags["mlflow.note.content"] == "It matters."
    assert arm.data.tags["mlflow.runColor"] == "#123456"
    (parent,) = runs(workspace, "study").values()
    assert parent.data.tags["mlflow.note.content"] == "**It does.**"
    client = MlflowClient(workspace.tracking_uri)
    experiment = client.get_experiment_by_name("toy")
    assert experiment.tags["mlflow.note.content"] == f"{toy.question} It does."
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["table.md"]
    assert (workspace.artifacts / "toy" / parent.info.run_id / "artifacts" / "table.md").exists()


def test_a_workspace_that_was_moved(
    toy: Study, workspace: Workspace, start: Start, tmp_path: Path
) -> None:
    trial = trials(toy)[0]
    leave(workspace, trial, [0])
    mirror(start(), {trial: "done"})
    moved = Workspace(workspace.root.rename(tmp_path / "elsewhere"))
    tracker = Tracker(toy, moved, ARMS)
    mirror(tracker, {trial: "done"})
    assert tracker.trouble is None
    assert len(runs(moved)) == 5
    assert json.loads((moved.study_folder("toy") / "tracking.json").read_text())["closed"] is True


def test_names_that_mlflow_refuses(toy: Study, workspace: Workspace, start: Start) -> None:
    trial = trials(toy)[0]
    leave(workspace, trial, [0])
    file = workspace.trial_folder(trial.id) / "metrics.csv"
    file.write_text(file.read_text() + "0,1,acc@1 (π),0.5,1000\n0,1,val/inf,inf,1000\n")
    tracker = start()
    mirror(tracker, {trial: "done"})
    assert tracker.trouble is None
    (run,) = runs(workspace, "trial").values()
    assert run.data.metrics["acc_1 _π_"] == 0.5


def test_a_server_is_asked_before_anything_is_trained(workspace: Workspace) -> None:
    check_uri(workspace.tracking_uri)
    with pytest.raises(InputError, match="the tracking server does not answer"):
        check_uri("http://127.0.0.1:9")


def test_a_store_is_made_whole_or_not_at_all(toy: Study, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "runs")
    workspace.create()
    (workspace.root / "mlflow.db.new").write_bytes(b"half of a store that a kill left")
    tracker = Tracker(toy, workspace, ARMS)
    tracker.close("FINISHED")
    assert tracker.trouble is None
    assert {file.name for file in workspace.root.glob("mlflow.db*")} == {"mlflow.db"}
    assert MlflowClient(workspace.tracking_uri).get_experiment_by_name(toy.name) is not None
