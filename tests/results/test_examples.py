from dataclasses import replace

import numpy as np
import pytest

from ablations.results.crossed import crossed_interval, mcnemar
from ablations.results.examples import crossed, noise_section
from ablations.results.formats import render
from ablations.results.numbers import interval_text
from ablations.results.tables import study_table
from ablations.results.wording import digits_for
from ablations.study import SeedPlan, trials
from ablations.workspace import read_json, write_json
from tests.results.fabricate import fabricate, write_study

RATES = {"full": 0.2, "off": 0.3}
SEEDS, EXAMPLES, CLASSES = 4, 200, 7
SCALES = {
    "test/top1_error": lambda wrong: 100 * wrong,
    "test/error": lambda wrong: wrong,
    "test/accuracy": lambda wrong: 1 - wrong,
    "test_acc": lambda wrong: 100 * (1 - wrong),
    "test/top5_error": lambda wrong: 100 * wrong,
}


def answered(tmp_path, metric="test/top1_error", top=1, seeds=SEEDS):
    """Trials with stored predictions, and which examples each arm and seed got wrong."""
    study = write_study(tmp_path, ["full", "off"], seeds=seeds, metric=metric)
    workspace = fabricate(study, tmp_path / "runs", {"full": [1.0] * seeds, "off": [1.0] * seeds})
    rng = np.random.default_rng(0)
    targets = rng.integers(0, CLASSES, EXAMPLES)
    wrong = {arm: rng.random((seeds, EXAMPLES)) < rate for arm, rate in RATES.items()}
    for trial in trials(study):
        missed = wrong[trial.arm][trial.seed]
        scores = rng.random((EXAMPLES, CLASSES)).astype(np.float16)
        scores[np.arange(EXAMPLES), targets] = np.where(missed, -1, 2)
        folder = workspace.trial_folder(trial.id)
        np.savez(folder / "predictions.npz", targets=targets, probabilities=scores)
        report(workspace, trial.id, metric, float(SCALES[metric](missed.mean())))
    return study, workspace, wrong


def report(workspace, trial, metric, value):
    file = workspace.trial_folder(trial) / "result.json"
    result = read_json(file)
    result["metrics"][metric] = value
    write_json(file, result)


@pytest.mark.parametrize(
    ("metric", "factor"),
    [
        ("test/top1_error", 100),
        ("test/error", 1),
        ("test/accuracy", -1),
        ("test_acc", -100),
        ("test/top5_error", 100),
    ],
)
def test_differences_are_in_the_metrics_units(tmp_path, metric, factor):
    study, workspace, wrong = answered(tmp_path, metric)
    expected = crossed_interval(factor * (wrong["off"].astype(float) - wrong["full"]))
    assert crossed(study, workspace, "off") == expected


def test_the_baseline_and_values_that_do_not_match_have_none(tmp_path):
    study, workspace, _ = answered(tmp_path)
    assert crossed(study, workspace, "full") is None
    report(workspace, next(t.id for t in trials(study) if t.arm == "off"), "test/top1_error", 77.0)
    assert crossed(study, workspace, "off") is None
    assert noise_section(study, workspace, 2) is None


def test_seeds_without_predictions_are_left_out(tmp_path):
    study, workspace, wrong = answered(tmp_path)
    gone = [trial.id for trial in trials(study) if trial.arm == "off"][1:3]
    for trial in gone[:1]:
        (workspace.trial_folder(trial) / "predictions.npz").unlink()
    kept = [0, 2, 3]
    expected = crossed_interval(100 * (wrong["off"][kept].astype(float) - wrong["full"][kept]))
    assert crossed(study, workspace, "off") == expected
    (workspace.trial_folder(gone[1]) / "result.json").unlink()
    assert crossed(study, workspace, "off").mean == pytest.approx(
        100 * (wrong["off"][[0, 3]].mean() - wrong["full"][[0, 3]].mean())
    )


def test_one_seed_tells_nothing_of_seeds(tmp_path):
    study, workspace, _ = answered(tmp_path, seeds=1)
    assert crossed(study, workspace, "off") is None


def test_the_report_and_json_show_it_and_the_terminal_does_not(tmp_path):
    study, workspace, _ = answered(tmp_path)
    table = study_table(study, workspace)
    (section,) = table.sections
    found = crossed(study, workspace, "off")
    assert section.rows[0][5:-1] == (
        f"{found.seeds:.0%}", f"{found.examples:.0%}", f"{found.interaction:.0%}",
    )  # fmt: skip
    assert '"noise"' in render(table, "json") and "more test examples" in render(table, "html")
    assert "more test examples" not in render(table, "text") + render(table, "markdown")


def test_the_nets_of_the_first_seed_that_both_have_are_compared(tmp_path):
    study, workspace, wrong = answered(tmp_path)
    for seed in (0, 1):
        (section,) = study_table(study, workspace).sections
        only = wrong["full"][seed] & ~wrong["off"][seed], wrong["off"][seed] & ~wrong["full"][seed]
        counts = tuple(int(each.sum()) for each in only)
        assert section.heads[-1] == f"two nets, seed {seed}"
        assert section.rows[0][-1].startswith(f"{counts[0]} / {counts[1]}, p ")
        two = section.values[0]["two_nets"]
        assert (two["seed"], two["only_first_wrong"], two["only_second_wrong"]) == (seed, *counts)
        assert two["p"] == mcnemar(wrong["full"][seed], wrong["off"][seed]).p
        first = next(t.id for t in trials(study) if (t.arm, t.seed) == ("off", seed))
        (workspace.trial_folder(first) / "predictions.npz").unlink()


def test_every_table_names_the_crossed_interval_beside_its_own(tmp_path):
    study, workspace, _ = answered(tmp_path)
    table = study_table(study, workspace)
    shown = interval_text(crossed(study, workspace, "off").interval, digits_for(table))
    assert table.notes[1] == f"For new seeds and new test examples alike, crossed: off {shown}."
    assert table.notes[0].startswith(
        "Interval: 95%, paired t over seeds: new seeds, this test set."
    )
    for kind in ("text", "markdown", "latex", "html"):
        assert "examples alike" in render(table, kind).replace("\n", " ")
    planned = replace(study, plan=SeedPlan(3, SEEDS, 1))
    assert not any("alike" in note for note in study_table(planned, workspace).notes)
    (section,) = study_table(planned, workspace).sections
    assert "not widened for the planned looks" in section.notes[0]
