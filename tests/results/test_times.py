import json
import math

import numpy as np
import pandas as pd
import pytest

from ablations.results.figures import arm_colours
from ablations.results.forest import forest_plot
from ablations.results.formats import render
from ablations.results.frame import compared_by_seed, trial_frame
from ablations.results.looks import wanted_seeds
from ablations.results.statistics import delta_of, paired_delta
from ablations.results.tables import study_table
from ablations.results.threshold import time_ratio
from ablations.results.times import times_section, without_censored
from ablations.results.wording import answer, heading
from tests.results.fabricate import fabricate, write_study

METRIC = {"epochs_to": {"metric": "train/top1_error", "below": 60}}
NAME = "epochs to train/top1_error below 60"
# Half of a value is what the fabricated training error tends to: from 50 it stays above 60.
QUICK = [4.0, 6.0, 8.0, 5.0, 7.0, 9.0]
SLOW = [40.0, 44.0, 42.0, 46.0, 41.0, 45.0]
NEVER = [40.0, 99.0, 42.0, 46.0, 95.0, 45.0]


def swept(tmp_path, arms, **extra):
    study = write_study(tmp_path, list(arms), metric=METRIC, **extra)
    return study, fabricate(study, tmp_path / "runs", arms, epochs=6)


def crossing(workspace, trial, below=60):
    """By hand, from the file."""
    log = pd.read_csv(workspace.trial_folder(trial) / "metrics.csv")
    curve = log[log["name"] == "train/top1_error"].set_index("epoch")["value"]
    for epoch in range(1, len(curve)):
        if curve[epoch] <= below:
            share = (curve[epoch - 1] - below) / (curve[epoch - 1] - curve[epoch])
            return epoch + share
    return math.inf


def test_the_value_of_a_trial_is_its_first_crossing(tmp_path):
    study, workspace = swept(tmp_path, {"quick": QUICK, "slow": SLOW})
    frame = trial_frame(study, workspace)
    expected = [crossing(workspace, trial) for trial in frame["trial"]]
    assert frame["time"].tolist() == pytest.approx(expected)
    assert frame["value"].tolist() == pytest.approx(expected)
    assert frame["compared"].tolist() == pytest.approx(np.log(expected))
    assert frame[f"metrics.{NAME}"].tolist() == pytest.approx(expected)


def test_a_curve_that_rises_is_read_from_below(tmp_path):
    rising = {"epochs_to": {"metric": "val/accuracy", "above": 90}}
    study = write_study(tmp_path, ["a", "b"], seeds=1, metric=rising)
    workspace = fabricate(study, tmp_path / "runs", {"a": [1.0], "b": [1.0]})
    frame = trial_frame(study, workspace)
    for trial in frame["trial"]:
        rows = ["epoch,step,name,value,time"]
        rows += [f"{e},{e},val/accuracy,{v},1.0" for e, v in enumerate((70, 85, 95, 80))]
        (workspace.trial_folder(trial) / "metrics.csv").write_text("\n".join(rows) + "\n")
    assert trial_frame(study, workspace)["value"].tolist() == [2.5, 2.5]


def test_what_never_crosses_is_censored_at_the_budget(tmp_path):
    study, workspace = swept(tmp_path, {"quick": QUICK, "slow": NEVER})
    frame = trial_frame(study, workspace)
    late = np.isinf(frame["time"])
    assert frame[late]["seed"].tolist() == [1, 4]
    assert set(frame[late]["value"]) == {6}
    assert frame["compared"].tolist() == pytest.approx(np.log(frame["value"]))


def test_trials_without_a_result_have_no_time(tmp_path):
    study, workspace = swept(tmp_path, {"quick": QUICK, "slow": [40.0, "failed", "diverged"]})
    slow = trial_frame(study, workspace).query("arm == 'slow'")
    assert slow["value"].notna().tolist() == [True] + [False] * 5
    assert slow["time"].notna().tolist() == [True] + [False] * 5


def test_the_section_is_the_ratio(tmp_path):
    study, workspace = swept(tmp_path, {"quick": QUICK, "slow": SLOW})
    frame, table = trial_frame(study, workspace), study_table(study, workspace)
    section = times_section(study, frame, table)
    times = frame.pivot(index="seed", columns="arm", values="time")
    expected = time_ratio(times["slow"], times["quick"], 6)
    baseline, slow = section.values
    assert (slow["ratio"], slow["bound"], slow["budget"]) == (expected.ratio, "exact", 6)
    assert slow["interval"] == pytest.approx(list(expected.interval))
    assert baseline["ratio"] == 1
    assert section.rows[0][3] == "baseline"
    assert section.rows[1][3] == f"×{expected.ratio:.2f}"
    assert table.arms[0].verdict == "worse"
    assert table.arms[0].delta.mean == pytest.approx(math.log(expected.ratio))
    assert table.arms[0].delta.p == pytest.approx(expected.p)


def test_censoring_leaves_a_bound_and_the_sign_flip_test(tmp_path):
    study, workspace = swept(tmp_path, {"quick": QUICK, "slow": NEVER}, margin=9.0)
    table = study_table(study, workspace)
    (row,) = table.arms
    logs = compared_by_seed(trial_frame(study, workspace))
    assert row.delta.p == delta_of(logs["slow"] - logs["quick"]).p_sign_flip == 2 / 64
    assert row.verdict == "worse"
    assert all(map(math.isnan, row.delta.interval))
    found = times_section(study, trial_frame(study, workspace), table).values[1]
    assert (found["bound"], found["censored"], found["interval"]) == (
        "at least",
        [2, 0],
        [None] * 2,
    )
    text = render(table, "text")
    assert "≥ ×" in text and "2 of 6" in text and "sign-flip" in text


def test_arms_that_never_cross_are_not_equivalent(tmp_path):
    study, workspace = swept(tmp_path, {"a": [99.0] * 6, "b": [98.0] * 6}, margin=1.0)
    table = study_table(study, workspace)
    (row,) = table.arms
    assert (row.verdict, row.delta.p) == ("undecided", 1)
    found = times_section(study, trial_frame(study, workspace), table)
    assert found.rows[1][1:3] == ("> 6", "6 of 6")
    assert found.values[1]["medians"] == [None, None]


def test_uncensored_deltas_stay_as_they_are(tmp_path):
    study, workspace = swept(tmp_path, {"quick": QUICK, "slow": SLOW})
    frame = trial_frame(study, workspace)
    matrix = compared_by_seed(frame)
    delta = paired_delta(matrix["slow"], matrix["quick"])
    assert without_censored(delta, frame, "slow", "quick") is delta


def test_the_answer_is_a_ratio(tmp_path):
    study, workspace = swept(tmp_path / "whole", {"quick": QUICK, "slow": SLOW}, margin=0.1)
    table = study_table(study, workspace)
    ratio = math.exp(table.arms[0].delta.mean)
    assert f"slow takes ×{ratio:.2f} [×" in answer(table)
    assert f"the {NAME} against quick (6 paired seeds): worse" in answer(table)
    assert "margin ×1.11" in heading(table)
    head = render(table, "text").splitlines()[3].split()
    assert head[:2] == ["arm", "ratio"]
    assert "| **×" in render(table, "markdown") and '<td class="ratio">×' in render(table, "html")
    assert json.loads(render(table, "json"))["scale"] == "log"
    study, workspace = swept(tmp_path / "late", {"quick": QUICK, "slow": NEVER})
    assert "slow takes ≥ ×" in answer(study_table(study, workspace))
    study, workspace = swept(tmp_path / "early", {"slow": NEVER, "quick": QUICK})
    assert "quick takes ≤ ×" in answer(study_table(study, workspace))


def test_a_time_beside_another_metric_is_its_difference_in_epochs(tmp_path):
    study = write_study(
        tmp_path, ["quick", "slow"], metrics=["test/top1_error", METRIC], metric=None
    )
    workspace = fabricate(study, tmp_path / "runs", {"quick": QUICK, "slow": SLOW}, epochs=6)
    table = study_table(study, workspace)
    frame = trial_frame(study, workspace)
    times = frame.pivot(index="seed", columns="arm", values=f"metrics.{NAME}")
    (reading,) = table.arms[0].beside
    assert reading.delta.mean == pytest.approx((times["slow"] - times["quick"]).mean())
    assert frame["time"].isna().all()


def test_the_forest_plot_has_factors_on_its_axis(tmp_path):
    study, workspace = swept(tmp_path, {"quick": QUICK, "slow": SLOW})
    table = study_table(study, workspace)
    figure = forest_plot(table, arm_colours(study))
    figure.canvas.draw()
    (axes,) = figure.axes
    assert axes.get_xlabel() == f"{NAME}: ratio to quick"
    assert all(t.get_text().startswith("×") for t in axes.get_xticklabels())


def test_json_holds_the_times(tmp_path):
    study, workspace = swept(tmp_path, {"quick": QUICK, "slow": SLOW})
    told = json.loads(render(study_table(study, workspace), "json"))
    assert [row["arm"] for row in told["times"]] == ["quick", "slow"]
    assert set(told["times"][1]) == {
        "arm", "budget", "ratio", "bound", "interval", "p", "medians", "censored", "n",
    }  # fmt: skip


def test_planned_looks_at_censored_times(tmp_path):
    seeds = {"start": 3, "max": 9, "step": 3}
    slow = [40.0, 99.0, 42.0, 46.0, 95.0, 45.0, 41.0, 43.0, 44.0]
    quick = [4.0, 6.0, 8.0, 5.0, 7.0, 9.0, 5.5, 6.5, 7.5]
    study, workspace = swept(tmp_path, {"quick": quick, "slow": slow}, seeds=seeds)
    table = study_table(study, workspace)
    (row,) = table.arms
    # Three pairs cannot tell; of six the least sign-flip p is 2 / 64.
    assert (row.verdict, row.standing.seeds, row.delta.bound) == ("worse", 6, "at least")
    assert 2 / 64 <= row.delta.p < 0.05
    assert "planned look." in render(table, "text").replace("\n", " ")
    found = times_section(study, trial_frame(study, workspace), table).values[1]
    assert (found["p"], found["n"], found["interval"]) == (row.delta.p, 6, [None] * 2)


def test_unpaired_times_that_are_censored_are_dealt_out_anew(tmp_path):
    arms = {"quick": QUICK, "slow": NEVER}
    study, workspace = swept(tmp_path, arms, pairing="none", margin=9.0)
    table = study_table(study, workspace)
    (row,) = table.arms
    assert row.delta.p == pytest.approx(2 / math.comb(12, 6))
    assert (row.verdict, row.delta.bound) == ("worse", "at least")
    assert all(map(math.isnan, row.delta.interval))
    told = render(table, "text").replace("\n", " ")
    assert "unpaired seeds" in told and "a permutation test's" in told and "≥ ×" in told


def test_before_any_result_there_is_no_time(tmp_path):
    study, workspace = swept(tmp_path, {"quick": [], "slow": []}, seeds={"start": 3, "max": 9})
    assert wanted_seeds(study, workspace) == {"quick": 3, "slow": 3}
    table = study_table(study, workspace)
    assert answer(table).startswith("No answer yet")
    assert {row[1] for row in table.sections[0].rows} == {"–"}
