import itertools
import json

import numpy as np
import pytest
import yaml

from ablations.results.factorial import cells_order, effects, interaction
from ablations.results.formats import render
from ablations.results.frame import trial_frame, values_by_seed
from ablations.results.interaction_plot import interaction_plot
from ablations.results.interactions import design_of, effect_sections
from ablations.results.tables import study_table
from ablations.study import load_study
from tests.results.fabricate import fabricate, write_study


def factorial(folder, factors, levels=2, seeds=4, **extra):
    study = write_study(folder, ["unused", "other"])
    content = yaml.safe_load(study.file.read_text())
    del content["arms"], content["baseline"]
    content |= {
        "seeds": seeds,
        "design": "factorial",
        "factors": {
            name: {f"{name}{i}": {f"model.init_args.{name}": i} for i in range(levels)}
            for name in factors
        },
        **extra,
    }
    study.file.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_study(study.file)


def truth(levels):
    """a costs 2, b costs 1 where a is there, whatever c is."""
    a, b, _ = (level.endswith("1") for level in levels.values())
    return 10 + 2 * a + 1 * (b and not a)


def swept(tmp_path, **extra):
    study = factorial(tmp_path, "abc", **extra)
    rng = np.random.default_rng(1)
    values = {
        arm.name: (truth(arm.levels) + 0.05 * rng.standard_normal(len(study.seeds))).tolist()
        for arm in study.arms
    }
    return study, fabricate(study, tmp_path / "runs", values)


def test_the_effects_of_a_full_design(tmp_path):
    study, workspace = swept(tmp_path)
    frame = trial_frame(study, workspace)
    section, _ = effect_sections(study, frame, 2)
    assert section.title == "Effects (2^3, full)"
    found = {value["effect"]: value for value in section.values}
    assert list(found) == ["a", "b", "c", "a × b", "a × c", "b × c"]
    assert found["a"]["mean"] == pytest.approx(1.5, abs=0.1)
    assert found["b"]["mean"] == pytest.approx(0.5, abs=0.1)
    assert found["a × b"]["mean"] == pytest.approx(-0.5, abs=0.1)
    assert abs(found["c"]["mean"]) < 0.1 and abs(found["b × c"]["mean"]) < 0.1
    matrix = values_by_seed(frame)
    design = design_of(study)
    order = cells_order([arm.levels for arm in study.arms], design)
    expected = effects(matrix.to_numpy()[:, order], design)
    assert [value["p_holm"] for value in section.values] == pytest.approx(
        [e.p_holm for e in expected]
    )


def test_interaction_is_leave_one_out_less_add_one_in(tmp_path):
    study, workspace = swept(tmp_path)
    frame = trial_frame(study, workspace)
    _, section = effect_sections(study, frame, 2)
    matrix = values_by_seed(frame)
    arms = ("full", "b=b1", "a=a1,b=b1,c=c1", "a=a1,c=c1")
    expected = interaction(*(matrix[arm] for arm in arms))
    found = {value["factor"]: value for value in section.values}
    assert found["b"]["mean"] == pytest.approx(expected.mean)
    assert found["b"]["beside_all"] == pytest.approx((matrix["b=b1"] - matrix["full"]).mean())
    # Without a, b does nothing.
    assert found["b"]["alone"] == pytest.approx(0, abs=0.1)
    assert found["b"]["mean"] == pytest.approx(1, abs=0.15)
    assert section.rows[1][0] == "b"


def test_a_fraction_prints_resolution_and_aliases(tmp_path):
    study = factorial(tmp_path, "abcd", seeds=3, design="fractional", cells=8)
    values = {arm.name: [1.0 + i, 2.0 + i, 3.5 + i] for i, arm in enumerate(study.arms)}
    workspace = fabricate(study, tmp_path / "runs", values)
    (section,) = (s for s in study_table(study, workspace).sections if s.key == "effects")
    assert section.title == "Effects (2^(4-1), resolution IV)"
    labels = [row[0] for row in section.rows]
    assert labels[:4] == ["a", "b", "c", "d"]
    assert labels[4:] == ["a × b + c × d", "a × c + b × d", "a × d + b × c"]
    told = json.loads(render(study_table(study, workspace), "json"))
    assert told["effects"][4]["aliases"] == [{"sign": 1, "factors": ["c", "d"]}]
    assert "interactions" not in told
    for kind in ("text", "markdown", "html"):
        assert "resolution IV" in render(study_table(study, workspace), kind)


def test_a_seed_that_lacks_a_cell_is_left_out_and_said(tmp_path):
    study = factorial(tmp_path, "ab", seeds=4)
    values = {arm.name: [1.0 + i, 2.1 * i, 3.5 + i, 4.0] for i, arm in enumerate(study.arms)}
    values["a=a1"][2] = "failed"
    workspace = fabricate(study, tmp_path / "runs", values)
    section = effect_sections(study, trial_frame(study, workspace), 2)[0]
    assert {value["n"] for value in section.values} == {3}
    assert "1 of 4 seeds lack a cell" in " ".join(section.notes)


def test_more_than_two_levels_have_no_effect_table(tmp_path):
    study = factorial(tmp_path, "ab", levels=3, seeds=2)
    workspace = fabricate(study, tmp_path / "runs", {})
    (section,) = effect_sections(study, trial_frame(study, workspace), 2)
    assert section.rows == ()
    assert section.notes == ("No effect table: a and b have more than two levels.",)
    assert "No effect table" in render(study_table(study, workspace), "text")
    assert interaction_plot(trial_frame(study, workspace), study) is None


def test_other_studies_have_no_effects(tmp_path):
    study = write_study(tmp_path, ["full", "off"])
    frame = trial_frame(study, fabricate(study, tmp_path / "runs", {}))
    assert effect_sections(study, frame, 2) == ()
    assert interaction_plot(frame, study) is None


def test_a_design_without_results_yet(tmp_path):
    study = factorial(tmp_path, "abc")
    frame = trial_frame(study, fabricate(study, tmp_path / "runs", {}))
    section = effect_sections(study, frame, 2)[0]
    assert {row[1] for row in section.rows} == {"–"}
    assert interaction_plot(frame, study) is None


def test_the_interaction_plot_has_a_panel_for_each_pair(tmp_path):
    study, workspace = swept(tmp_path)
    figure = interaction_plot(trial_frame(study, workspace), study)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [f"{a} × {b}" for a, b in itertools.combinations("abc", 2)]
    for axes in figure.axes:
        assert [t.get_text() for t in axes.get_xticklabels()] == [
            f"{axes.get_xlabel()}{i}" for i in (0, 1)
        ]


def test_censored_times_have_no_effects(tmp_path):
    study = factorial(
        tmp_path, "ab", metric={"epochs_to": {"metric": "train/top1_error", "below": 60}}
    )
    values = {arm.name: [4.0, 99.0, 5.0, 6.0] for arm in study.arms}
    frame = trial_frame(study, fabricate(study, tmp_path / "runs", values, epochs=6))
    (section,) = effect_sections(study, frame, 2)
    assert section.notes == ("No effect table: 4 trials never crossed, so contrasts are unknown.",)
