"""Seeds that stop when the answer is clear, and budgets: exact counts, whatever broke off when."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ablations.workspace import Workspace
from tests.conftest import Ablate, Told
from tests.toy import write_project

pytestmark = pytest.mark.usefixtures("untracked")
RUN = ("run", "toy.yaml", "--no-report")
PLAN = {"start": 3, "max": 9, "step": 3}
ARMS = {
    "full": {},
    # The same training with ten times the loss: clearly worse from the first look.
    "louder": {"model.init_args.scale": 10.0, "optimizer.init_args.lr": 0.03},
    "alike": {"model.init_args.dropout": 0.24},  # open to the last
}


def project(folder: Path) -> None:
    write_project(folder, arms=ARMS, seeds=PLAN, margin=None, metric="test/loss")


def trained(ablate: Ablate) -> Counter[str]:
    rows = json.loads(ablate("status", "toy.yaml", "--format", "json").out)["trials"]
    return Counter(row["arm"] for row in rows if row["state"] == "done")


def decisions(folder: Path) -> list[tuple[int, dict[str, int]]]:
    lines = (folder / "runs/studies/toy/decisions.jsonl").read_text().splitlines()
    return [(line["look"], line["wants"]) for line in map(json.loads, lines)]


WHOLE = {"full": 9, "louder": 3, "alike": 9}
LOOKS = [
    (3, {"full": 6, "louder": 3, "alike": 6}),
    (6, {"full": 9, "louder": 3, "alike": 9}),
    (9, {"full": 9, "louder": 3, "alike": 9}),
]


def test_seeds_go_to_open_arms_alone(ablate: Ablate, tmp_path: Path) -> None:
    project(tmp_path)
    told = ablate(*RUN)
    assert told.code == 0, told
    assert "3 arms, 3-9 seeds, 9 trials to run" in told.out
    said = [line for line in told.out.splitlines() if " seeds, " in line or "decided" in line]
    assert said[1:5] == [
        "louder: decided at 3 seeds",
        "alike: 3 seeds, undecided → 6",
        "alike: 6 seeds, undecided → 9",
        "alike: 9 seeds, the most that are planned",
    ]
    assert trained(ablate) == WHOLE
    assert decisions(tmp_path) == LOOKS
    told = ablate(*RUN)
    assert "0 trials to run, 21 already done" in told.out
    assert decisions(tmp_path) == LOOKS
    assert "3-9 seeds an arm" in ablate("status", "toy.yaml").out
    assert "21 trials, 21 done; 3-9 seeds an arm" in ablate("plan", "toy.yaml").out


def test_a_sweep_that_stops_anywhere_comes_to_the_same(ablate: Ablate, tmp_path: Path) -> None:
    project(tmp_path)
    stops = 0
    while "stopped by --max-trials" in (told := ablate(*RUN, "--max-trials", "5")).out:
        assert told.code == 0
        stops += 1
    assert stops == 4
    assert trained(ablate) == WHOLE
    assert decisions(tmp_path) == LOOKS


def test_a_look_that_was_not_written_down(ablate: Ablate, tmp_path: Path) -> None:
    project(tmp_path)
    ablate(*RUN, "--max-trials", "9")
    assert not (tmp_path / "runs/studies/toy/decisions.jsonl").exists()
    told = ablate(*RUN)
    assert "12 trials to run, 9 already done" not in told.out
    assert "6 trials to run, 9 already done" in told.out
    assert decisions(tmp_path) == LOOKS


def test_a_number_of_seeds_drops_the_plan(ablate: Ablate, tmp_path: Path) -> None:
    project(tmp_path)
    told = ablate(*RUN, "--seeds", "4")
    assert "12 trials to run" in told.out
    assert trained(ablate)["louder"] == 3  # the plan looks at its own first seeds
    told = ablate(*RUN)
    assert "4 trials to run, 11 already done" in told.out
    assert trained(ablate) == WHOLE


def finished(folder: Path) -> list[Any]:
    """Arms and seeds in the order in which their trials ended."""
    files = folder.glob("runs/trials/*/result.json")
    results = sorted((json.loads(file.read_text()) for file in files), key=lambda r: r["finished"])
    return [result["seed"] for result in results]


def test_a_stopped_sweep_is_balanced(ablate: Ablate, tmp_path: Path) -> None:
    write_project(tmp_path, seeds=3)
    told = ablate(*RUN, "--max-trials", "4")
    assert told.code == 0
    assert "stopped by --max-trials, 5 trials left" in told.out
    assert "run the same command again to go on" in told.out
    assert finished(tmp_path) == [0, 0, 0, 1]
    assert "no-bias" in told.out  # the table so far
    # What is lacking of the first seeds comes before the last seeds.
    first = next(iter(sorted(tmp_path.glob("runs/trials/*/result.json"))))
    lost = json.loads(first.read_text())["seed"]
    first.unlink()
    ablate(*RUN, "--max-trials", "1")
    assert finished(tmp_path)[-1] == lost
    told = ablate(*RUN)
    assert (told.code, "stopped" in told.out) == (0, False)
    assert sorted(finished(tmp_path)) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_budget_that_is_just_enough(ablate: Ablate, tmp_path: Path) -> None:
    write_project(tmp_path, seeds=1)
    told = ablate(*RUN, "--max-trials", "3")
    assert "stopped" not in told.out
    assert "0 trials to run" in ablate(*RUN, "--max-trials", "1").out


def test_no_hours_at_all(ablate: Ablate, tmp_path: Path) -> None:
    write_project(tmp_path, seeds=1)
    told = ablate(*RUN, "--max-hours", "0")
    assert told.code == 0
    assert "stopped by --max-hours, 3 trials left" in told.out
    assert not list(tmp_path.glob("runs/trials/*"))
    assert told_left(ablate(*RUN, "--max-trials", "1"))


def told_left(told: Told) -> bool:
    """Whether the line says how long the rest will take."""
    return "2 trials left, about " in told.out and "of one worker's time" in told.out


@pytest.mark.parametrize("value", ["-1", "soon"])
def test_hours_that_are_none(ablate: Ablate, tmp_path: Path, value: str) -> None:
    write_project(tmp_path)
    assert ablate(*RUN, "--max-hours", value).code == 2
    assert not Workspace(tmp_path / "runs").root.exists()
