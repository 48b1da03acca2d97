"""Delta table -> text, Markdown, LaTeX, HTML, CSV, JSON."""

import html
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ablations.results.columns import Column, beside_briefly, beside_columns, columns
from ablations.results.export import to_csv, to_json
from ablations.results.rows import DeltaTable
from ablations.results.sections import escaped, section_html, section_markdown, section_rich
from ablations.results.wording import answer, heading

Format = Literal["text", "markdown", "latex", "html", "csv", "json"]
_COLOURS = {"worse": "red", "better": "green", "equivalent": "cyan", "undecided": "yellow"}
_GAP = 2
# Columns whose cells may be folded, and the least that they are folded to.
_FOLDED = {"arm": 16, "marks": 12}
# What a narrow terminal does without; the notes name lost trials, and Holm's p decides.
_DISPENSABLE = ("sign-flip", "r", "diverged", "failed", "p", "SD", "mean")
_BESIDE = "Beside it, without verdicts"


def render(table: DeltaTable, format: Format = "text") -> str:
    """The table in one of the formats, without a line break at its end."""
    writers: dict[Format, Callable[[DeltaTable], str]] = {
        "text": to_text,
        "markdown": to_markdown,
        "latex": to_latex,
        "html": to_html,
        "csv": to_csv,
        "json": to_json,
    }
    return writers[format](table)


def to_rich(table: DeltaTable, width: int = 100) -> RenderableType:
    """The table for a terminal of that width: the deltas, what each arm costs, the answer."""
    found = columns(table)
    return Group(
        Text(table.question, style="bold"),
        Text(heading(table), style="dim"),
        Text(),
        _block(table, _fitting([column for column in found if not column.cost], width), width),
        *_beside(table, width),
        _block(table, [found[0], *(column for column in found if column.cost)], width),
        Text(answer(table), style="bold"),
        *(Text(note, style="dim") for note in table.notes),
        *(section_rich(section) for section in table.sections if not section.report_only),
    )


def _beside(table: DeltaTable, width: int) -> list[RenderableType]:
    """The further metrics, as many side by side as the width takes."""
    arms, *metrics = beside_briefly(table)
    blocks: list[list[Column]] = []
    for column in metrics:
        taken = sum(other.width + _GAP for other in blocks[-1]) if blocks else width
        if taken + column.width > width:
            blocks.append([arms])
        blocks[-1].append(column)
    head = Text(f"{_BESIDE}: mean ± SD of {table.baseline.arm}, deltas with 95% intervals")
    return [head, *(_block(table, block, width) for block in blocks)] if blocks else []


def _fitting(found: list[Column], width: int) -> list[Column]:
    for head in _DISPENSABLE:
        if _needed(found) > width:
            found = [column for column in found if column.head != head]
    return found


def _needed(found: Sequence[Column]) -> int:
    return sum(_least(column) + _GAP for column in found) - _GAP


def _least(column: Column) -> int:
    return min(column.width, _FOLDED.get(column.head, column.width))


def _widths(shown: Sequence[Column], width: int) -> dict[str, int]:
    """Of the columns that may be folded, the first as wide as it can be; none where all is cut."""
    found: dict[str, int] = {}
    spare = width - _needed(shown)
    for column in shown:
        if spare >= 0 and column.head in _FOLDED:
            least = _least(column)
            found[column.head] = min(column.width, least + spare)
            spare -= found[column.head] - least
    return found


def _block(table: DeltaTable, shown: Sequence[Column], width: int) -> RenderableType:
    widths = _widths(shown, width)
    block = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP - 1, 0, 0), show_edge=False)
    for column in shown:
        folded = column.head in (*_FOLDED, "changes")
        block.add_column(
            column.head,
            justify="left" if column.is_words else "right",
            no_wrap=not folded,
            width=widths.get(column.head),
            overflow="fold",
            style="bold" if column.is_delta else None,
        )
    for number, row in enumerate(table.rows):
        colour = _COLOURS.get(row.verdict, "")
        texts = (
            Text(
                column.cells[number].replace("; ", "\n" if column.head == "marks" else "; "),
                colour if column.is_delta or column.head == "verdict" else "",
            )
            for column in shown
        )
        block.add_row(*texts)
    return Padding(block, (0, 0, 1, 0))


def to_text(table: DeltaTable, width: int = 100) -> str:
    """The same as plain text of at most `width` columns."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, force_terminal=False).print(
        to_rich(table, width)
    )
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())


def to_markdown(table: DeltaTable) -> str:
    """A pipe table, the answer above it, further metrics and the notes below."""
    lines = [
        f"**{escaped(answer(table))}**",
        "",
        escaped(heading(table)),
        "",
        *_pipes(columns(table)),
    ]
    if beside := beside_columns(table):
        lines += ["", f"{_BESIDE}:", "", *_pipes(beside)]
    lines += ["", *(f"- {escaped(note)}" for note in table.notes)]
    for section in table.sections:
        if not section.report_only:
            lines += ["", section_markdown(section)]
    return "\n".join(lines)


def _pipes(found: Sequence[Column]) -> Iterator[str]:
    yield f"| {' | '.join(column.head for column in found)} |"
    yield f"|{'|'.join(':--' if column.is_words else '--:' for column in found)}|"
    for number in range(len(found[0].cells)):
        cells = [escaped(column.cells[number]) for column in found]
        cells = [f"**{c}**" if f.is_delta else c for f, c in zip(found, cells, strict=True)]
        yield f"| {' | '.join(cells)} |"


def to_latex(table: DeltaTable) -> str:
    """Tabulars in the style of booktabs, the answer and the notes as comments."""
    lines = [f"% {answer(table)}", r"% needs \usepackage{booktabs}", *_tabular(columns(table))]
    if beside := beside_columns(table):
        lines += [f"% {_BESIDE}:", *_tabular(beside)]
    return "\n".join([*lines, *(f"% {note}" for note in table.notes)])


def _tabular(found: Sequence[Column]) -> list[str]:
    body = [
        " & ".join(_tex(column.cells[number]) for column in found) + r" \\"
        for number in range(len(found[0].cells))
    ]
    return [
        rf"\begin{{tabular}}{{{''.join('l' if c.is_words else 'r' for c in found)}}}",
        r"\toprule",
        " & ".join(_tex(column.head) for column in found) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]


_TEX = {
    "\\": r"\textbackslash{}",
    "→": r"$\rightarrow$",
    "≠": r"$\neq$",
    "±": r"$\pm$",
    "–": "--",
    "~": r"$\sim$",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    **{special: f"\\{special}" for special in "&%$#_{}"},
}


def _tex(text: str) -> str:
    if text[:1] in ("+", "-") and text[1:].replace(".", "").isdigit():
        return f"${text}$"
    return "".join(_TEX.get(character, character) for character in text)


def to_html(table: DeltaTable) -> str:
    """Table elements and the list of notes, styled by classes alone."""
    notes = "".join(f"<li>{html.escape(note)}</li>\n" for note in table.notes)
    deltas = html_table(table, columns(table))
    more = "".join(f"\n{section_html(section)}" for section in table.sections)
    return f'{deltas}\n{beside_html(table)}<ul class="notes">\n{notes}</ul>{more}'


def html_table(table: DeltaTable, shown: Sequence[Column]) -> str:
    """Some columns as a table element; a row's class is its verdict."""
    return _element(shown, [row.verdict for row in table.rows])


def beside_html(table: DeltaTable) -> str:
    """The further metrics as a table element, empty where there are none."""
    found = beside_columns(table)
    if not found:
        return ""
    kinds = ["baseline" if cell == "baseline" else "" for cell in found[2].cells]
    return f"<p>{_BESIDE}:</p>\n{_element(found, kinds)}\n"


def _element(shown: Sequence[Column], kinds: Sequence[str]) -> str:
    classes = [
        f"{column.head.split()[-1].lower()}{' words' if column.is_words else ''}"
        for column in shown
    ]
    heads = "".join(
        f'<th class="{kind}">{html.escape(column.head)}</th>'
        for column, kind in zip(shown, classes, strict=True)
    )
    body = []
    for number, row_class in enumerate(kinds):
        cells = "".join(
            f'<td class="{kind}">{html.escape(column.cells[number])}</td>'
            for column, kind in zip(shown, classes, strict=True)
        )
        body.append(f'<tr class="{row_class}">{cells}</tr>\n')
    return (
        f'<table class="delta">\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{''.join(body)}</tbody>\n</table>"
    )
