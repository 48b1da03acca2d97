import re

import nbformat
import pytest

from ablations.results import overview, paper
from ablations.results.notebook import to_page
from ablations.study import InputError
from ablations.workspace import Workspace
from tests.results.fabricate import fabricate, write_study

FULL = [30.0, 30.3, 29.8, 30.1, 30.2, 29.9]


def two_studies(folder, claims=True):
    found = (("one", 1.0, "lrn", 0), ("two", -1.0, "overlapping-pooling", 10))
    for name, by, claim, first in found:
        named = {"claims": {"off": f"alexnet#{claim}"}} if claims else {}
        seeds = list(range(first, first + 6))
        study = write_study(folder, ["full", "off"], seeds, question=f"Question {name}?", **named)
        off = [value + by + 0.05 * (-1) ** i for i, value in enumerate(FULL)]
        workspace = fabricate(study, folder / "runs", {"full": FULL, "off": off})
        (workspace.root / "studies" / "known").rename(workspace.root / "studies" / name)
    return workspace


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overview")
    workspace = two_studies(folder)
    (folder / "reports").mkdir()
    (folder / "reports" / "two.html").write_text("its own report")
    return overview.write_overview(workspace, folder / "reports")


def test_the_page_answers_every_study_and_claim(written):
    page = " ".join(re.sub(r"<[^>]*>", " ", written[1].read_text(encoding="utf-8")).split())
    assert "2 studies. Claims of papers: 1 agrees, 1 disagrees, 11 not run." in page
    assert "one, off: +1.000" in page
    assert "the sign is the other one" in page
    for question in ("Question one?", "Question two?"):
        assert question in page
    agrees, disagrees = page.index("Agrees"), page.index("Disagrees")
    assert agrees < page.index("one, off") < disagrees < page.index("two, off")


def test_the_page_links_to_the_reports_that_are_there_and_loads_nothing(written):
    page = written[1].read_text(encoding="utf-8")
    assert re.findall(r'href="([^"]*)"', page) == ["two.html"]
    assert all(load.startswith("data:image/png") for load in re.findall(r'src="([^"]*)"', page))
    assert "<script" not in page


def test_the_notebook_is_executed(written):
    notebook = nbformat.read(written[0], as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count and not cell.get("errors") for cell in code)
    assert to_page(notebook, "again").count("<img") == 1


def test_studies_without_claims_have_their_answers_alone(tmp_path):
    workspace = two_studies(tmp_path, claims=False)
    answers = [paper.answered(study, workspace) for study in paper.studies_in(workspace)]
    rows = paper.claim_rows(answers, paper.named_papers(answers))
    assert rows == []
    assert "No study here names a paper" in overview.summary_html(answers, rows)
    assert overview.claims_figure(rows) is None
    assert overview.claims_html(rows) == overview.stands_html(rows) == ""


def test_an_empty_workspace_is_refused(tmp_path):
    with pytest.raises(InputError, match="run one first"):
        overview.write_overview(Workspace(tmp_path / "runs"), tmp_path / "reports")
    assert list(tmp_path.iterdir()) == []
