"""What a table says in words: the answer in one sentence, and what to beware of."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from ablations.results.frame import ENDED, find_holes
from ablations.results.numbers import interval_text, signed
from ablations.results.rows import DeltaTable, Row
from ablations.results.statistics import MIN_PAIRS_FOR_VERDICT
from ablations.study import Study


def digits_for(table: DeltaTable) -> int:
    """Decimals that show two figures of the typical spread of the differences."""
    spreads = [row.delta.sd for row in table.arms if row.delta.sd > 0 and not row.delta.degenerate]
    spreads = spreads or [row.sd for row in table.rows if row.sd > 0] or [0.1]
    return int(np.clip(1 - math.floor(math.log10(float(np.median(spreads)))), 0, 8))


def is_percentage(metric: str, values: Iterable[float]) -> bool:
    """Whether a metric is a rate in percent, as far as its name and its values tell."""
    named = re.search(r"(^|[/_.])(top\d+_)?(acc|accuracy|error_rate|top\d+_error)$", metric)
    return named is not None and any(1.5 < value <= 100 for value in values)


def _points(table: DeltaTable) -> str:
    percent = is_percentage(table.metric.name, [row.mean for row in table.rows])
    return " points" if percent else ""


def heading(table: DeltaTable) -> str:
    """What is measured against what, in one line."""
    better = "lower" if table.metric.mode == "min" else "higher"
    margin = "no margin" if table.margin is None else f"margin {table.margin:g}"
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
    text = f"So far, with {_count(table.unfinished, 'trial')} to come, " if table.unfinished else ""
    if len(table.arms) == 1:
        text += _one(table, compared[0])
    else:
        text += f"{'against' if text else 'Against'} {_many(table, _seeds(compared))}"
    failed = sum(row.failed for row in table.rows)
    diverged = sum(row.diverged for row in table.rows)
    lost = [
        f"{_count(n, 'trial')} {how}"
        for n, how in ((failed, "failed"), (diverged, "diverged"))
        if n
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
    if row.verdict in ("better", "worse"):
        verb, way = ("raises", 1) if mean > 0 else ("lowers", -1)
        low, high = sorted(way * end for end in interval)
        moved = f"{verb} {row.metric.name} by {way * mean:.{digits}f}{_points(table)}"
        shown = f" [{low:.{digits}f}, {high:.{digits}f}]" if math.isfinite(low) else ""
    else:
        moved = f"changes {row.metric.name} by {signed(mean, digits)}{_points(table)}"
        shown = f" {interval_text(interval, digits)}".rstrip()
    within = f" within {table.margin:g}" if row.verdict == "equivalent" else ""
    over = f"against {table.baseline.arm} ({_seeds([row])})"
    return f"{row.arm} {moved}{shown} {over}: {row.verdict}{within}"


def _seeds(rows: Sequence[Row]) -> str:
    low, high = min(row.pairs for row in rows), max(row.pairs for row in rows)
    return f"{_count(low, 'paired seed')}" if low == high else f"{low} to {high} paired seeds"


def _many(table: DeltaTable, seeds: str) -> str:
    digits = digits_for(table)
    parts = []
    for verdict in ("worse", "better", "equivalent", "undecided"):
        found = [row for row in table.arms if row.verdict == verdict and row.pairs]
        if found:
            named = [f"{row.arm} ({signed(row.delta.mean, digits)})" for row in found]
            within = f" within {table.margin:g}" if verdict == "equivalent" else ""
            verb = "is" if len(found) == 1 else "are"
            parts.append(f"{listed(named)} {verb} {verdict}{within}")
    without = [row.arm for row in table.arms if not row.pairs]
    if without:
        parts.append(f"{listed(without)} cannot be compared")
    return f"{table.baseline.arm} on {table.metric.name}, {'; '.join(parts)} ({seeds})"


def notes(
    frame: pd.DataFrame,
    study: Study,
    rows: Sequence[Row],
    grown: Sequence[Mapping[str, int]],
) -> tuple[str, ...]:
    """Sentences to print below the table: what the interval covers, and every reason for care.

    Args:
        frame: The trials.
        study: Whose trials they are.
        rows: The table's rows, the baseline first.
        grown: The looks at which there were fewer trials than now.
    """
    arms = rows[1:]
    tested = sum(math.isfinite(row.p_holm) for row in arms)
    said = ["Interval: 95%, paired t over seeds: new seeds, this test set."]
    if tested:
        said[0] += f" Holm: p corrected for {_count(tested, 'comparison')}."
    if grown:
        then = min(min(look.values(), default=0) for look in grown)
        now = max(row.planned for row in rows)
        said.append(
            f"Exploratory: seeds were added, from {then} to {now}, after a verdict had been shown."
        )
    said += _hole_notes(frame, rows)
    said += [
        f"{row.arm} is read on {row.metric.name}, {study.baseline} on {study.metric.name}."
        for row in arms
        if row.metric != study.metric
    ]
    few = [row.arm for row in arms if 0 < row.pairs < MIN_PAIRS_FOR_VERDICT]
    if few:
        said.append(
            f"Fewer than {MIN_PAIRS_FOR_VERDICT} paired seeds decide nothing: {listed(few)}."
        )
    same = [row.arm for row in arms if row.delta.degenerate]
    if same:
        said.append(f"The same difference for every seed, so a sign-flip p: {listed(same)}.")
    said += _code_notes(frame)
    for row in arms:
        if row.claim is not None:
            data = f" ({row.claim.data})" if row.claim.data else ""
            place = f"{row.claim.id}, {row.claim.place_in_source}".removesuffix(", ")
            said.append(f"Paper beside {row.arm}{data}: {row.claim.says.rstrip('.')} [{place}].")
    return tuple(said)


def _hole_notes(frame: pd.DataFrame, rows: Sequence[Row]) -> list[str]:
    said = []
    coming = int((~frame["state"].isin(ENDED)).sum())
    if coming:
        said.append(f"Still to come: {coming} of {len(frame)} trials.")
    for arm, seeds in find_holes(frame).missing.items():
        states: dict[str, list[str]] = {}
        for seed, state in seeds.items():
            if state in ENDED:
                word = "finished without the metric" if state == "done" else state
                states.setdefault(word, []).append(str(seed))
        parts = [
            f"seed{'s' * (len(found) > 1)} {listed(found)} {state}"
            for state, found in states.items()
        ]
        if parts:
            said.append(f"{arm}: {'; '.join(parts)}.")
    unstable = [row.arm for row in rows[1:] if row.diverged]
    if unstable:
        said.append(
            f"Where trials diverged ({listed(unstable)}), the delta is given that they train, and "
            "the arm is neither better nor equivalent."
        )
    metrics = {row.arm: row.metric for row in rows}
    shared: dict[tuple[str, str], set[str]] = {}
    for arm, trial in zip(frame["arm"], frame["trial"], strict=True):
        shared.setdefault((trial, metrics[arm].name), set()).add(arm)
    twins = {tuple(sorted(names)) for names in shared.values() if len(names) > 1}
    return said + [f"{listed(names)} are the same trials." for names in sorted(twins)]


def _code_notes(frame: pd.DataFrame) -> list[str]:
    ended = frame[frame["state"].isin(("done", "diverged"))]
    said = []
    commits = ended["commit"].astype(object).fillna("no commit").value_counts()
    if len(commits) > 1:
        named = [f"{str(commit)[:9]} ({count})" for commit, count in commits.items()]
        said.append(f"The trials were trained at different commits: {listed(named)}.")
    dirty = sum(value is True for value in ended["dirty"])
    if dirty:
        said.append(f"{dirty} of {len(ended)} trials were trained with uncommitted changes.")
    return said


def listed(names: Iterable[str]) -> str:
    """Names as a phrase: "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
