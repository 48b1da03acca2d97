"""Delta table -> text, Markdown, LaTeX, HTML, CSV, JSON."""

import html
import io
from collections.abc import Callable, Sequence
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ablations.results.columns import Column, columns
from ablations.results.export import to_csv, to_json
from ablations.results.rows import DeltaTable
from ablations.results.wording import answer, heading

Format = Literal["text", "markdown", "latex", "html", "csv", "json"]
_COLOURS = {"worse": "red", "better": "green", "equivalent": "cyan", "undecided": "yellow"}
_GAP = 2
_NARROWEST_ARM = 16
# What a narrow terminal does without; the notes name lost trials, and Holm's p decides.
_DISPENSABLE = ("diverged", "failed", "p", "SD")


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
        _block(table, _fitting([column for column in found if not column.cost], width)),
        _block(table, [found[0], *(column for column in found if column.cost)]),
        Text(answer(table), style="bold"),
        *(Text(note, style="dim") for note in table.notes),
    )


def _fitting(found: list[Column], width: int) -> list[Column]:
    for head in _DISPENSABLE:
        arm, *rest = found
        needed = sum(column.width + _GAP for column in rest) + min(arm.width, _NARROWEST_ARM)
        if needed > width:
            found = [column for column in found if column.head != head]
    return found


def _block(table: DeltaTable, shown: Sequence[Column]) -> RenderableType:
    block = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP - 1, 0, 0), show_edge=False)
    for column in shown:
        block.add_column(
            column.head,
            justify="left" if column.is_words else "right",
            no_wrap=column.head not in ("arm", "changes"),
            overflow="fold",
            style="bold" if column.head == "delta" else None,
        )
    for number, row in enumerate(table.rows):
        colour = _COLOURS.get(row.verdict, "")
        texts = (
            Text(column.cells[number], colour if column.head in ("delta", "verdict") else "")
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
    """A pipe table, the answer above it and the notes below."""
    found = columns(table)
    lines = [
        f"**{_md(answer(table))}**",
        "",
        _md(heading(table)),
        "",
        f"| {' | '.join(column.head for column in found)} |",
        f"|{'|'.join(':--' if column.is_words else '--:' for column in found)}|",
    ]
    for number in range(len(table.rows)):
        cells = [_md(column.cells[number]) for column in found]
        cells = [f"**{c}**" if f.head == "delta" else c for f, c in zip(found, cells, strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"- {_md(note)}" for note in table.notes)])


def _md(text: str) -> str:
    for special in "\\|*_<`":
        text = text.replace(special, f"\\{special}")
    return text


def to_latex(table: DeltaTable) -> str:
    """A tabular in the style of booktabs, the answer and the notes as comments."""
    found = columns(table)
    body = [
        " & ".join(_tex(column.cells[number]) for column in found) + r" \\"
        for number in range(len(table.rows))
    ]
    return "\n".join(
        [
            f"% {answer(table)}",
            r"% needs \usepackage{booktabs}",
            rf"\begin{{tabular}}{{{''.join('l' if c.is_words else 'r' for c in found)}}}",
            r"\toprule",
            " & ".join(_tex(column.head) for column in found) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {note}" for note in table.notes),
        ]
    )


_TEX = {
    "\\": r"\textbackslash{}",
    "→": r"$\rightarrow$",
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
    """A table element and the list of notes, styled by classes alone."""
    notes = "".join(f"<li>{html.escape(note)}</li>\n" for note in table.notes)
    return f'{html_table(table, columns(table))}\n<ul class="notes">\n{notes}</ul>'


def html_table(table: DeltaTable, shown: Sequence[Column]) -> str:
    """Some columns as a table element; a row's class is its verdict."""
    classes = [
        f"{column.head.split()[-1].lower()}{' words' if column.is_words else ''}"
        for column in shown
    ]
    heads = "".join(
        f'<th class="{kind}">{html.escape(column.head)}</th>'
        for column, kind in zip(shown, classes, strict=True)
    )
    body = []
    for number, row in enumerate(table.rows):
        cells = "".join(
            f'<td class="{kind}">{html.escape(column.cells[number])}</td>'
            for column, kind in zip(shown, classes, strict=True)
        )
        body.append(f'<tr class="{row.verdict}">{cells}</tr>\n')
    return (
        f'<table class="delta">\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{''.join(body)}</tbody>\n</table>"
    )
