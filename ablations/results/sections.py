"""Small tables beside the delta table: text, Markdown, HTML and plain values of each."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Section:
    """A table with a title, rounded for people, and its values for programs.

    Attributes:
        key: Under which its values stand in JSON.
        rows: A cell for each head, aligned left where the head is among `words`.
        notes: Sentences below.
        values: Full precision, None for what is not finite.
        report_only: Left out on a terminal and in Markdown.
        brief: A sentence that stands below the delta table itself.
    """

    key: str
    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[str, ...]
    notes: tuple[str, ...]
    values: Sequence[Mapping[str, Any]]
    report_only: bool = False
    brief: str = ""


def plain(value: Any) -> Any:
    """A value as JSON takes it: None for what is not finite, lists for tuples and arrays."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def section_rich(section: Section) -> RenderableType:
    """For a terminal."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for head in section.heads:
        left = head in section.words
        table.add_column(head, justify="left" if left else "right", overflow="fold")
    for row in section.rows:
        table.add_row(*map(Text, row))
    shown = [Padding(table, (0, 0, 1, 0))] if section.rows else []
    said = (Text(note, style="dim") for note in section.notes)
    return Group(Text(), Text(section.title, style="bold"), *shown, *said)


def section_markdown(section: Section) -> str:
    """A heading, a pipe table and a list."""
    lines = [f"### {escaped(section.title)}", ""]
    if section.rows:
        sides = (":--" if head in section.words else "--:" for head in section.heads)
        lines += [_line(section.heads), f"|{'|'.join(sides)}|"]
        lines += [*(_line(row) for row in section.rows), ""]
    return "\n".join([*lines, *(f"- {escaped(note)}" for note in section.notes)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    for special in "\\|*_<`":
        text = text.replace(special, f"\\{special}")
    return text


def section_html(section: Section) -> str:
    """A heading, a table element and the list of notes."""
    kinds = [
        ("words arm" if head == "arm" else "words") if head in section.words else ""
        for head in section.heads
    ]

    def cells(tag: str, texts: Sequence[str]) -> str:
        pairs = zip(texts, kinds, strict=True)
        return "".join(f'<{tag} class="{k}">{html.escape(text)}</{tag}>' for text, k in pairs)

    table = ""
    if section.rows:
        body = "".join(f"<tr>{cells('td', row)}</tr>\n" for row in section.rows)
        head = f"<thead><tr>{cells('th', section.heads)}</tr></thead>"
        table = f"<table>\n{head}\n<tbody>\n{body}</tbody>\n</table>\n"
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in section.notes)
    title = html.escape(section.title)
    return f'<h2>{title}</h2>\n{table}<ul class="notes">{notes}</ul>'
