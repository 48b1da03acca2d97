"""A worker elsewhere works only where it sees what the parent sees."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ablations.study import InputError, Study
from ablations.sweep.executors.remote import Visit, unfinished
from ablations.sweep.job import Job
from ablations.workspace import write_json
from tests.sweep.conftest import order


def test_the_same_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_JOB_NAME", "ablate")
    visit = Visit.begin(Path("runs"))
    (tmp_path / "elsewhere").mkdir()
    os.chdir("elsewhere")
    visit.enter()
    assert Path.cwd() == tmp_path
    assert os.environ["SLURM_JOB_NAME"] == "interactive"
    visit.end()
    assert list((tmp_path / "runs").iterdir()) == []


def test_another_workspace(tmp_path: Path) -> None:
    visit = Visit.begin(tmp_path)
    for wrong in (replace(visit, workspace=tmp_path / "no"), replace(visit, token="other")):
        with pytest.raises(InputError, match="does not see this workspace; it has to lie"):
            wrong.check(patience=0.1)
    with pytest.raises(InputError, match="does not see this folder, in which"):
        replace(visit, home=tmp_path / "no").check(patience=0.1)


def test_a_later_sweep_takes_over(tmp_path: Path) -> None:
    first = Visit.begin(tmp_path)
    second = Visit.begin(tmp_path)
    assert (first.valid(), second.valid()) == (False, True)
    first.end()
    assert second.valid()


def test_what_was_finished_is_not_done_again(toy: Study, tmp_path: Path) -> None:
    job = Job(tuple(order(toy, tmp_path / str(seed), seed=seed) for seed in range(3)))
    write_json(tmp_path / "1" / "result.json", {})
    assert [each.trial for each in unfinished(job).orders] == ["full-0", "full-2"]
