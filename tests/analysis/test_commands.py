"""Every command: what it writes, and what it says where something is missing."""

import importlib
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest

from analysis.command import run
from tests.analysis.workspaces import write_nets

ROOT = Path(__file__).parents[2]
NAMES = [
    "error_deltas",
    "results_tables",
    "convergence",
    "filters",
    "predictions",
    "retrieval",
    "depth",
]
TABLES, FIGURES = {"md", "tex", "html", "csv"}, {"png", "svg"}
WRITES = {
    "error_deltas": TABLES,
    "results_tables": TABLES,
    "predictions": FIGURES,
} | dict.fromkeys(("convergence", "filters", "retrieval", "depth"), TABLES | FIGURES)


def call(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    command = getattr(importlib.import_module(f"analysis.{name}"), name)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    try:
        run(command)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A workspace that every command finds something in."""
    arms = {
        "full": {},
        "tanh": {"model.init_args.activation": "tanh"},
        "no-conv3": {"model.init_args.without": ["conv3"]},
    }
    values = {
        "full": [30.0, 31.0, 32.0],
        "tanh": [40.0, 41.0, 43.0],
        "no-conv3": [33.0, 34.0, 36.0],
    }
    write_nets(
        tmp_path, arms, values, seeds=3, keep_weights=True, claims={"no-conv3": "alexnet#depth"}
    )
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_command_writes_what_it_says_in_one_line(
    name: str, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = whole / "reports"
    code = call(
        name, "--workspace", str(whole / "runs"), "--out", str(out), monkeypatch=monkeypatch
    )
    told = capsys.readouterr()
    assert code == 0, told.err
    written = sorted(path.name for path in out.iterdir())
    assert {path.rpartition(".")[2] for path in written} == WRITES[name]
    assert len(told.out.splitlines()) == 1
    assert all(path in told.out for path in written)
    for picture in out.glob("*.png"):
        assert matplotlib.image.imread(picture).std() > 0.05
    for page in out.glob("*.html"):
        assert "<table" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_is_refused_with_what_to_run_first(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, out = tmp_path / "runs", tmp_path / "reports"
    assert call(name, "-w", str(runs), "--out", str(out), monkeypatch=monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "ablate run" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("filters", "kept weights; write `keep_weights: true` into it"),
        ("retrieval", "kept weights; write `keep_weights: true` into it"),
        ("convergence", "compared activations; run one first, for example `ablate run relu`"),
        ("depth", "removed layers; run one first, for example `ablate run depth`"),
    ],
)
def test_a_study_without_what_is_needed_is_refused(
    name: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arms = {"full": {}, "off": {"model.init_args.lrn": False}}
    write_nets(tmp_path, arms, {"full": [1.0], "off": [2.0]}, seeds=1)
    runs, out = str(tmp_path / "runs"), tmp_path / "reports"
    assert call(name, "-w", runs, "--out", str(out), monkeypatch=monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not out.exists()


def test_one_of_several_studies_is_chosen_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = {"full": {}, "no-conv3": {"model.init_args.without": ["conv3"]}}
    values = {"full": [1.0, 2.0], "no-conv3": [2.0, 3.5]}
    _, workspace = write_nets(tmp_path, arms, values, seeds=2)
    studies = workspace.root / "studies"
    (studies / "known").rename(studies / "one")
    write_nets(tmp_path, arms, values, seeds=2)
    place = ("-w", str(workspace.root), "--out", str(tmp_path / "reports"))
    assert call("depth", *place, monkeypatch=monkeypatch) == 2
    assert "choose one with --study (known, one)" in capsys.readouterr().err
    assert call("depth", *place, "--study", "one", monkeypatch=monkeypatch) == 0
    assert call("depth", *place, "--study", "two", monkeypatch=monkeypatch) == 2


def test_run_as_the_readme_says(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "analysis.depth", "--workspace", str(tmp_path / "none")]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert len(found.stderr.splitlines()) == 1
