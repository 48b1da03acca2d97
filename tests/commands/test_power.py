"""``ablate plan --pilot | --sd``."""

import json
from pathlib import Path

import numpy as np
import pytest

from ablations.results.planning import equivalence_chance, sd_of_difference, seeds_needed, upper_sd
from tests.conftest import Ablate
from tests.results.fabricate import fabricate, write_study

VALUES = {
    "full": [12.0, 12.4, 11.9, 12.6],
    "off": [13.1, 13.3, 12.8, 13.9],
    "half": [12.2, 12.1, 12.4, 12.0],
}


def planned(ablate: Ablate, *arguments: str) -> dict:
    told = ablate("plan", *arguments, "--format", "json")
    assert (told.code, told.errors) == (0, [])
    return json.loads(told.out)


def test_a_given_sd_needs_no_study(ablate: Ablate, tmp_path: Path) -> None:
    plan = planned(ablate, "--sd", "0.25", "--effect", "0.4")
    (row,) = plan["wanted"]
    assert (row["unpaired"], row["paired"]) == (8, 9)
    assert (plan["given"]["seeds"], plan["given"]["trials"]) == (6, 12)
    assert not (tmp_path / "runs").exists()
    told = ablate("plan", "--sd", "0.25", "--effect", "0.4").out
    assert "no margin: no arm can come out equivalent" in told


def test_a_pilot_plans_with_the_upper_limit_of_its_sd(ablate: Ablate, tmp_path: Path) -> None:
    fabricate(write_study(tmp_path, list(VALUES), seeds=4), tmp_path / "runs", VALUES)
    plan = planned(ablate, "--pilot", "known.yaml", "--effect", "0.8", "--effect", "0.4")
    sd = np.sqrt(np.mean([np.var(v, ddof=1) for v in VALUES.values()]))
    rho = np.mean([np.corrcoef(VALUES["full"], VALUES[arm])[0, 1] for arm in ("off", "half")])
    assert (plan["sd"], plan["df"]) == (pytest.approx(sd), 9)
    assert plan["correlation"] == pytest.approx(rho)
    cautious = upper_sd(sd, 9)
    assert [row["effect"] for row in plan["wanted"]] == [0.4, 0.8]
    for row in plan["wanted"]:
        expected = seeds_needed(row["effect"], sd_of_difference(cautious, rho), 0.05 / 2)
        assert row["holm_paired"] == expected
        assert row["gpu_hours"] == pytest.approx(3 * expected * 4.15 / 3600)


def test_the_planned_study_gives_its_arms_seeds_and_margin(ablate: Ablate, tmp_path: Path) -> None:
    write_study(tmp_path, list(VALUES), seeds=6, margin=1.0)
    asked = ("known.yaml", "--sd", str(1 / 2**0.5), "--seconds", "60")
    plan = planned(ablate, *asked)
    given = plan["given"]
    assert (plan["arms"], given["seeds"], given["trials"]) == (2, 6, 18)
    assert given["gpu_hours"] == pytest.approx(0.3)
    # The margin is one SD of the differences.
    chances = [equivalence_chance(1.0, 1.0, 6, alpha) for alpha in (0.05, 0.025)]
    assert given["equivalence_chance"] == pytest.approx(chances)
    assert chances[0] == pytest.approx(0.41, abs=0.005)
    assert "warning: with this margin" in ablate("plan", *asked).out
    assert "warning" not in ablate("plan", *asked, "--margin", "3").out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name a study"),
        (("--effect", "1"), "--effect: goes with --pilot or --sd"),
        (("known.yaml", "--seeds", "4"), "--seeds: goes with --pilot or --sd"),
        (("--sd", "0"), "--sd: expected a number above 0"),
        (("--sd", "nan"), "--sd: expected a number above 0"),
        (("--sd", "1", "--correlation", "1"), "--correlation: expected a number between"),
        (("--sd", "1", "--effect", "0"), "--effect: expected a number other than 0"),
        (("--sd", "1", "--seeds", "1"), "--seeds: one seed has no spread"),
        (("--sd", "1", "--margin", "0"), "--margin: expected a number above 0"),
        (("--pilot", "known.yaml"), "--pilot: no arm has two seeds"),
        (("--pilot", "knwn.yaml"), 'did you mean "known.yaml"'),
    ],
)
def test_a_plan_that_cannot_be_made_is_one_line(
    ablate: Ablate, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    write_study(tmp_path, ["full", "off"])
    ended = ablate("plan", *arguments)
    assert ended.code == 2 and told in ended.errors[0] and len(ended.errors) == 1
    assert not (tmp_path / "runs").exists()


def test_a_pilot_of_another_metric_is_refused(ablate: Ablate, tmp_path: Path) -> None:
    fabricate(write_study(tmp_path, list(VALUES), seeds=4), tmp_path / "runs", VALUES)
    (tmp_path / "other.yaml").write_text(
        (tmp_path / "known.yaml").read_text().replace("test/top1_error", "test/loss")
    )
    ended = ablate("plan", "other.yaml", "--pilot", "known.yaml")
    assert (
        ended.code == 2 and "measured test/top1_error, other asks for test/loss" in ended.errors[0]
    )
