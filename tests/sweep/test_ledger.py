"""Optuna's record can always be brought up to the trial folders, whatever broke off when."""

import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from ablations.study import InputError, Study, Trial, load_study, trials
from ablations.sweep.ledger import Ledger, mend_journal, open_storage
from ablations.workspace import Workspace
from tests.toy import write_project


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "runs")
    made.create()
    return made


def result(value: float | None = 1.0, finished: str = "noon", **more: Any) -> dict[str, Any]:
    metrics = {"test/error": value, "val/loss": 0.5}
    return {"status": "done", "metrics": metrics, "finished": finished, **more}


Told = list[tuple[str, int, str, float | None]]


def told(workspace: Workspace, study: Study, storage: str | None = None) -> Told:
    """Arm, seed, state and value of all that is recorded, as Optuna itself reads it."""
    place = storage or optuna.storages.journal.JournalFileBackend(str(workspace.journal))
    if not isinstance(place, str):
        place = optuna.storages.JournalStorage(place)  # type: ignore[assignment]
    name = f"{study.name}-{workspace.id}" if storage else study.name
    loaded = optuna.load_study(study_name=name, storage=place)
    return [
        (t.user_attrs["arm"], t.user_attrs["seed"], t.state.name, t.value) for t in loaded.trials
    ]


def first(study: Study) -> Trial:
    return trials(study)[0]


def test_launch_and_finish(toy: Study, workspace: Workspace) -> None:
    ledger = Ledger(toy, workspace)
    plan = trials(toy)
    outcomes: list[Mapping[str, Any] | None] = [
        result(12.5),
        None,
        result(None, status="diverged"),
        result(None),
    ]
    for trial, _ in zip(plan, outcomes, strict=False):
        ledger.launch(trial, toy.arm(trial.arm).overrides)
    for trial, outcome in zip(plan, outcomes, strict=False):
        ledger.finish(trial, outcome)
    assert told(workspace, toy) == [
        ("full", 0, "COMPLETE", 12.5),
        ("no-dropout", 0, "FAIL", None),
        ("no-bias", 0, "FAIL", None),
        ("full", 1, "FAIL", None),
    ]
    loaded = ledger._optuna
    assert loaded.direction.name == "MINIMIZE"
    attributes = loaded.trials[1].user_attrs
    assert attributes["overrides"] == {"model": {"init_args": {"dropout": 0.0}}}
    assert attributes["metric"] == "test/error"
    # what was recorded while it ran is not recorded again by a replay
    results = {t.id: o for t, o in zip(plan, outcomes, strict=False) if o is not None}
    before = told(workspace, toy)
    Ledger(toy, workspace).replay(plan, results)
    assert told(workspace, toy) == before


def test_a_replay_twice_is_a_replay_once(toy: Study, workspace: Workspace) -> None:
    plan = trials(toy)
    results = {trial.id: result(float(n)) for n, trial in enumerate(plan[:5])}
    results[plan[5].id] = result(None, status="diverged")
    ledger = Ledger(toy, workspace)
    for _ in range(2):
        ledger.replay(plan, results)
    Ledger(toy, workspace).replay(plan, results)
    recorded = told(workspace, toy)
    assert [(arm, seed) for arm, seed, *_ in recorded] == [(t.arm, t.seed) for t in plan[:6]]
    assert [value for *_, value in recorded] == [0, 1, 2, 3, 4, None]
    assert recorded[5][2] == "FAIL"


def test_what_a_crash_left_running_is_told(toy: Study, workspace: Workspace) -> None:
    crashed = Ledger(toy, workspace)
    plan = trials(toy)
    for trial in plan[:3]:
        crashed.launch(trial, {})
    crashed._optuna.enqueue_trial({}, user_attrs=crashed._attributes(plan[3]))
    assert [state for _, _, state, _ in told(workspace, toy)] == ["RUNNING"] * 3 + ["WAITING"]
    # the second had ended by itself: its worker wrote the result before the parent was gone
    results = {plan[1].id: result(3.0)}
    for _ in range(2):
        Ledger(toy, workspace).replay(plan, results)
    assert told(workspace, toy) == [
        ("full", 0, "FAIL", None),
        ("no-dropout", 0, "COMPLETE", 3.0),
        ("no-bias", 0, "FAIL", None),
        ("full", 1, "FAIL", None),
    ]
    again = Ledger(toy, workspace)
    again.launch(plan[0], {})
    again.finish(plan[0], result(4.0))
    assert told(workspace, toy)[-1] == ("full", 0, "COMPLETE", 4.0)


def test_a_failed_trial_that_was_trained_elsewhere(toy: Study, workspace: Workspace) -> None:
    ledger = Ledger(toy, workspace)
    ledger.launch(first(toy), {})
    ledger.finish(first(toy), None)
    ledger.replay(trials(toy), {first(toy).id: result(2.0)})
    assert told(workspace, toy) == [("full", 0, "FAIL", None), ("full", 0, "COMPLETE", 2.0)]


def test_a_trial_that_is_trained_again(toy: Study, workspace: Workspace) -> None:
    ledger = Ledger(toy, workspace)
    for finished, value in (("noon", 1.0), ("night", 2.0)):
        ledger.launch(first(toy), {})
        ledger.finish(first(toy), result(value, finished))
        Ledger(toy, workspace).replay(trials(toy), {first(toy).id: result(value, finished)})
    assert [value for *_, value in told(workspace, toy)] == [1.0, 2.0]


@pytest.mark.parametrize("torn", ["{", '{"op_code": 4, "worker_id"', "\x00" * 40])
def test_a_torn_last_line(toy: Study, workspace: Workspace, torn: str) -> None:
    ledger = Ledger(toy, workspace)
    ledger.launch(first(toy), {})
    whole = workspace.journal.read_bytes()
    with workspace.journal.open("a") as file:
        file.write(torn)
    mend_journal(workspace.journal)
    assert workspace.journal.read_bytes() == whole
    with workspace.journal.open("a") as file:
        file.write(torn)
    ledger = Ledger(toy, workspace)
    ledger.replay(trials(toy), {first(toy).id: result()})
    assert told(workspace, toy) == [("full", 0, "COMPLETE", 1.0)]


def test_a_journal_without_one_whole_line(toy: Study, workspace: Workspace) -> None:
    workspace.journal.write_text('{"op')
    Ledger(toy, workspace)
    assert told(workspace, toy) == []


def test_a_lock_that_a_crash_left(toy: Study, workspace: Workspace) -> None:
    Ledger(toy, workspace)
    (workspace.root / "optuna.journal.lock").symlink_to(workspace.journal)
    # Optuna alone would wait for half a minute
    mend_journal(workspace.journal)
    assert not (workspace.root / "optuna.journal.lock").is_symlink()


def test_a_journal_that_cannot_be_read(toy: Study, workspace: Workspace) -> None:
    Ledger(toy, workspace)
    workspace.journal.write_text("nonsense\n" + workspace.journal.read_text())
    with pytest.raises(InputError, match=r"optuna\.journal: cannot be read"):
        Ledger(toy, workspace)


def test_several_studies_and_metrics(toy: Study, workspace: Workspace, tmp_path: Path) -> None:
    arms = {"full": {}, "val": {"metric": "val/loss"}}
    other = load_study(write_project(tmp_path / "other", arms=arms, metric="test/acc"))
    other = replace(other, name="other")
    results = {first(toy).id: result(7.0)}
    Ledger(toy, workspace).replay(trials(toy), results)
    second = Ledger(other, workspace)
    second.replay([trial for trial in trials(other) if trial.arm == "val"], results)
    assert second._optuna.direction.name == "MAXIMIZE"
    assert told(workspace, toy) == [("full", 0, "COMPLETE", 7.0)]
    assert told(workspace, other) == [("val", 0, "COMPLETE", 0.5)]


def test_a_database(toy: Study, workspace: Workspace, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    for _ in range(2):
        Ledger(toy, workspace, url).replay(trials(toy), {first(toy).id: result()})
    assert told(workspace, toy, url) == [("full", 0, "COMPLETE", 1.0)]
    assert not workspace.journal.exists()
    with pytest.raises(InputError) as caught:
        Ledger(toy, workspace, f"sqlite:///{tmp_path}/nowhere/optuna.db")
    assert str(caught.value.file) == "--storage"


def test_a_database_that_goes_away(toy: Study, workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "optuna.db"
    ledger = Ledger(toy, workspace, f"sqlite:///{file}")
    ledger.launch(first(toy), {})
    with sqlite3.connect(file) as database:
        database.execute("alter table trials rename to gone")
    for step in (
        lambda: ledger.launch(trials(toy)[1], {}),
        lambda: ledger.finish(first(toy), None),
    ):
        with pytest.raises(InputError, match=r"has gone away \(run the same command again"):
            step()
    with sqlite3.connect(file) as database:
        database.execute("alter table gone rename to trials")
    Ledger(toy, workspace, f"sqlite:///{file}").replay(trials(toy), {first(toy).id: result()})
    assert told(workspace, toy, f"sqlite:///{file}") == [("full", 0, "COMPLETE", 1.0)]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:secret@127.0.0.1:9/optuna",
        "postgresql+psycopg2://me:secret@127.0.0.1:9/optuna",
    ],
)
def test_a_server_without_an_answer_or_without_a_driver(workspace: Workspace, url: str) -> None:
    with pytest.raises(InputError) as caught:
        open_storage(workspace, url)
    told = str(caught.value)
    assert "secret" not in told
    assert told.startswith("--storage: postgresql+psycopg")
    if "psycopg2" in url:
        assert "psycopg2 is not installed: pip install 'ablations[postgres]'" in told
    else:
        assert "cannot be opened: " in told


def test_overrides_that_json_does_not_hold(toy: Study, workspace: Workspace) -> None:
    import datetime

    ledger = Ledger(toy, workspace)
    ledger.launch(first(toy), {"a": datetime.date(2020, 1, 2), "b": float("inf")})
    ledger.finish(first(toy), None)
    assert told(workspace, toy) == [("full", 0, "FAIL", None)]
