import csv
import io
import json
from html.parser import HTMLParser

import pytest

from ablations.results.formats import render
from ablations.results.tables import study_table
from tests.results.fabricate import METRIC, fabricate, write_study
from tests.results.test_tables import CLEAR, LONG, OPEN, PLAN, VALUES, make

TOP = ["schema", "study", "question", "metric", "mode", "baseline", "margin", "scale", "arms"]
ARM = ["arm", "changes", "n", "pairs", "n_pairs", "mean", "sd", "delta", "interval"]
ARM += ["interval_90", "margin", "p", "p_holm", "p_sign_flip", "p_equivalent"]
ARM += ["p_equivalent_holm", "verdict", "flags", "marks", "detectable", "further_seeds"]
ARM += ["seed_correlation", "failed", "diverged", "p_diverged", "planned_look"]
ARM += ["parameters", "flops", "seconds", "beside", "claim"]


@pytest.fixture
def table(tmp_path):
    return study_table(*make(tmp_path, margin=0.5, claims={"worse": "alexnet#lrn"}))


@pytest.fixture
def holed(tmp_path):
    values = {"full": [3.0, 3.1, 3.2], "one": [4.0, "diverged", "failed"], "none": []}
    return study_table(*make(tmp_path / "holed", values, seeds=3))


def test_json_has_the_schemas_keys_and_full_precision(table):
    found = json.loads(render(table, "json"))
    assert list(found) == [*TOP, "agreement"]
    assert all(list(arm) == ARM for arm in found["arms"])
    assert (found["schema"], found["mode"], found["baseline"]) == (1, "min", "full")
    base, worse, *_ = found["arms"]
    assert worse["delta"] == table.arms[0].delta.mean
    assert worse["interval"] == list(table.arms[0].delta.interval)
    assert worse["changes"] == {"model.init_args.switch": [0, 1]}
    assert (worse["claim"]["id"], worse["claim"]["delta"]) == ("alexnet#lrn", 1.4)
    assert (base["verdict"], base["delta"], base["p"], base["claim"]) == ("baseline", 0, None, None)
    assert base["interval"] == [None, None]


def test_json_is_null_where_a_number_is_not_finite(holed):
    found = json.loads(render(holed, "json"), parse_constant=pytest.fail)
    _, one, none = found["arms"]
    assert (one["n"], one["pairs"], one["delta"], one["sd"]) == (1, 1, 1.0, None)
    assert (one["interval"], one["p"], one["p_holm"]) == ([None, None], None, None)
    assert (one["failed"], one["diverged"]) == (1, 1)
    assert (none["n"], none["mean"], none["delta"], none["seconds"]) == (0, None, None, None)


def test_csv_has_full_precision(table):
    rows = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    assert [row["arm"] for row in rows] == list(VALUES)
    assert float(rows[1]["delta"]) == table.arms[0].delta.mean
    assert float(rows[1]["interval_low"]) == table.arms[0].delta.interval[0]
    assert rows[0]["p"] == ""


def test_text_rounds_and_fits(table):
    text = render(table)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    worse = next(line for line in lines if line.startswith("worse"))
    assert worse.split()[1:6] == ["+2.00", "[+1.85,", "+2.15]", "worse", "+1.4"]
    assert "full" in text
    assert "worse (+2.00)" in text
    assert "alexnet#lrn" in text


def test_counts_stand_only_where_trials_were_lost(table, holed):
    assert "diverged" not in render(table)
    text = render(holed)
    assert "diverged" in text.split("─")[0]
    assert "1/3" in text


def test_a_narrow_terminal_keeps_arms_deltas_and_verdicts(tmp_path):
    from ablations.results.formats import to_text

    arms = ["baseline", *(f"an-arm-of-a-long-name-{i}" for i in range(11))]
    values = {arm: [3.0 + i, 3.5, 4 - i, "failed"] for i, arm in enumerate(arms)}
    study = write_study(tmp_path, arms, 4)
    table = study_table(study, fabricate(study, tmp_path / "runs", values))
    text = to_text(table, 80)
    assert max(map(len, text.splitlines())) <= 80
    head = text.splitlines()[3].split()
    assert head[:5] == ["arm", "delta", "95%", "interval", "verdict"]
    assert head[-2:] == ["Holm", "marks"]
    assert "undecided" in text


def test_markdown_is_a_table(table):
    deltas, _ = render(table, "markdown").split("###")
    rows = [line for line in deltas.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(VALUES)
    assert len({line.count("|") for line in rows}) == 1
    assert "| **+2.00** | [+1.85, +2.15] | worse |" in rows[3]


def test_latex_escapes(tmp_path):
    arms = {"a_b&c": [3.0, 3.1, 3.2], "50%": [4.0, 4.2, 4.1]}
    latex = render(study_table(*make(tmp_path, arms, seeds=3)), "latex")
    assert r"a\_b\&c & baseline" in latex
    assert r"50\% & $+1.00$" in latex
    rows = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len({line.replace(r"\&", "").count("&") for line in rows}) == 1
    assert r"\bottomrule" in latex


def test_html_escapes(tmp_path):
    arms = {"<full>": [3.0, 3.1, 3.2], "a&b": [4.0, 4.2, 4.1]}
    page = render(study_table(*make(tmp_path, arms, seeds=3)), "html")
    cells: list[str] = []
    parser = HTMLParser()
    parser.handle_data = cells.append
    parser.feed(page)
    assert "<full>" in cells
    assert "a&b" in cells


@pytest.fixture
def planned(tmp_path):
    """A table with long marks and two metrics beside."""
    folder = tmp_path / "planned"
    study = write_study(
        folder,
        ["full", "clear", "open"],
        PLAN,
        metric=None,
        metrics=[METRIC, "train/loss", "val/loss"],
    )
    values = {"full": LONG[:6], "clear": [*CLEAR[:2], "diverged"], "open": OPEN[:6]}
    logged = {"train/loss": 1.5, "val/loss": 20.0}
    return study_table(study, fabricate(study, folder / "runs", values, logged=logged))


@pytest.mark.parametrize("width", [80, 100, 160])
def test_marks_stand_in_their_rows_at_any_width(planned, width):
    from ablations.results.formats import to_text

    text = to_text(planned, width)
    assert max(map(len, text.splitlines())) <= width
    row = text.split("\nclear ")[1].split("\nopen ")[0]
    words = [word for word in ("n = 2", "given that", "trains", "≠ parameters") if word in row]
    assert len(words) == 4


def test_an_asterisk_says_that_a_note_explains_the_verdict(tmp_path):
    values = {"full": VALUES["full"], "better": [*VALUES["better"][:5], "diverged"]}
    table = study_table(*make(tmp_path, values))
    assert "undecided*" in render(table)
    assert "| undecided\\* |" in render(table, "markdown")
    assert json.loads(render(table, "json"))["arms"][1]["verdict"] == "undecided"


def test_metrics_beside_are_brief_in_text_and_whole_elsewhere(planned):
    text = render(planned)
    head = text.index("Beside it, without verdicts")
    block = text[head : text.index("parameters  FLOPs")].splitlines()
    assert block[1].split() == ["arm", "train/loss", "val/loss"]
    assert block[3].split() == ["full", "1.50", "±", "0.00", "20.00", "±", "0.00"]
    assert len(block) < 9
    lines = render(planned, "markdown").splitlines()
    rows = [line for line in lines if line.startswith(("| train/loss |", "| val/loss |"))]
    assert len(rows) == 6
    assert rows[0] == "| train/loss | full | **baseline** |  | 6 | 1.50 | 0.00 |"
    assert render(planned, "latex").count(r"\toprule") == 2
    assert render(planned, "html").count("<table") == 2
    arms = json.loads(render(planned, "json"))["arms"]
    assert [reading["metric"] for reading in arms[0]["beside"]] == ["train/loss", "val/loss"]
    assert arms[0]["beside"][0] == {
        "metric": "train/loss",
        "mode": "min",
        "n": 6,
        "n_pairs": 6,
        "mean": 1.5,
        "sd": 0.0,
        "delta": 0.0,
        "interval": [None, None],
    }


def test_json_tells_what_a_verdict_stands_on(table, planned):
    _, worse, same, *_ = json.loads(render(table, "json"))["arms"]
    row = table.arms[1]
    assert (same["margin"], same["verdict"], worse["n_pairs"]) == (0.5, "equivalent", 6)
    assert same["p_equivalent"] == row.judgement.p_equivalent < 0.05
    assert same["interval_90"] == list(row.delta.interval_90)
    assert same["p_sign_flip"] == row.delta.p_sign_flip
    assert same["detectable"] == row.judgement.detectable
    assert (same["flags"], same["marks"], same["planned_look"]) == ([], ["≠ parameters"], None)
    _, clear, open_ = json.loads(render(planned, "json"))["arms"]
    assert open_["planned_look"] == {"seeds": 3, "open": True, "early": False}
    assert clear["p_diverged"] == planned.arms[0].divergence_p < 1


def test_long_marks_are_folded_not_cut(tmp_path):
    from ablations.results.formats import to_text

    arms = ["full", "activation=tanh", "columns=dense"]
    logged = {f"lrn/{layer}_{end}": 1.0 for layer in ("lrn2", "cnorm2") for end in ("low", "high")}
    study = write_study(tmp_path, arms, 6)
    values = dict.fromkeys(arms, VALUES["noisy"])
    table = study_table(study, fabricate(study, tmp_path / "runs", values, logged=logged))
    for width in range(78, 124):
        lines = to_text(table, width).splitlines()
        assert max(map(len, lines)) <= width
        head = next(n for n, line in enumerate(lines) if line.startswith("arm"))
        marks = " ".join(line[lines[head].index("marks") :] for line in lines[head + 2 : head + 14])
        assert "lrn2 and cnorm2 inactive" in " ".join(marks.split())
