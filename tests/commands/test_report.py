from pathlib import Path

import pytest

from tests.conftest import Ablate
from tests.toy import edit_base, write_project


@pytest.mark.parametrize("arguments", [(), ("--all", "quickstart")])
def test_report_takes_a_study_or_all(ablate: Ablate, arguments: tuple[str, ...]) -> None:
    told = ablate("report", *arguments)
    assert (told.code, told.errors) == (2, ["error: report: give either a study or --all"])


def test_report_of_all_needs_a_workspace(ablate: Ablate) -> None:
    told = ablate("report", "--all")
    assert told.code == 2
    assert "run one first" in told.errors[-1]


def test_a_report_does_not_replace_a_study_that_was_run_by_another_of_its_name(
    ablate: Ablate, tmp_path: Path
) -> None:
    study = write_project(tmp_path, seeds=2)
    ablate("run", "toy.yaml", "--no-report")
    recorded = tmp_path / "runs" / "studies" / "toy" / "study.yaml"
    was = recorded.read_text(encoding="utf-8")
    edit_base(tmp_path, {"trainer.max_epochs": 1})
    told = ablate("report", "toy.yaml")
    assert told.code == 2
    assert told.errors == [
        f"error: {study.name}: what was run under this name is another study; "
        "report runs/studies/toy/study.yaml instead"
    ]
    assert recorded.read_text(encoding="utf-8") == was
    assert not (tmp_path / "reports").exists()
