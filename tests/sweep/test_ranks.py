"""What several ranks say of one trial, made into one outcome."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from ablations.study import Study
from ablations.sweep.job import Outcome
from ablations.sweep.ranks import RankDied, _answer
from ablations.workspace import read_json
from tests.sweep.conftest import order

DONE = Outcome("id", "done")
PREEMPTED = Outcome("id", "preempted")
FULL = Outcome("id", "no space", "No space left on device", failed=2.0)
EARLY, LATE = (Outcome("id", "failed", f"ValueError: {t}", failed=t) for t in (1.0, 3.0))


@pytest.mark.parametrize(
    ("said", "outcome", "failure"),
    [
        ((DONE, None), DONE, None),
        ((LATE, EARLY), EARLY, "ValueError: 1.0"),
        ((EARLY, LATE), EARLY, None),  # the first rank writes its own
        ((PREEMPTED, LATE), PREEMPTED, None),
        ((FULL, LATE), FULL, None),
        ((LATE, FULL), FULL, None),
    ],
)
def test_what_the_first_to_end_said_counts(
    toy: Study,
    tmp_path: Path,
    said: tuple[Outcome | None, ...],
    outcome: Outcome,
    failure: str | None,
) -> None:
    for rank, each in enumerate(said):
        if each is not None:
            (tmp_path / f"{rank}.pickle").write_bytes(pickle.dumps(each))
    told = replace(order(toy, tmp_path / "trial"), devices=2)
    assert _answer(tmp_path, told, tmp_path / "output.txt") == outcome
    written = read_json(tmp_path / "trial" / "failure.json") or {}
    assert written.get("error") == failure


def test_ranks_that_say_nothing_were_killed(toy: Study, tmp_path: Path) -> None:
    (tmp_path / "output.txt").write_text("Killed\n")
    with pytest.raises(RankDied, match="Killed"):
        _answer(
            tmp_path, replace(order(toy, tmp_path / "trial"), devices=2), tmp_path / "output.txt"
        )
