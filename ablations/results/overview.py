"""The report of a whole workspace: every study's answer, and a paper's claims beside them."""

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablations.results.figures import FAINT, INK, PALETTE, style
from ablations.results.forest import reach
from ablations.results.fragments import deltas_html
from ablations.results.notebook import notebook_of, write_notebook
from ablations.results.paper import (
    NOTES,
    Answered,
    ClaimRow,
    Stand,
    delta_and_interval,
    shown,
    studies_in,
    words_html,
)
from ablations.results.wording import answer, digits_for, heading, is_percentage
from ablations.workspace import Workspace

NAME = "overview"
TITLE = "What the studies of this workspace found"
_SIGNS: dict[Stand, tuple[str, str]] = {
    "agrees": ("o", PALETTE[0]),
    "disagrees": ("X", PALETTE[1]),
    "undecided": ("s", "#777777"),
}
_COLUMNS = [
    "component removed",
    "paper",
    "unrounded",
    "paper's data",
    "independent",
    "ours",
    "verdict",
    "our data",
    "study: arm",
]
_SETUP = """\
from pathlib import Path

from IPython.display import HTML, Image

from ablations.results import figures, overview, paper
from ablations.workspace import Workspace

workspace = Workspace(Path(workspace_folder))
answers = [paper.answered(study, workspace) for study in paper.studies_in(workspace)]
rows = paper.claim_rows(answers, paper.named_papers(answers))


def show(figure, alt):
    if figure is not None:
        return Image(figures.png(figure), width=figure.get_figwidth() * 100, alt=alt)"""
_SECTIONS: tuple[tuple[str, str, str], ...] = (
    (
        "Agreement with the paper",
        "A claim agrees where our difference is decided and has the paper's sign; it disagrees "
        "where the sign is the other one, or where the study's margin has no room for the claim.",
        "HTML(overview.stands_html(rows))",
    ),
    ("", "", 'show(overview.claims_figure(rows), "The paper\'s differences and ours")'),
    (
        "Every difference",
        "The paper's, rounded and as its lab notes have it; single runs of others; ours.",
        "HTML(overview.claims_html(rows))",
    ),
    ("Study by study", "", "HTML(overview.studies_html(answers))"),
)


def write_overview(workspace: Workspace, out: Path) -> tuple[Path, Path]:
    """Write ``overview.ipynb``, executed, and ``overview.html`` into a folder.

    Both read the workspace alone, as a study's report does.

    Raises:
        InputError: The workspace holds no study, or the folder cannot be written.
    """
    studies_in(workspace)
    return write_notebook(build, workspace, out, NAME, TITLE)


def build(workspace_folder: str) -> Any:
    """The notebook, not yet executed."""
    return notebook_of(
        TITLE,
        f"workspace_folder = {workspace_folder!r}",
        _SETUP,
        "HTML(overview.summary_html(answers, rows))",
        _SECTIONS,
    )


def summary(answers: Sequence[Answered], rows: Sequence[ClaimRow]) -> str:
    """How many studies, and how many claims stand how."""
    counts = {stand: sum(row.stand == stand for row in rows) for stand in get_args(Stand)}
    told = ", ".join(f"{count} {stand}" for stand, count in counts.items() if count)
    studies = f"{len(answers)} {'study' if len(answers) == 1 else 'studies'}"
    claims = f"Claims of papers: {told}." if told else "No study here names a paper's claim."
    return f"{studies}. {claims}"


def summary_html(answers: Sequence[Answered], rows: Sequence[ClaimRow]) -> str:
    """The same as a paragraph."""
    return f'<p class="answer">{html.escape(summary(answers, rows))}</p>'


def stands_html(rows: Sequence[ClaimRow]) -> str:
    """What agrees with the paper, what does not, what is undecided or was not asked, and why."""
    parts = []
    for stand in get_args(Stand):
        found = [row for row in rows if row.stand == stand]
        items = "".join(f"<li>{_stand(row)}</li>\n" for row in found)
        if found:
            parts.append(f"<h3>{stand.capitalize()}</h3>\n<ul>\n{items}</ul>")
    return "\n".join(parts)


def _stand(each: ClaimRow) -> str:
    claim, row, found = each.claim, each.row, each.answer
    says = html.escape(claim.says)
    if row is None or found is None:
        return f"{says} <em>{html.escape(each.why)}.</em>"
    digits = digits_for(found.table)
    ours = delta_and_interval(row, digits) or "no pair"
    told = f"{found.study.name}, {row.arm}: {ours} on {row.metric.name}, {row.verdict}"
    told += f" ({found.setting.data}; {found.setting.budget})"
    return f"{says}<br>\n{html.escape(told)}. <em>{html.escape(each.why)}.</em>"


def claims_html(rows: Sequence[ClaimRow]) -> str:
    """The table of all differences, its notes below; nothing without claims."""
    if not rows:
        return ""
    table = words_html(shown(rows)[_COLUMNS])
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in NOTES)
    return f'{table}\n<ul class="notes">{notes}</ul>'


def studies_html(answers: Sequence[Answered]) -> str:
    """Each study's question, answer and deltas, with a link to its own report where it is here."""
    parts = []
    for each in answers:
        name = html.escape(each.study.name)
        page = Path(f"{each.study.name}.html")
        title = f'<a href="{html.escape(page.as_posix())}">{name}</a>' if page.exists() else name
        parts.append(
            f"<h3>{title}: {html.escape(each.study.question)}</h3>\n"
            f'<p class="answer">{html.escape(answer(each.table))}</p>\n'
            f'<p class="measured">{html.escape(heading(each.table))}. '
            f"{html.escape(each.setting.data)}: {html.escape(each.setting.budget)}.</p>\n"
            f"<details><summary>Its table</summary>\n{deltas_html(each.table)}\n</details>"
        )
    return "\n".join(parts)


def claims_figure(rows: Sequence[ClaimRow]) -> Figure | None:
    """Ours with its interval against the paper's figure, a row per arm; None without any.

    Only differences in percentage points are drawn. Signs stand for agreement, colours repeat them.
    """
    drawn = [each for each in rows if _in_points(each)]
    if not drawn:
        return None
    with style():
        figure = Figure(figsize=(8.6, 1.5 + 0.42 * len(drawn)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=1, zorder=1)
        for y, each in enumerate(drawn):
            _claim_row(axes, each, y)
        names = [f"{e.answer.study.name}: {e.row.arm}" for e in drawn if e.answer and e.row]
        axes.set_yticks(range(len(drawn)), names)
        axes.set_ylim(len(drawn) - 0.4, -0.6)
        claimed = [
            found.number
            for each in drawn
            for claim in (each.claim, *each.beside)
            if each.row and (found := claim.delta_for(each.row.metric))
        ]
        axes.set_xlim(*reach([each.row for each in drawn if each.row], claimed))
        axes.set_xlabel("error without the component - error with it (percentage points)")
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(left=False)
        present = [stand for stand in _SIGNS if any(each.stand == stand for each in drawn)]
        for stand in present:
            marker, colour = _SIGNS[stand]
            axes.plot([], [], marker, color=colour, label=f"ours, {stand}")
        axes.plot([], [], "*", markersize=11, color="white", markeredgecolor=INK)
        axes.lines[-1].set_label("the paper, on its own data")
        axes.plot([], [], "|", markersize=9, color=FAINT, label="others' single runs")
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def _in_points(each: ClaimRow) -> bool:
    row = each.row
    if row is None or each.answer is None or each.stand not in _SIGNS:
        return False
    if not row.pairs or row.metric.threshold:
        return False
    return is_percentage(row.metric.name, [r.mean for r in each.answer.table.rows])


def _claim_row(axes: Axes, each: ClaimRow, y: int) -> None:
    row = each.row
    if row is None or each.stand not in _SIGNS:
        return
    marker, colour = _SIGNS[each.stand]
    for beside in each.beside:
        other = beside.delta_for(row.metric)
        if other is not None:
            axes.plot(other.number, y, "|", markersize=11, color=FAINT, zorder=2)
    low, high = row.delta.interval
    if math.isfinite(low):
        axes.plot([low, high], [y, y], color=colour, linewidth=2.4, solid_capstyle="butt")
    axes.plot(row.delta.mean, y, marker, color=colour, markersize=8, markeredgecolor="white")
    claimed = each.claim.delta_for(row.metric)
    if claimed is not None:
        axes.plot(claimed.number, y, "*", markersize=12, color="white", markeredgecolor=INK)
    place = axes.get_yaxis_transform()
    axes.text(1.02, y, each.stand, transform=place, va="center", fontsize=9)
