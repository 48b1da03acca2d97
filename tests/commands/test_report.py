import pytest

from tests.conftest import Ablate


@pytest.mark.parametrize("arguments", [(), ("--all", "quickstart")])
def test_report_takes_a_study_or_all(ablate: Ablate, arguments: tuple[str, ...]) -> None:
    told = ablate("report", *arguments)
    assert (told.code, told.errors) == (2, ["error: report: give either a study or --all"])


def test_report_of_all_needs_a_workspace(ablate: Ablate) -> None:
    told = ablate("report", "--all")
    assert told.code == 2
    assert "run one first" in told.errors[-1]
