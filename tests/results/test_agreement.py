import json
from dataclasses import replace

import pytest

from ablations.results.agreement import compare, differing
from ablations.results.claims import load_claims
from ablations.results.formats import render
from ablations.results.statistics import delta_of
from ablations.results.tables import study_table
from ablations.study import load_study, shipped_configs
from tests.results.fabricate import fabricate, write_study

OURS = delta_of([1.0, 1.4, 1.2, 0.9, 1.1, 1.3])


@pytest.mark.parametrize(
    ("paper", "p_holm", "sign"),
    [
        (2.0, 0.01, "agrees"),
        (-2.0, 0.01, "disagrees"),
        (2.0, 0.05, "undecided"),
        (2.0, float("nan"), "undecided"),
        (0.0, 0.01, "undecided"),
    ],
)
def test_the_sign(paper, p_holm, sign):
    assert compare(paper, OURS, p_holm, same_data=False, sd=0.2).sign == sign


def test_sizes_are_compared_on_the_same_data_alone():
    other = compare(2.0, OURS, 0.01, same_data=False, sd=0.2)
    assert (other.ratio, other.ratio_interval, other.paper_interval) == (None, None, None)
    same = compare(2.0, OURS, 0.01, same_data=True, sd=0.2)
    assert same.ratio == pytest.approx(1.15 / 2)
    assert same.ratio_interval == pytest.approx(tuple(end / 2 for end in OURS.interval))


def test_single_runs_leave_open_what_seeds_vary():
    half = 1.959964 * 2**0.5 * 0.2
    found = compare(-2.0, OURS, 0.01, same_data=True, sd=0.2)
    assert found.paper_interval == pytest.approx((-2 - half, -2 + half))
    assert found.ratio_interval[0] < found.ratio < found.ratio_interval[1] < 0
    assert compare(2.0, OURS, 0.01, same_data=True, sd=float("nan")).paper_interval is None


def test_one_pair_has_a_ratio_without_interval():
    found = compare(2.0, delta_of([1.0]), float("nan"), same_data=True, sd=0.1)
    assert (found.ratio, found.ratio_interval) == (0.5, None)


CLAIMS = """\
source: A paper
same_data: {switch: 0}
setup: {max_epochs: 90}
claims:
  helps: {says: It helps., delta: 0.5, data: Digits}
  elsewhere: {says: It helps., delta: 0.5, data: Letters, same_data: {switch: 7}}
  words: {says: It helps.}
"""
FULL = [3.0, 3.2, 3.1, 3.3, 3.4, 3.5]
OFF = [3.9, 4.3, 4.1, 4.3, 4.5, 4.4]


def compared(tmp_path, **claims):
    (tmp_path / "claims").mkdir(parents=True)
    (tmp_path / "claims" / "mine.yaml").write_text(CLAIMS)
    values = {"full": FULL} | {arm.replace("_", "-"): OFF for arm in claims}
    named = {arm.replace("_", "-"): f"mine#{row}" for arm, row in claims.items()}
    study = write_study(tmp_path, list(values), claims=named)
    return study_table(study, fabricate(study, tmp_path / "runs", values))


def test_on_the_same_data_sizes_are_compared(tmp_path):
    table = compared(tmp_path, off="helps")
    (section,) = table.sections
    (value,) = section.values
    assert value["same_data"] and value["sign"] == "agrees"
    assert value["ratio"] == pytest.approx(table.arms[0].delta.mean / 0.5)
    ((arm, paper, *_, sign, ratio, differs),) = section.rows
    assert (arm, sign, differs) == ("off", "agrees", "nothing that is known")
    assert paper.startswith("+0.5 ± 0.") and ratio.startswith("2.00 [")


def test_on_other_data_only_signs_are(tmp_path):
    table = compared(tmp_path, off="elsewhere", other="words")
    (section,) = table.sections
    ((arm, paper, *_, sign, ratio, differs),) = section.rows
    assert (arm, paper, sign, ratio) == ("off", "+0.5", "agrees", "")
    assert differs == "switch 0, not 7"
    told = json.loads(render(table, "json"))["agreement"]
    assert [(v["arm"], v["ratio"], v["same_data"]) for v in told] == [("off", None, False)]
    for kind in ("text", "markdown", "html"):
        assert "beside ours" in render(table, kind)


def test_settings_that_differ_are_found_by_the_last_part_of_their_keys():
    study = load_study("imagenet-lrn")
    assert differing({"path": ["imagenet", "ilsvrc2012"], "image_size": 224}, study) == {}
    assert differing({"path": "ilsvrc2010", "max_epochs": 90}, study) == {
        "path": ("imagenet", "ilsvrc2010")
    }
    assert differing({"colour": 1}, study) == {"colour": (None, 1)}
    digits = load_study("lrn")
    assert differing({"init_args.image_size": 224, "e_size": 3}, digits) == {
        "init_args.image_size": (8, 224),
        "e_size": (None, 3),
    }


def test_shipped_studies_of_the_papers_data_are_told_from_others(tmp_path):
    claim = load_claims(shipped_configs() / "claims" / "alexnet.yaml")["lrn"]
    assert differing(claim.same_data, load_study("imagenet-lrn")) == {}
    assert set(differing(claim.same_data, load_study("lrn"))) == {"path", "image_size"}
    assert set(differing(claim.setup, load_study("lrn"))) == {"max_epochs", "width"}


def test_what_the_baseline_arm_sets_differs_too(tmp_path):
    study = write_study(tmp_path, ["full", "off"])
    arms = [replace(study.arms[0], overrides={"trainer": {"max_epochs": 3}}), study.arms[1]]
    found = differing({"max_epochs": 90, "limit": None}, replace(study, arms=tuple(arms)))
    assert found == {"max_epochs": (3, 90)}
