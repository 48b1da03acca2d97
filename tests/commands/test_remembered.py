import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from ablations.commands import remembered, tell
from ablations.commands.tell import render_tables, show_tables
from ablations.results import tables
from ablations.workspace import read_json, write_json
from tests.results.fabricate import fabricate, write_study


@pytest.fixture
def known(tmp_path, monkeypatch):
    study = write_study(tmp_path, ["full", "off"])
    values = {"full": [3.0, 3.1, 3.3, 3.2, 3.4, 3.5], "off": [4.9, 5.2, 5.1, 5.0, 5.3, 5.6]}
    workspace = fabricate(study, tmp_path / "runs", values)
    made = []
    make = tables.study_table

    def counted(*given):
        made.append(given)
        return make(*given)

    monkeypatch.setattr(tables, "study_table", counted)
    return study, workspace, made


def text(study, workspace, width=100, **console):
    out = StringIO()
    show_tables(study, workspace, Console(file=out, width=width, **console))
    return out.getvalue()


def test_the_same_table_is_made_once_for_each_form(known):
    study, workspace, made = known
    first = text(study, workspace)
    assert "off" in first
    assert text(study, workspace) == first
    assert len(made) == 1
    wider, csv = text(study, workspace, 140), render_tables(study, workspace, "csv")
    assert (text(study, workspace, 140), render_tables(study, workspace, "csv")) == (wider, csv)
    assert len(made) == 3


def test_a_trial_or_a_study_that_changed_makes_it_anew(known):
    study, workspace, made = known
    mean = json.loads(render_tables(study, workspace, "json"))["arms"][1]["mean"]
    trial = next(iter((workspace.root / "trials").iterdir()))
    result = read_json(trial / "result.json")
    result["metrics"]["test/top1_error"] += 3
    write_json(trial / "result.json", result)
    arms = json.loads(render_tables(study, workspace, "json"))["arms"]
    assert arms[1]["mean"] != mean or arms[0]["mean"] > 3.3
    with_margin = render_tables(replace(study, margin=2.0), workspace, "json")
    assert json.loads(with_margin)["margin"] == 2.0
    assert len(made) == 3


def test_a_terminal_without_colours_gets_a_table_of_its_own(known):
    study, workspace, made = known
    terminal = {"force_terminal": True, "color_system": "standard"}
    coloured = text(study, workspace, **terminal, no_color=False)
    plain = text(study, workspace, **terminal, no_color=True)
    assert "\x1b[3" in coloured and "\x1b[3" not in plain
    assert len(made) == 2


@pytest.mark.parametrize("name", ["arms.json", "looks.jsonl"])
@pytest.mark.parametrize("whose", ["known", "known-own-settings"])
def test_records_of_a_study_and_of_its_own_settings_make_it_anew(known, monkeypatch, name, whose):
    study, workspace, made = known
    both = [("", study), (", own settings", replace(study, name="known-own-settings"))]
    for module in (remembered, tell):
        monkeypatch.setattr(module, "variants", lambda study, workspace: both)
    first = render_tables(study, workspace, "markdown")
    assert render_tables(study, workspace, "markdown") == first and len(made) == 2
    folder = workspace.study_folder(whose)
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(file.read_text() + "\n" if file.exists() else "" if "look" in name else "{}")
    render_tables(study, workspace, "markdown")
    assert len(made) == 4


@pytest.mark.parametrize("damage", ["{", "[1]", "null", '{"sign": 1}', "texts", "form"])
def test_a_damaged_file_is_made_anew(known, damage):
    study, workspace, made = known
    first = text(study, workspace)
    file = workspace.study_folder(study.name) / "printed.json"
    whole = read_json(file)
    if damage == "texts":
        damage = json.dumps(whole | {"texts": ["a"]})
    if damage == "form":
        damage = json.dumps(whole | {"texts": dict.fromkeys(whole["texts"], 3)})
    file.write_text(damage)
    assert text(study, workspace) == first and len(made) == 2
    assert read_json(file) == whole


def test_nothing_is_remembered_while_a_sweep_runs(known):
    study, workspace, made = known
    with workspace.locked():
        assert text(study, workspace) == text(study, workspace)
    assert len(made) == 2
    assert not (workspace.study_folder(study.name) / "printed.json").exists()
