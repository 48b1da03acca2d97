"""The main road in one process: a study goes in, a table comes out, and again."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.conftest import Ablate
from tests.toy import write_project, write_yaml

RUN = ("run", "toy.yaml", "--no-report")


def trained(folder: Path) -> dict[str, int]:
    """When each trial ended."""
    results = folder.glob("runs/trials/*/result.json")
    return {file.parent.name: file.stat().st_mtime_ns for file in results}


def rows(ablate: Ablate, study: str = "toy.yaml") -> dict[str, dict[str, object]]:
    told = ablate("table", study, "--format", "json")
    return {row["arm"]: row for row in json.loads(told.out)["arms"]}


def test_a_study_from_file_to_table(ablate: Ablate, tmp_path: Path) -> None:
    write_project(tmp_path)
    planned = json.loads(ablate("plan", "toy.yaml", "--format", "json").out)
    assert [(a["arm"], a["trials"], a["done"]) for a in planned["arms"]] == [
        ("full", 3, 0),
        ("no-dropout", 3, 0),
        ("no-bias", 3, 0),
    ]
    assert planned["arms"][2]["changes"] == {"model.init_args.bias": [True, False]}
    assert [a["parameters"] for a in planned["arms"]] == [82, 82, 64]
    assert not (tmp_path / "runs").exists()

    told = ablate(*RUN)
    assert (told.code, told.errors) == (0, [])
    assert "9/9" in told.out
    for name in ("no-dropout", "no-bias"):
        assert rows(ablate)[name]["n"] == 3
    states = json.loads(ablate("status", "toy.yaml", "--format", "json").out)
    assert states["study"] == "toy"
    assert [t["state"] for t in states["trials"]] == 9 * ["done"]
    before = trained(tmp_path)
    told = ablate(*RUN)
    assert "0 trials to run, 9 already done" in told.out
    assert trained(tmp_path) == before

    # More seeds train only themselves, and the table says that they came after a look.
    told = ablate(*RUN, "--seeds", "4")
    assert "3 trials to run" in told.out
    assert "exploratory" in told.out
    assert {k: v for k, v in trained(tmp_path).items() if k in before} == before
    # The study file still asks for three; a seed that was trained is never left out again.
    assert rows(ablate)["full"]["n"] == 4

    before = trained(tmp_path)
    told = ablate(*RUN, "--rerun", "no-bias")
    assert "4 trials to run" in told.out
    after = trained(tmp_path)
    assert sum(after[key] != before[key] for key in before) == 4
    assert len(list(tmp_path.glob("runs/trials/*/superseded-1.json"))) == 4
    with sqlite3.connect(tmp_path / "runs" / "mlflow.db") as database:
        query = "select lifecycle_stage, status, count(*) from runs group by 1, 2"
        counts = {row[:2]: row[2] for row in database.execute(query)}
    # One for the study, one an arm, one a trial; those of trials trained again are deleted.
    assert counts == {("active", "FINISHED"): 1 + 3 + 12, ("deleted", "FINISHED"): 4}


def test_equal_trials_serve_several_studies(ablate: Ablate, tmp_path: Path) -> None:
    write_project(tmp_path, seeds=2)
    ablate(*RUN)
    other = {
        "question": "Is half the dropout enough?",
        "base": "base.yaml",
        "metric": "test/error",
        "baseline": "quarter",
        "arms": {
            "quarter": {"model.init_args.dropout": 0.25},
            "eighth": {"model.init_args.dropout": 0.125},
            "eighth-loss": {"model.init_args.dropout": 0.125, "metric": "test/loss"},
        },
        "seeds": 2,
    }
    write_yaml(tmp_path / "other.yaml", other)
    told = ablate("run", "other.yaml", "--no-report")
    assert "2 trials to run, 2 already done" in told.out, told
    table = rows(ablate, "other.yaml")
    assert table["quarter"]["mean"] == rows(ablate)["full"]["mean"]
    assert table["eighth-loss"]["mean"] != table["eighth"]["mean"]


_FAILS = """\
from two_classes_pytorch_lightning import TwoClasses


class Fails(TwoClasses):
    def on_train_epoch_end(self):
        if self.current_epoch == 1:
            raise ValueError("too late")
"""


def test_a_study_of_others_trials_tells_what_its_arms_change(
    ablate: Ablate, tmp_path: Path
) -> None:
    study = write_project(tmp_path)
    ablate(*RUN)
    study.with_name("loss.yaml").write_text(study.read_text().replace("test/error", "test/loss"))
    told = ablate("run", "loss.yaml", "--no-report")
    assert (told.code, told.errors) == (0, []) and "0 trials to run" in told.out
    first, second = rows(ablate), rows(ablate, "loss.yaml")
    for row in (first, second):
        assert row["no-bias"]["changes"] == {"model.init_args.bias": [True, False]}
        assert row["full"]["changes"] == {}
    assert [row["parameters"] for row in second.values()] == [82, 82, 64]


def test_fail_fast(ablate: Ablate, tmp_path: Path) -> None:
    arms = {"full": {}, "fails": {"model.class_path": "fails_late.Fails"}}
    write_project(tmp_path, arms=arms, seeds=3)
    (tmp_path / "fails_late.py").write_text(_FAILS)
    told = ablate(*RUN, "--fail-fast")
    assert told.code == 1
    assert told.out.count("too late") == 1
    assert len(trained(tmp_path)) == 1
    # What failed, and what never started, is tried the next time.
    told = ablate(*RUN)
    assert (told.code, "5 trials to run" in told.out) == (1, True)
    assert len(trained(tmp_path)) == 3


def runs_by_status(folder: Path) -> dict[str, int]:
    with sqlite3.connect(folder / "runs" / "mlflow.db") as database:
        return dict(database.execute("select status, count(*) from runs group by 1"))


@pytest.mark.parametrize("again", ["", "while it stops", "while it closes", "once it is closed"])
def test_interrupted(
    ablate: Ablate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    from ablations.sweep.tracking import Tracker

    write_project(tmp_path)
    close, closed = Tracker.close, list[str]()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def interrupted_once(self: Tracker, status: str) -> None:
        closed.append(status)
        if len(closed) > 1 or again == "once it is closed":
            close(self, status)
        if len(closed) == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ablations.sweep.orders.rehearse_arms", interrupted)
        told = ablate(*RUN)
        assert told.code == 130 and "interrupted before anything was trained" in told.out
        assert not (tmp_path / "runs").exists()
    with monkeypatch.context() as patched:
        patched.setattr("ablations.sweep.scheduler.wait", interrupted)
        if again == "while it stops":
            patched.setattr("ablations.sweep.scheduler.Sweep._interrupt", interrupted)
        elif again:
            patched.setattr(Tracker, "close", interrupted_once)
        told = ablate(*RUN)
        assert told.code == 130
        assert "interrupted; run the same command again to go on" in told.out
        assert "RUNNING" not in runs_by_status(tmp_path)
    before = trained(tmp_path)
    told = ablate(*RUN)
    assert told.code == 0 and "1 already done" in told.out
    after = trained(tmp_path)
    assert len(after) == 9 and {key: after[key] for key in before} == before


@pytest.mark.parametrize("format", ["text", "markdown", "latex", "html", "csv", "json"])
def test_a_table_before_anything_was_run(ablate: Ablate, tmp_path: Path, format: str) -> None:
    write_project(tmp_path)
    told = ablate("table", "toy.yaml", "--format", format)
    assert (told.code, told.errors) == (0, [])
    assert "no-dropout" in told.out
    assert not (tmp_path / "runs").exists()


def test_list(ablate: Ablate, tmp_path: Path) -> None:
    write_project(tmp_path)
    told = ablate("list")
    assert "quickstart" in told.out
    assert "Do dropout and biases lower the test error?" in told.out
