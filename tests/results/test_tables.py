import json
import math
from dataclasses import replace

import pytest
from scipy import stats

from ablations.results.formats import render
from ablations.results.frame import curves, trial_frame
from ablations.results.looks import read_looks, record_look, standings
from ablations.results.tables import study_table
from ablations.results.wording import answer
from ablations.study import SeedPlan
from ablations.workspace import write_json
from tests.results.fabricate import fabricate, write_study

FULL = [3.0, 3.2, 3.1, 3.3, 3.4, 3.5]
VALUES = {
    "full": FULL,
    "worse": [v + d for v, d in zip(FULL, [1.9, 2.1, 2.0, 2.2, 1.8, 2.0], strict=True)],
    "same": [v + d for v, d in zip(FULL, [0.1, -0.1, 0.05, 0.0, -0.05, 0.1], strict=True)],
    "better": [v + d for v, d in zip(FULL, [-1.1, -1.3, -1.2, -1.0, -1.4, -1.2], strict=True)],
    "noisy": [v + d for v, d in zip(FULL, [3.0, -2.5, 2.0, -1.5, 4.0, -3.0], strict=True)],
}


def make(tmp_path, values=VALUES, seeds=6, **extra):
    study = write_study(tmp_path, list(values), seeds, **extra)
    return study, fabricate(study, tmp_path / "runs", values)


def test_known_deltas_and_verdicts(tmp_path):
    table = study_table(*make(tmp_path, margin=0.5))
    assert [row.arm for row in table.rows] == list(VALUES)
    assert [row.verdict for row in table.rows] == [
        "baseline",
        "worse",
        "equivalent",
        "better",
        "undecided",
    ]
    worse = table.rows[1]
    test = stats.ttest_rel(VALUES["worse"], FULL)
    assert worse.delta.mean == pytest.approx(2.0)
    assert worse.delta.p == pytest.approx(test.pvalue)
    assert worse.delta.interval == pytest.approx(tuple(test.confidence_interval()))
    assert (worse.n, worse.pairs, worse.planned) == (6, 6, 6)
    assert worse.mean == pytest.approx(sum(VALUES["worse"]) / 6)
    ordered = sorted(row.delta.p for row in table.arms)
    assert min(row.p_holm for row in table.arms) == pytest.approx(4 * ordered[0])
    assert (worse.parameters, worse.flops) == (12_600, 1_000_001)
    assert worse.seconds == pytest.approx(4.25)
    assert worse.changes == {"model.init_args.switch": [0, 1]}


def test_the_baseline_comes_first_wherever_it_stands(tmp_path):
    study, workspace = make(tmp_path)
    table = study_table(replace(study, baseline="same"), workspace)
    assert [row.arm for row in table.rows] == ["same", "full", "worse", "better", "noisy"]


def test_mode_max_turns_the_verdicts(tmp_path):
    table = study_table(*make(tmp_path, metric={"name": "score", "mode": "max"}))
    assert [row.verdict for row in table.arms[:3]] == ["better", "undecided", "worse"]


@pytest.mark.parametrize(("seeds", "finite"), [(1, False), (2, True)])
def test_one_or_two_seeds_decide_nothing(tmp_path, seeds, finite):
    values = {arm: column[:seeds] for arm, column in VALUES.items()}
    table = study_table(*make(tmp_path, values, seeds, margin=1000.0))
    assert {row.verdict for row in table.arms} == {"undecided"}
    assert math.isfinite(table.arms[0].delta.interval[0]) is finite
    assert any("no verdict: worse, same, better and noisy." in note for note in table.notes)


def test_holes_are_counted_named_and_left_out_of_pairs(tmp_path):
    values = {
        "full": [3.0, 3.1, "failed", 3.3, 3.4, 3.5],
        "off": [4.0, "diverged", 4.2, 4.35, None, 4.5],
        "dead": ["failed"] * 6,
    }
    table = study_table(*make(tmp_path, values))
    off, dead = table.arms
    assert (off.n, off.pairs, off.diverged, off.failed) == (4, 3, 1, 0)
    assert off.delta.differences == pytest.approx([1.0, 1.05, 1.0])
    assert (dead.n, dead.failed, dead.verdict) == (0, 6, "undecided")
    assert math.isnan(dead.p_holm)
    assert table.unfinished == 1
    said = "\n".join(table.notes)
    assert "full: seed 2 failed." in said
    assert "off: seed 1 diverged." in said
    assert "Still to come: 1 of 18" in said
    assert "given that they train" in said


def test_an_arm_that_diverges_is_not_better(tmp_path):
    values = VALUES | {"better": ["diverged", *VALUES["better"][1:]]}
    table = study_table(*make(tmp_path, values))
    assert table.rows[3].verdict == "undecided"
    assert table.rows[3].p_holm < 0.05


def test_mixed_and_dirty_commits_are_told(tmp_path):
    study, workspace = make(tmp_path, {"full": FULL, "off": [4.0] * 3})
    assert not any("commit" in note for note in study_table(study, workspace).notes)
    rest = {"off": [None, None, None, 4.1, 4.2, 4.3]}
    fabricate(study, workspace.root, rest, commit="9876543210", dirty=True)
    said = "\n".join(study_table(study, workspace).notes)
    assert "abcdef123 (9) and 987654321 (3)" in said
    assert "3 of 12 trials were trained with uncommitted changes" in said


def test_arms_of_one_trial_are_told(tmp_path):
    study, workspace = make(tmp_path, {"full": FULL, "off": FULL})
    twin = replace(study.arms[1], overrides=study.arms[0].overrides)
    table = study_table(replace(study, arms=(study.arms[0], twin)), workspace)
    assert "full and off are the same trials." in table.notes


def test_seeds_added_after_a_verdict_are_exploratory(tmp_path):
    values = {"full": FULL, "off": [4.0, 4.1, 4.3, 4.2, 4.4, 4.6]}
    study, workspace = make(tmp_path, values)
    first = replace(study, seeds=(0, 1, 2))
    early = study_table(first, workspace)
    assert not early.exploratory
    record_look(first, workspace, early)
    record_look(first, workspace, early)
    (look,) = read_looks(study, workspace)
    assert (look["n_per_arm"], look["plan"]) == ({"full": 3, "off": 3}, None)
    assert not study_table(first, workspace).exploratory
    late = study_table(study, workspace)
    assert late.exploratory
    assert any("from 3 to 6" in note for note in late.notes)


def test_a_look_at_an_unfinished_sweep_does_not_count(tmp_path):
    study, workspace = make(tmp_path, {"full": FULL, "off": [4.0, 4.1, 4.3]})
    record_look(study, workspace, study_table(study, workspace))
    assert read_looks(study, workspace) == []


def test_a_failed_trial_repeated_is_no_added_seed(tmp_path):
    study, workspace = make(tmp_path, {"full": FULL, "off": [4.0, 4.1, "failed", 4.2, 4.4, 4.6]})
    record_look(study, workspace, study_table(study, workspace))
    fabricate(study, workspace.root, {"off": [None, None, 4.3]})
    repeated = study_table(study, workspace)
    assert repeated.arms[0].n == 6
    assert not repeated.exploratory


def test_changes_are_those_written_where_no_rehearsal_told_more(tmp_path):
    study, workspace = make(tmp_path)
    write_json(workspace.study_folder(study.name) / "arms.json", {})
    row = study_table(study, workspace).arms[0]
    assert row.changes == {"model.init_args.switch": [0, 1]}
    assert row.parameters == 12_000


def test_an_unpaired_study_uses_welch(tmp_path):
    study, workspace = make(tmp_path, pairing="none")
    worse = study_table(study, workspace).arms[0]
    test = stats.ttest_ind(VALUES["worse"], FULL, equal_var=False)
    assert worse.delta.p == pytest.approx(test.pvalue)
    assert worse.delta.interval == pytest.approx(tuple(test.confidence_interval()))
    lost = {"full": FULL, "off": ["failed", "failed", 4.2, 4.3, 4.4, 4.6]}
    table = study_table(*make(tmp_path / "lost", lost, pairing="none"))
    assert table.arms[0].delta.counts == (4, 6)
    assert table.notes[0].startswith("Interval: 95%, Welch's t over unpaired seeds:")
    assert not any("Pairs left out" in note for note in table.notes)
    assert "(4 unpaired seeds)" in answer(table)


PLAN = {"start": 3, "max": 9, "step": 3}
LONG = [*FULL, 3.2, 3.1, 3.3]
CLEAR = [v + d for v, d in zip(LONG, [5, 5.1, 4.9, 5, 5.2, 4.8, 5, 5.1, 4.9], strict=True)]
OPEN = [v + d for v, d in zip(LONG, [0.5, -0.4, 0.1, 0.3, -0.3, 0.2, 0, 0.1, -0.2], strict=True)]


def test_planned_looks_are_replayed_and_seeds_not_wanted_are_not_missing(tmp_path):
    values = {"full": LONG[:6], "clear": CLEAR[:3], "open": OPEN[:6]}
    study, workspace = make(tmp_path, values, seeds=PLAN, margin=1.0)
    early = study_table(replace(study, margin=None), workspace)
    clear, open_ = early.arms
    assert (clear.verdict, clear.pairs, clear.planned) == ("worse", 3, 3)
    assert (open_.verdict, open_.pairs, open_.n, open_.planned) == ("undecided", 6, 6, 9)
    standing = standings(study, trial_frame(study, workspace))["open"]
    assert open_.delta.interval == standing.delta.interval
    plain = stats.ttest_rel(OPEN[:6], LONG[:6]).confidence_interval()
    assert open_.delta.interval[0] < plain.low
    assert (early.baseline.planned, early.unfinished, early.exploratory) == (9, 6, False)
    assert clear.marks == ("probably overstated", "n = 3", "≠ parameters")
    assert open_.further is None
    said = "\n".join(early.notes)
    assert "repeated so that it holds at every planned look" in said
    assert "Looks are planned at 3, 6 and 9 seeds." in said
    assert "Decided before the last look: clear at 3 seeds." in said
    assert "probably overstated: clear." in said
    assert "Still open, with 9 seeds at the next look: open." in said
    assert "Still to come: 6 of 21 trials." in said
    whole = study_table(study, workspace)
    assert [row.verdict for row in whole.arms] == ["worse", "equivalent"]
    assert (whole.unfinished, whole.baseline.planned) == (0, 6)
    assert "*" not in whole.arms[1].marks


def test_planned_looks_before_the_first_and_after_the_last(tmp_path):
    values = {"full": LONG[:2], "clear": CLEAR[:3], "open": OPEN[:1]}
    none = study_table(*make(tmp_path / "none", values, seeds=PLAN))
    assert {row.verdict for row in none.arms} == {"undecided"}
    assert all(math.isnan(row.delta.p) for row in none.arms)
    assert none.unfinished == 3
    values = {"full": LONG, "clear": CLEAR, "open": OPEN}
    last = study_table(*make(tmp_path / "last", values, seeds=PLAN))
    assert (last.unfinished, last.arms[1].standing.open, last.arms[1].pairs) == (0, False, 9)
    assert last.arms[0].n == 3
    assert any("plan wants are not looked at: clear (6)." in note for note in last.notes)


def test_planned_looks_are_not_exploratory_others_are(tmp_path):
    values = {"full": LONG, "open": OPEN}
    study, workspace = make(tmp_path, values, seeds=PLAN)
    first = replace(study, plan=None, seeds=study.seeds[:3])
    record_look(study, workspace, study_table(study, workspace))
    assert not study_table(study, workspace).exploratory
    longer = replace(study, plan=SeedPlan(3, 12, 3), seeds=tuple(range(12)))
    assert not study_table(longer, workspace).exploratory
    record_look(first, workspace, study_table(first, workspace))
    assert study_table(study, workspace).exploratory
    assert [look["plan"] for look in read_looks(study, workspace)] == [[3, 6, 9], None]


def test_a_plan_extended_after_its_verdict_is_exploratory(tmp_path):
    values = {"full": LONG, "open": OPEN}
    study, workspace = make(tmp_path, values, seeds=PLAN)
    record_look(study, workspace, study_table(study, workspace))
    longer = replace(study, plan=SeedPlan(3, 12, 3), seeds=tuple(range(12)))
    more = {arm: [None] * 9 + [3.0, 3.1, 3.3] for arm in values}
    fabricate(longer, workspace.root, more)
    assert study_table(longer, workspace).exploratory


def test_a_gap_and_an_early_loss_are_made_of_what_was_logged(tmp_path):
    made = [
        {"gap": ["test/top1_error", "val/top1_error"]},
        {"early": {"metric": "train/loss", "epoch": 2}},
        {"early": {"metric": "train/loss", "epoch": 9}},
    ]
    study = write_study(tmp_path, ["full", "off"], metric=None, metrics=["test/top1_error", *made])
    off = [v + 1 for v in FULL[:4]] + ["diverged", "failed"]
    workspace = fabricate(
        study, tmp_path / "runs", {"full": FULL, "off": off}, logged={"val/top1_error": 1.5}
    )
    frame = trial_frame(study, workspace)
    base, row = study_table(study, workspace).rows
    gap, early, late = row.beside
    assert (gap.n, gap.delta.n) == (4, 4)
    assert gap.mean == pytest.approx(sum(off[:4]) / 4 - 1.5)
    assert gap.delta.mean == pytest.approx(1)
    curve = curves(frame, workspace).query("name == 'train/loss' and epoch == 1")
    full = curve[curve["arm"] == "full"]["value"]
    assert base.beside[1].mean == pytest.approx(full.mean())
    assert (early.n, early.delta.mean) == (4, pytest.approx(0))
    assert (late.n, late.metric.name) == (0, "train/loss after 9 epochs")
    told = json.loads(render(study_table(study, workspace), "json"))["arms"][1]["beside"][0]
    assert (told["metric"], told["mode"], told["n"]) == (
        "test/top1_error - val/top1_error",
        "min",
        4,
    )


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_made_metric_may_decide(tmp_path, mode):
    gap = {"gap": [{"name": name, "mode": mode} for name in ("test/it", "val/it")]}
    study = write_study(tmp_path, ["full", "off"], metric=gap)
    workspace = fabricate(study, tmp_path / "runs", {})
    for arm, add in (("full", 0.0), ("off", 1.0)):
        for at, value in enumerate(FULL):
            column = [None] * at + [7.0]
            logged = {"test/it": value + add + 0.01 * at, "val/it": 1.0}
            fabricate(study, workspace.root, {arm: column}, logged=logged)
    (row,) = study_table(study, workspace).arms
    assert row.delta.mean == pytest.approx(1)
    assert row.verdict == ("worse" if mode == "min" else "better")


def test_further_metrics_stand_beside_without_verdicts(tmp_path):
    metrics = ["test/top1_error", "train/top1_error", "train/loss"]
    study = write_study(tmp_path, ["full", "off"], 6, metric=None, metrics=metrics)
    workspace = fabricate(study, tmp_path / "runs", {})
    for at, value in enumerate(FULL):
        for arm, logged in (("full", value / 2), ("off", value / 2 + 0.1 * at)):
            column = [None] * at + [value if at or arm == "full" else "diverged"]
            fabricate(study, workspace.root, {arm: column}, logged={"train/top1_error": logged})
    base, off = study_table(study, workspace).rows
    assert [reading.metric.name for reading in off.beside] == metrics[1:]
    error, loss = off.beside
    assert (error.n, base.beside[0].n, error.delta.n) == (5, 6, 5)
    assert error.delta.mean == pytest.approx(0.3)
    test = stats.ttest_rel([0.1 * at for at in range(1, 6)], [0] * 5)
    assert error.delta.interval == pytest.approx(tuple(test.confidence_interval()))
    assert base.beside[0].mean == pytest.approx(sum(FULL) / 12)
    assert (loss.mean, loss.delta.mean) == (pytest.approx(0.1), 0)
