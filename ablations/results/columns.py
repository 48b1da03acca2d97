"""The columns of a delta table as rounded text, the same in every format for people."""

import math
from dataclasses import dataclass
from typing import Any

from ablations.results.numbers import (
    duration,
    fixed,
    interval_text,
    p_text,
    signed,
)
from ablations.results.numbers import quantity as quantity
from ablations.results.rows import DeltaTable, Reading, Row
from ablations.results.scale import delta_interval_text, delta_text
from ablations.results.wording import digits_for, digits_of


@dataclass(frozen=True)
class Column:
    """A head and a cell per row of the table.

    `cost` marks what an arm changes and costs, the rest is the answer. `needed` columns stand
    even where they are empty.
    """

    head: str
    cells: tuple[str, ...]
    cost: bool = False
    needed: bool = True

    @property
    def is_words(self) -> bool:
        """To be aligned left."""
        return self.head in ("arm", "verdict", "marks", "changes", "metric")

    @property
    def is_delta(self) -> bool:
        """To stand out."""
        return self.head in ("delta", "ratio")

    @property
    def width(self) -> int:
        """Characters of the widest line."""
        return max(map(len, (self.head, *self.cells)))


def columns(table: DeltaTable) -> list[Column]:
    """Every column that has something to say.

    Failed and diverged counts, the paper's figures and costs stand only where there are any. An
    asterisk beside a verdict says that a note explains it.
    """
    digits = digits_for(table)
    rows, arms = table.rows, [row.verdict != "baseline" for row in table.rows]

    def of_arms(*texts: str) -> tuple[str, ...]:
        return tuple(text if arm else "" for text, arm in zip(texts, arms, strict=True))

    intervals = (delta_interval_text(row.metric, row.delta.interval, digits) for row in rows)
    all_columns = [
        Column("arm", tuple(row.arm for row in rows)),
        Column(
            "delta" if table.metric.threshold is None else "ratio",
            tuple(_delta(row, digits) for row in rows),
        ),
        Column("95% interval", of_arms(*intervals)),
        Column("verdict", of_arms(*(row.verdict + "*" * ("*" in row.marks) for row in rows))),
        Column("paper", tuple(_paper(row) for row in rows), needed=False),
        Column("n", tuple(_of(row.n, row.planned) for row in rows)),
        Column("mean", tuple(fixed(row.mean, digits) for row in rows)),
        Column("SD", tuple(fixed(row.sd, digits) for row in rows)),
        Column("p", of_arms(*(p_text(row.delta.p) for row in rows))),
        Column("Holm", of_arms(*(p_text(row.p_holm) for row in rows))),
        Column(
            "sign-flip", of_arms(*(p_text(row.delta.p_sign_flip) for row in rows)), needed=False
        ),
        Column("r", of_arms(*(_correlation(row) for row in rows)), needed=False),
        Column("failed", tuple(str(row.failed or "") for row in rows), needed=False),
        Column("diverged", tuple(str(row.diverged or "") for row in rows), needed=False),
        Column("marks", tuple("; ".join(_words(row)) for row in rows), needed=False),
        Column("parameters", tuple(quantity(row.parameters) for row in rows), True, False),
        Column("FLOPs", tuple(quantity(row.flops) for row in rows), True, False),
        Column("seconds", tuple(duration(row.seconds) for row in rows), True, False),
        Column("changes", tuple(changes_text(row) for row in rows), True, False),
    ]
    return [column for column in all_columns if column.needed or any(column.cells)]


def beside_columns(table: DeltaTable) -> list[Column]:
    """The further metrics in full, a row for each metric and arm; none where there are none."""
    each = [
        (row, reading, digits)
        for at, digits in enumerate(_digits_beside(table))
        for row in table.rows
        for reading in row.beside[at : at + 1]
    ]
    cells = [
        (
            reading.metric.name,
            row.arm,
            *_delta_beside(row, reading, digits),
            str(reading.n),
            fixed(reading.mean, digits),
            fixed(reading.sd, digits),
        )
        for row, reading, digits in each
    ]
    heads = ("metric", "arm", "delta", "95% interval", "n", "mean", "SD")
    columns = zip(*cells, strict=True)
    return [Column(head, column) for head, column in zip(heads, columns, strict=False)]


def beside_briefly(table: DeltaTable) -> list[Column]:
    """A column for each further metric: the baseline's mean ± SD, then deltas and intervals."""
    found = [Column("arm", tuple(row.arm for row in table.rows))]
    for at, digits in enumerate(_digits_beside(table)):
        base = table.baseline.beside[at]
        first = f"{fixed(base.mean, digits)} ± {fixed(base.sd, digits)}"
        rest = (" ".join(_delta_beside(r, r.beside[at], digits)).rstrip() for r in table.arms)
        found.append(Column(base.metric.name, (first, *rest)))
    return found


def _digits_beside(table: DeltaTable) -> list[int]:
    return [digits_of(of) for of in zip(*(row.beside for row in table.rows), strict=True)]


def _delta_beside(row: Row, reading: Reading, digits: int) -> tuple[str, str]:
    if row.verdict == "baseline":
        return "baseline", ""
    delta = reading.delta
    shown = signed(delta.mean, digits) if delta.n else "–"
    return shown, interval_text(delta.interval, digits)


def changes_text(row: Row) -> str:
    """What an arm changes, each key by its last part: "lrn: true → false"."""
    return ", ".join(
        f"{key.rsplit('.', 1)[-1]}: {_plain(change[0])} → {_plain(change[-1])}"
        for key, change in row.changes.items()
    )


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, dict) and "class_path" in value:
        return str(value["class_path"]).rsplit(".", 1)[-1]
    if isinstance(value, list | tuple):
        return f"[{', '.join(_plain(inner) for inner in value)}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _delta(row: Row, digits: int) -> str:
    if row.verdict == "baseline":
        return "baseline"
    return delta_text(row.metric, row.delta, digits)


def _paper(row: Row) -> str:
    figure = row.claim and row.claim.delta_for(row.metric)
    return figure.shown if figure else "in words" if row.claim else ""


def _words(row: Row) -> list[str]:
    return [mark for mark in row.marks if mark != "*"]


def _correlation(row: Row) -> str:
    r = row.delta.correlation
    return signed(r, 2).replace("0.", ".") if math.isfinite(r) else ""


def _of(n: int, planned: int) -> str:
    return str(n) if n == planned else f"{n}/{planned}"
