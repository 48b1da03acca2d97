import json
import re
import shutil
import sys
from html.parser import HTMLParser

import nbformat
import pytest

from ablations.results.notebook import execute, write_report
from ablations.results.tables import study_table
from ablations.results.wording import answer
from ablations.study import InputError
from ablations.workspace import Workspace, write_json
from tests.results.fabricate import fabricate, write_study

QUESTION = "Does <it> matter & by how much?"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    study = write_study(
        folder, ["full", "off"], margin=1.0, claims={"off": "alexnet#lrn"}, question=QUESTION
    )
    values = {"full": [3.0, 3.1, 3.3, 3.2, 3.4, 3.5], "off": [4.9, 5.2, "failed", 5.0, 5.3, 5.6]}
    workspace = fabricate(study, folder / "runs", values)
    return study, workspace, *write_report(study, workspace, folder / "reports")


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.loads, self.links, self.text, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "srcset", "href", "data", "poster", "background", "action"):
                (self.links if tag == "a" else self.loads).append(value)
            if name == "style" or name.startswith("on"):
                self.loads += re.findall(r"url\([^)]*\)|https?:", value)

    def handle_data(self, data):
        self.text.append(data)
        if self.tags and self.tags[-1] == "style":
            self.loads += re.findall(r"url\([^)]*\)|@import.*", data)


@pytest.fixture(scope="module")
def page(written):
    page = _Page()
    page.feed(written[3].read_text(encoding="utf-8"))
    return page


def test_the_page_asks_the_network_nothing(page):
    assert page.loads
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert "script" not in page.tags
    assert "iframe" not in page.tags


def test_the_page_tells_the_whole_study(written, page):
    study, workspace, _, _ = written
    text = " ".join("".join(page.text).split())
    assert QUESTION in text
    assert answer(study_table(study, workspace)) in text
    for word in ("off: seed 2 failed.", "model.init_args.switch", "abcdef1234"):
        assert word in text
    for word in ("2.13.0", "12.0k", "All 12 trials", "baseline: full", "alexnet#lrn"):
        assert word in text
    assert page.tags.count("img") == 3
    assert "trial_frame(" not in text


def test_trial_folders_are_links_from_the_page(written, page):
    assert len(page.links) == 12
    assert all((written[3].parent / link / "config.yaml").is_file() for link in page.links)


def test_the_notebook_is_executed_and_quiet(written):
    notebook = nbformat.read(written[2], as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {output.output_type for cell in code for output in cell.outputs}
    assert kinds <= {"execute_result", "display_data"}
    assert "parameters" in code[0].metadata.tags


def test_the_notebook_executes_again_elsewhere_from_the_workspace_alone(written, tmp_path):
    study, workspace, notebook, _ = written
    shutil.copytree(workspace.root, tmp_path / "runs")
    (tmp_path / "reports").mkdir()
    again = nbformat.read(notebook, as_version=4)
    for cell in again.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    again.cells.append(nbformat.v4.new_code_cell("import sys\nprint(sys.executable)"))
    execute(again, tmp_path / "reports")
    assert answer(study_table(study, workspace)) in again.cells[3].outputs[0].data["text/html"]
    assert again.cells[-1].outputs[0].text.strip() == sys.executable


def test_links_to_a_tracking_server(written):
    from ablations.results.fragments import trials_html
    from ablations.results.frame import trial_frame

    study, workspace, _, _ = written
    frame = trial_frame(study, workspace)
    trial = frame["trial"].iloc[0]
    memory = {
        "uri": "http://host:5000",
        "experiment": "7",
        "runs": {f"{trial} full": {"run": "r1"}},
    }
    file = workspace.study_folder(study.name) / "tracking.json"
    write_json(file, memory)
    try:
        fragment = trials_html(frame, study_table(study, workspace), workspace)
    finally:
        file.unlink()
    assert 'href="http://host:5000/#/experiments/7/runs/r1"' in fragment


def test_a_study_that_was_never_run_has_no_report(tmp_path):
    study = write_study(tmp_path, ["full", "off"])
    with pytest.raises(InputError, match="no trials"):
        write_report(study, Workspace(tmp_path / "runs"), tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


def test_a_place_that_cannot_be_written_is_told(written, tmp_path):
    study, workspace, _, _ = written
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as caught:
        write_report(study, workspace, tmp_path / "file" / "reports")
    assert caught.value.file == tmp_path / "file" / "reports"


def test_paths_of_this_machine_stay_out_of_the_report(written):
    _, workspace, notebook, html = written
    for file in (notebook, html):
        assert str(workspace.root) not in file.read_text(encoding="utf-8")
    assert json.loads(notebook.read_text())["metadata"]["kernelspec"]["name"] == "python3"
