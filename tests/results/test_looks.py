from dataclasses import replace

import pytest

from ablations.results.looks import wanted_seeds
from tests.results.fabricate import fabricate, write_study

PLAN = {"start": 3, "max": 9, "step": 3}
BASE = [3.0, 3.2, 3.1, 3.3, 3.4, 3.5, 3.2, 3.1, 3.3]
WORSE = [v + d for v, d in zip(BASE, [5.0, 5.1, 4.9, 5.0, 5.2, 4.8, 5.0, 5.1, 4.9], strict=True)]
OPEN = [v + d for v, d in zip(BASE, [0.5, -0.4, 0.1, 0.3, -0.3, 0.2, 0, 0.1, -0.2], strict=True)]


def ask(tmp_path, full, worse, maybe, **extra):
    study = write_study(tmp_path, ["full", "worse", "maybe"], **{"seeds": PLAN, **extra})
    values = {"full": full, "worse": worse, "maybe": maybe}
    return wanted_seeds(study, fabricate(study, tmp_path / "runs", values))


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ((0, 0, 0), (3, 3, 3)),
        ((3, 3, 2), (3, 3, 3)),
        ((3, 3, 3), (6, 3, 6)),
        ((6, 3, 5), (6, 3, 6)),
        ((6, 3, 6), (9, 3, 9)),
        ((6, 6, 6), (9, 3, 9)),
        ((9, 3, 9), (9, 3, 9)),
    ],
)
def test_open_arms_and_the_baseline_go_on_a_clear_one_stops(tmp_path, there, wanted):
    full, worse, maybe = there
    found = ask(tmp_path, BASE[:full], WORSE[:worse], OPEN[:maybe])
    assert found == dict(zip(("full", "worse", "maybe"), wanted, strict=True))


def test_lost_trials_have_ended_and_interrupted_ones_have_not(tmp_path):
    lost = [OPEN[0], "failed", "diverged"]
    assert ask(tmp_path / "a", BASE[:3], WORSE[:3], lost)["maybe"] == 6
    cut = [OPEN[0], "interrupted", OPEN[2]]
    found = ask(tmp_path / "b", BASE[:3], WORSE[:3], cut)
    assert found == {"full": 3, "worse": 3, "maybe": 3}


def test_no_more_seeds_are_wanted_than_the_study_has(tmp_path):
    study = write_study(tmp_path, ["full", "maybe"], seeds=PLAN)
    values = {"full": BASE, "maybe": OPEN}
    workspace = fabricate(study, tmp_path / "runs", values)
    assert wanted_seeds(replace(study, seeds=(0, 1)), workspace) == {"full": 2, "maybe": 2}
    assert wanted_seeds(replace(study, seeds=tuple(range(30))), workspace)["full"] == 9


def test_without_a_plan_every_seed_is_wanted(tmp_path):
    found = ask(tmp_path, BASE[:3], WORSE[:3], [], seeds=5)
    assert found == {"full": 5, "worse": 5, "maybe": 5}
