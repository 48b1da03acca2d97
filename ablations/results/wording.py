"""What a table says in words: what was measured, and the answer in one sentence."""

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

from ablations.results.numbers import interval_text, signed
from ablations.results.rows import DeltaTable, Reading, Row
from ablations.results.scale import delta_interval_text, delta_text, margin_text
from ablations.study import Metric


def digits_for(table: DeltaTable) -> int:
    """Decimals that show two figures of the typical spread of the differences."""
    return digits_of(table.rows)


def digits_of(rows: Sequence[Row | Reading]) -> int:
    """The same from the rows of a table, or from all arms' readings of one metric."""
    spreads = [row.delta.sd for row in rows if row.delta.sd > 0 and not row.delta.degenerate]
    spreads = spreads or [row.sd for row in rows if row.sd > 0] or [0.1]
    return int(np.clip(1 - math.floor(math.log10(float(np.median(spreads)))), 0, 8))


def is_percentage(metric: str, values: Iterable[float]) -> bool:
    """Whether a metric is a rate in percent, as far as its name and its values tell."""
    named = re.search(r"(^|[/_.])(top\d+_)?(acc|accuracy|error_rate|top\d+_error)$", metric)
    return named is not None and any(1.5 < value <= 100 for value in values)


def data_of(metric: Metric) -> str:
    """The examples that an interval over seeds speaks of, by the names of what is measured."""
    splits = {"test": "test set", "val": "validation set", "train": "training set"}
    found = {part for name in metric.needs for part in splits if re.match(part, name.lower())}
    return f"this {splits[found.pop()]}" if len(found) == 1 else "the same data"


def _points(table: DeltaTable) -> str:
    percent = is_percentage(table.metric.name, [row.mean for row in table.rows])
    return " points" if percent else ""


def _margin(table: DeltaTable) -> str:
    return margin_text(table.metric, table.margin or 0.0)


def heading(table: DeltaTable) -> str:
    """What is measured against what, in one line."""
    better = "lower" if table.metric.mode == "min" else "higher"
    margin = "no margin" if table.margin is None else f"margin {_margin(table)}"
    return f"{table.metric.name} ({better} is better), baseline {table.baseline.arm}, {margin}"


def answer(table: DeltaTable) -> str:
    """The study's question answered in one sentence, holes and all."""
    compared = [row for row in table.arms if row.pairs]
    if not compared:
        return (
            "No answer yet: no trial that can be compared has finished."
            if table.unfinished
            else "No answer: no seed has a value both in the baseline and in another arm."
        )
    text = f"So far, with {count(table.unfinished, 'trial')} to come, " if table.unfinished else ""
    if len(table.arms) == 1:
        text += _one(table, compared[0])
    else:
        text += f"{'against' if text else 'Against'} {_many(table, _seeds(compared))}"
    failed = sum(row.failed for row in table.rows)
    diverged = sum(row.diverged for row in table.rows)
    lost = [
        f"{count(n, 'trial')} {how}" for n, how in ((failed, "failed"), (diverged, "diverged")) if n
    ]
    asides = [listed(lost)] if lost else []
    if table.exploratory:
        asides.append("exploratory, as seeds were added after a verdict")
    return "; ".join([text, *asides]) + "."


def arm_answer(table: DeltaTable, row: Row) -> str:
    """One arm's verdict as a sentence."""
    return f"{_one(table, row)}."


def _one(table: DeltaTable, row: Row) -> str:
    if row.verdict == "baseline":
        return f"{row.arm} is the baseline"
    if not row.pairs:
        return f"{row.arm} cannot be compared: no seed has a value here and in the baseline"
    digits = digits_for(table)
    mean, interval = row.delta.mean, row.delta.interval
    if row.metric.threshold is not None:
        shown = f" {delta_interval_text(row.metric, interval, digits)}".rstrip()
        moved = f"takes {delta_text(row.metric, row.delta, digits)}"
        shown = f"{shown} the {row.metric.name}"
    elif row.verdict in ("better", "worse"):
        verb, way = ("raises", 1) if mean > 0 else ("lowers", -1)
        low, high = sorted(way * end for end in interval)
        moved = f"{verb} {row.metric.name} by {way * mean:.{digits}f}{_points(table)}"
        shown = f" [{low:.{digits}f}, {high:.{digits}f}]" if math.isfinite(low) else ""
    else:
        moved = f"changes {row.metric.name} by {signed(mean, digits)}{_points(table)}"
        shown = f" {interval_text(interval, digits)}".rstrip()
    within = f" within {_margin(table)}" if row.verdict == "equivalent" else ""
    over = f"against {table.baseline.arm} ({_seeds([row])})"
    trains = ", given that it trains" if row.diverged else ""
    return f"{row.arm} {moved}{shown} {over}{trains}: {row.verdict}{within}"


def _seeds(rows: Sequence[Row]) -> str:
    low, high = min(row.pairs for row in rows), max(row.pairs for row in rows)
    what = "paired seed" if rows[0].delta.paired else "unpaired seed"
    return count(low, what) if low == high else f"{low} to {high} {what}s"


def _many(table: DeltaTable, seeds: str) -> str:
    digits = digits_for(table)
    parts = []
    for verdict in ("worse", "better", "equivalent", "undecided"):
        found = [row for row in table.arms if row.verdict == verdict and row.pairs]
        if found:
            named = [f"{row.arm} ({delta_text(row.metric, row.delta, digits)})" for row in found]
            within = f" within {_margin(table)}" if verdict == "equivalent" else ""
            verb = "is" if len(found) == 1 else "are"
            parts.append(f"{listed(named)} {verb} {verdict}{within}")
    without = [row.arm for row in table.arms if not row.pairs]
    if without:
        parts.append(f"{listed(without)} cannot be compared")
    return f"{table.baseline.arm} on {table.metric.name}, {'; '.join(parts)} ({seeds})"


def listed(names: Iterable[str]) -> str:
    """Names as a phrase: "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def count(number: int, what: str) -> str:
    """A number with its noun: "1 trial", "2 trials"."""
    return f"{number} {what}{'s' * (number != 1)}"
