import re

import pytest

from ablations.results import index, notebook
from ablations.study import InputError
from tests.conftest import Ablate
from tests.results.fabricate import METRIC, fabricate, write_study
from tests.results.test_overview import FULL, two_studies


@pytest.fixture(autouse=True)
def unexecuted(monkeypatch):
    """Notebooks are executed in other tests; a kernel takes seconds to start."""
    monkeypatch.setattr(notebook, "execute", lambda *_: None)


def sections(text):
    """The lines below each heading."""
    found = re.split(r"^## (.*)$", text, flags=re.M)
    return dict(zip(found[1::2], found[2::2], strict=True))


def test_the_index_says_what_agrees_and_links_everything(tmp_path):
    workspace = two_studies(tmp_path)
    out = tmp_path / "reports"
    out.mkdir()
    (out / "depth.md").write_text("# What each layer is worth\n")
    (out / "depth.png").write_bytes(b"")
    written = index.write_folder(workspace, out)
    text = (out / "README.md").read_text(encoding="utf-8")
    assert "2 studies. Claims of papers: 1 agrees, 1 disagrees, 11 not run." in text
    found = sections(text)
    assert list(found) == ["Agrees", "Disagrees", "Not run", "The studies", "Also here"]
    assert "[one: off](one.md): +1.000 [" in found["Agrees"]
    assert "6 seeds, 5 epochs" in found["Agrees"]
    assert "the sign is the other one. Unlike the paper's: " in found["Disagrees"]
    assert found["Not run"].count("\n- ") == 11
    one, two = found["The studies"].split("\n| ")[2:]
    assert "Question one?" in one
    assert "off worse, +1.000 [" in one
    assert "off better, -1.000 [" in two
    assert "12 trials, 0.8 min; cpu, 1 thread" in one
    assert "`ablate run one.yaml`" in one
    assert "[What each layer is worth](depth.md)" in found["Also here"]
    assert "[depth](depth.png)" in found["Also here"]
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert {"one.html", "one.ipynb", "one.md", "one.csv", "claims.png"} <= set(links)
    assert all((out / link).is_file() for link in links)
    assert all(path.is_file() for path in written)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'(?:href|src)="([^"]*)"', page) == links
    assert '<td class="said">' in page
    assert "<script" not in page
    assert (out / "one.md").read_text().startswith("# Question one?\n\n**off raises")


def test_written_again_it_is_the_same(tmp_path):
    workspace = two_studies(tmp_path)
    texts = []
    for _ in range(2):
        index.write_folder(workspace, tmp_path / "reports")
        texts.append((tmp_path / "reports" / "README.md").read_text())
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("claim", "noise", "stand", "why"),
    [
        ("overlapping-pooling", 1.0, "Undecided", r"after 6 seeds, which see ±\d.* with 80% power"),
        ("weight-decay", 0.1, "Not comparable", f"the paper says nothing of {METRIC}"),
    ],
)
def test_why_a_claim_is_open(tmp_path, claim, noise, stand, why):
    claims = {"off": f"alexnet#{claim}"}
    study = write_study(tmp_path, ["full", "off"], claims=claims)
    off = [value + 0.1 + noise * (-1) ** i for i, value in enumerate(FULL)]
    workspace = fabricate(study, tmp_path / "runs", {"full": FULL, "off": off})
    index.write_folder(workspace, tmp_path / "reports")
    text = (tmp_path / "reports" / "README.md").read_text(encoding="utf-8")
    assert re.search(why, sections(text)[stand].replace("\\", ""))


def test_somebody_elses_readme_is_left_alone(tmp_path):
    workspace = two_studies(tmp_path)
    (tmp_path / "README.md").write_text("# My project\n")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"README\.md: is somebody else's"):
        index.write_folder(workspace, tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_each_goes_with_all(ablate: Ablate) -> None:
    told = ablate("report", "quickstart", "--each")
    assert (told.code, told.errors) == (2, ["error: --each: goes with --all"])
