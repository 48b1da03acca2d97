"""A folder of reports: each study's report and tables, and an index that links and sums them up."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from ablations.results import overview, paper
from ablations.results.figures import png
from ablations.results.formats import render
from ablations.results.frame import ENDED
from ablations.results.notebook import page, write_report
from ablations.results.paper import Answered, ClaimRow
from ablations.results.sections import escaped
from ablations.results.wording import answer, count, digits_for
from ablations.study import InputError, shipped_configs
from ablations.workspace import Workspace, write_atomic

_MARK = "<!-- Written by `ablate report --all --each`; what is changed here is lost. -->"
_LINKS = {"page": "html", "notebook": "ipynb", "table": "md", "CSV": "csv"}
_NOTES = (
    "Ours: the arm's metric minus the baseline's, mean over paired seeds, with its 95% interval "
    "(Student's t). The verdict is corrected for the arms of its study (Holm).",
    "Agrees, disagrees: the difference is decided, and has the paper's sign or the other one; "
    "sizes are compared on the same data alone. Undecided: these seeds on these data do not tell, "
    "which is not the same as no effect; ± is what they would tell with 80% power. Not "
    "comparable: the paper says nothing of what was measured.",
    "Time: that of a study's trials one after another.",
)


def write_folder(workspace: Workspace, out: Path) -> list[Path]:
    """Write every study's report and tables, the overview, and the index.

    The index is ``README.md``, as code hosts show it, and the same as ``index.html``. Other tables
    and figures that lie in the folder are linked.

    Raises:
        InputError: The workspace holds no study, the folder has a README.md of somebody else's,
            or it cannot be written.
    """
    readme = out / "README.md"
    if readme.exists() and not readme.read_text(encoding="utf-8").startswith(_MARK):
        raise InputError("is somebody else's; choose another folder", file=readme)
    answers = [paper.answered(study, workspace) for study in paper.studies_in(workspace)]
    rows = paper.claim_rows(answers, paper.named_papers(answers))
    written: list[Path] = []
    for each in answers:
        written += write_report(each.study, workspace, out)
        for kind, format in (("md", "markdown"), ("csv", "csv")):
            written.append(out / f"{each.study.name}.{kind}")
            text = render(each.table, format)  # type: ignore[arg-type]
            title = f"# {escaped(each.study.question)}\n\n" if kind == "md" else ""
            write_atomic(written[-1], f"{title}{text}\n")
    written += overview.write_overview(workspace, out)
    figure = overview.claims_figure(rows)
    if figure is not None:
        written.append(out / "claims.png")
        write_atomic(written[-1], png(figure))
    own = {path.name for path in written} | {"README.md"}
    beside = [path for path in sorted(out.glob("*")) if path.name not in own]
    text = index(answers, rows, workspace, beside, figure is not None)
    write_atomic(readme, f"{_MARK}\n{text}\n")
    write_atomic(out / "index.html", page(_html(text), overview.TITLE))
    return [readme, out / "index.html", *written]


def index(
    answers: Sequence[Answered],
    rows: Sequence[ClaimRow],
    workspace: Workspace,
    beside: Sequence[Path] = (),
    figure: bool = False,
) -> str:
    """The index in Markdown: how the paper's claims stand and why, and a row for each study.

    Args:
        answers: What came out of each study.
        rows: Claims with the arms that answer them.
        workspace: Where the trials are.
        beside: Files of the same folder; Markdown pages and figures of them are linked.
        figure: Whether claims.png is there.
    """
    parts = [f"# {overview.TITLE}", escaped(overview.summary(answers, rows))]
    if figure:
        parts.append("![Each difference with its interval, and the paper's](claims.png)")
    for stand in get_args(paper.Stand):
        found = [row for row in rows if row.stand == stand]
        if found and stand == "not run":
            parts += ["## Not run", "\n".join(f"- {escaped(row.claim.says)}" for row in found)]
        elif found:
            heads = ("the paper's claim", "paper", "ours", "verdict", "our data and budget", "why")
            parts += [f"## {stand.capitalize()}", _pipes(heads, map(_claim_cells, found))]
    heads = ("question", "command", "data and budget", "time", "verdict", "report")
    parts += ["## The studies", _pipes(heads, (_study_cells(a, workspace) for a in answers))]
    parts.append("\n".join(f"- {note}" for note in _NOTES))
    links = [f"- [{escaped(_title(path))}]({path.name})" for path in beside if path.suffix == ".md"]
    links += [f"- [{path.stem}]({path.name})" for path in beside if path.suffix == ".png"]
    links.append("- [the overview as a page](overview.html) and [a notebook](overview.ipynb)")
    return "\n\n".join([*parts, "## Also here", "\n".join(links)])


def _claim_cells(each: ClaimRow) -> Iterator[str]:
    shown = paper.shown([each]).iloc[0]
    yield escaped(each.claim.says)
    source = each.claim.data
    yield escaped(shown["paper"] + (f" ({source})" if source else ""))
    name = each.answer.study.name if each.answer else ""
    ours = f"{shown['ours']} {shown['metric']}".strip()
    yield f"[{escaped(shown['study: arm'])}]({name}.md): {escaped(ours)}"
    yield escaped(shown["verdict"])
    yield escaped(f"{shown['our data']}: {shown['budget']}")
    yield escaped(f"{each.why}. Unlike the paper's: {shown['what differs']}")


def _study_cells(each: Answered, workspace: Workspace) -> Iterator[str]:
    name, table = each.study.name, each.table
    shipped = (shipped_configs() / f"{name}.yaml").exists()
    yield escaped(each.study.question)
    yield f"`ablate run {name}{'' if shipped else '.yaml'}`"
    yield escaped(f"{each.setting.data}: {each.setting.budget}")
    yield escaped(_time(each, workspace))
    if len(table.arms) == 1 and table.arms[0].pairs:
        row = table.arms[0]
        found = paper.delta_and_interval(row, digits_for(table))
        yield escaped(f"{row.arm} {row.verdict}, {found} {row.metric.name}")
    else:
        yield escaped(answer(table))
    yield ", ".join(f"[{what}]({name}.{kind})" for what, kind in _LINKS.items())


def _time(each: Answered, workspace: Workspace) -> str:
    """The trials that ended and what they took in all, and on what."""
    ended = each.frame[each.frame["state"].isin(ENDED)].drop_duplicates("trial")
    if ended.empty:
        return ""
    results = (workspace.result(trial) for trial in ended["trial"])
    used = [result["environment"] for result in results if result is not None]
    devices = {
        f"{found['device']}, {count(found['threads'], 'thread')}"
        if found["device"] == "cpu"
        else str(found["device"])
        for found in used
    }
    took = f"{count(len(ended), 'trial')}, {float(ended['seconds'].sum()) / 60:.1f} min"
    return "; ".join([took, *sorted(devices)])


def _title(path: Path) -> str:
    """The first heading of a Markdown page."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("#")), path.stem)


def _pipes(heads: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return "\n".join([lines[0], f"|{':--|' * len(heads)}", *lines[1:]])


def _html(text: str) -> str:
    from nbconvert.filters import markdown2html

    untyped: Any = markdown2html
    made: str = re.sub('<a class="anchor-link".*?</a>', "", untyped(text))
    # Words, which are broken and stand at the left, unlike the numbers of a report.
    for cell in ("td", "th"):
        made = made.replace(f'<{cell} style="text-align:left">', f'<{cell} class="said">')
    return f"<style>main {{ max-width: 84rem; }}</style>\n{made}"
