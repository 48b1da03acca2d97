import matplotlib
import numpy as np
import pytest

from ablations.results import figures, paper
from ablations.results.forest import forest_plot
from ablations.results.frame import curves, trial_frame
from ablations.results.learning import learning_curves
from ablations.results.overview import claims_figure
from ablations.results.tables import study_table
from analysis import depth
from tests.results.fabricate import fabricate, write_study


def swept(tmp_path, count, value=None, **extra):
    arms = ["full", *(f"arm-of-some-length-{i}" for i in range(1, count))]
    study = write_study(tmp_path, arms, **extra)
    rng = np.random.default_rng(0)
    values = {arm: list(rng.normal(3 + i, 0.3, 6)) for i, arm in enumerate(arms)}
    values[arms[1]][2] = value or values[arms[1]][2]
    return study, fabricate(study, tmp_path / "runs", values)


def texts(figure):
    figure.canvas.draw()
    return {text.get_text() for text in figure.findobj(matplotlib.text.Text)}


def overlaps(artists, figure):
    figure.canvas.draw()
    boxes = [a.get_window_extent().padded(-0.5) for a in artists if a.get_text().strip()]
    return [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


@pytest.mark.parametrize("count", [2, 7, 12])
def test_forest_shows_every_seed_and_no_labels_overlap(tmp_path, count):
    study, workspace = swept(
        tmp_path, count, margin=1.0, claims={"arm-of-some-length-1": "alexnet#lrn"}
    )
    figure = forest_plot(study_table(study, workspace), figures.arm_colours(study))
    (axes,) = figure.axes
    dots = [len(c.get_offsets()) for c in axes.collections if len(c.get_offsets()) == 6]
    assert len(dots) == count - 1
    assert not overlaps(axes.get_yticklabels(), figure)
    assert not overlaps(axes.texts, figure)
    assert not overlaps(axes.get_xticklabels(), figure)
    said = texts(figure)
    assert any(text.startswith("← better") for text in {t.strip() for t in said})
    assert "the paper, on its own data" in said
    assert "change of test/top1_error against full (percentage points)" in said


@pytest.mark.parametrize("count", [2, 7, 12])
def test_curves_have_a_panel_per_arm(tmp_path, count):
    study, workspace = swept(tmp_path, count)
    log = curves(trial_frame(study, workspace), workspace)
    figure = learning_curves(log, study, figures.arm_colours(study))
    assert len(figure.axes) == count - 1
    assert all(len(axes.lines) == 4 for axes in figure.axes)
    assert not overlaps([axes.title for axes in figure.axes], figure)
    assert {"validation", "training", "epoch", "top1_error (%)"} <= texts(figure)


def test_curves_fall_back_to_the_loss_and_leave_out_diverged_trials(tmp_path):
    study, workspace = swept(tmp_path, 2, "diverged", metric={"name": "score", "mode": "max"})
    log = curves(trial_frame(study, workspace), workspace)
    log.loc[log["state"] == "diverged", "value"] = 1e9
    figure = learning_curves(log, study, figures.arm_colours(study))
    assert "loss" in texts(figure)
    assert figure.axes[0].dataLim.y1 < 10


def test_no_curves_no_figure(tmp_path):
    study, workspace = swept(tmp_path, 2)
    log = curves(trial_frame(study, workspace), workspace)
    assert learning_curves(log[log["epoch"] == 0], study, {}) is None


@pytest.mark.parametrize("value", [None, "failed", "diverged", "interrupted"])
def test_completeness_counts_every_state(tmp_path, value):
    study, workspace = swept(tmp_path, 12, value)
    said = texts(figures.completeness_matrix(trial_frame(study, workspace)))
    assert any(text.startswith("done") and f"({71 if value else 72})" in text for text in said)
    assert value is None or any(text.startswith(value) and "(1)" in text for text in said)


def test_colours_differ_and_stay(tmp_path):
    study, _ = swept(tmp_path, 12)
    colours = figures.arm_colours(study)
    assert list(colours) == [arm.name for arm in study.arms]
    assert len(set(colours.values())) == 12


def test_an_arm_without_a_pair_has_its_row(tmp_path):
    study = write_study(tmp_path, ["full", "off", "on"])
    values = {"full": [3.0] * 6, "off": ["failed"] * 6, "on": [3.1, 3.3]}
    table = study_table(study, fabricate(study, tmp_path / "runs", values))
    figure = forest_plot(table, figures.arm_colours(study))
    assert any("no pairs" in text for text in texts(figure))
    assert figures.png(figure).startswith(b"\x89PNG")


def test_an_interval_of_two_pairs_may_leave_every_axis(tmp_path):
    named = {"off": "alexnet#lrn", "on": "alexnet#two-gpu"}
    study = write_study(tmp_path, ["full", "off", "on"], claims=named)
    values = {"full": [30.0, 30.2, 30.1], "off": [31.0, 31.3, 31.2], "on": [31.0, 36.0, "diverged"]}
    workspace = fabricate(study, tmp_path / "runs", values)
    answer = paper.answered(study, workspace)
    _, off, on = answer.table.rows
    assert on.delta.interval[0] < -20 < 20 < on.delta.interval[1]
    drawn = [
        forest_plot(answer.table, figures.arm_colours(study)),
        claims_figure(paper.claim_rows([answer])),
        depth.figure(answer, [depth.Removal("one", off, None), depth.Removal("both", off, on)]),
    ]
    for figure in drawn:
        low, high = figure.axes[0].get_xlim()
        assert -20 < low < 0 < on.delta.mean < high < 20
        assert low < off.delta.interval[0] < off.delta.interval[1] < high


def test_names_are_not_read_as_mathematics(tmp_path):
    study = write_study(tmp_path, ["full", "$x$ and $"])
    values = {"full": [3.0, 3.1, 3.2], "$x$ and $": [3.3, 3.2, 3.5]}
    table = study_table(study, fabricate(study, tmp_path / "runs", values))
    assert figures.png(forest_plot(table, figures.arm_colours(study)))
