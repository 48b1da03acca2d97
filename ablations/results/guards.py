"""Whether the arms of a table can be compared: budgets, training, code."""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from ablations.results.frame import METRIC_PREFIX
from ablations.results.numbers import quantity
from ablations.results.rows import Caution, Row
from ablations.results.wording import listed
from ablations.study import Study

# A denominator whose values differ by less than this share only divides by a constant.
_INACTIVE = 0.02
_LOW = "_low"
# Arms whose parameters differ by no larger share count as equal: controls are no closer.
_ALIKE = 0.02


def guards(study: Study, frame: pd.DataFrame, rows: Sequence[Row]) -> Iterator[Caution]:
    """What makes a comparison unfair or empty, marked in the rows that it is about."""
    done = frame[frame["state"] == "done"]
    yield from _of_epochs(study, done, rows)
    yield from _of_parameters(rows)
    yield from _of_tuning(rows)
    yield from _of_norms(done, rows)
    if study.weights == "best":
        yield Caution("Metrics are those of each trial's best checkpoint, not of its last epoch.")
    yield from map(Caution, _of_code(frame))


def _of_epochs(study: Study, done: pd.DataFrame, rows: Sequence[Row]) -> Iterator[Caution]:
    epochs = {row.arm: sorted(set(done.loc[done["arm"] == row.arm, "epochs"])) for row in rows}
    usual = epochs[study.baseline]
    unequal = [arm for arm, found in epochs.items() if found and usual and found != usual]
    if unequal:
        each = [f"{arm} {_range(epochs[arm])}" for arm in [study.baseline, *unequal]]
        yield Caution(f"Unequal epochs: {listed(each)}.", dict.fromkeys(unequal, "≠ epochs"))
    cut = done["arm"][done["stopped_early"].eq(True)].value_counts(sort=False)
    if len(cut):
        each = [f"{arm} ({n})" for arm, n in cut.items()]
        told = f"Trials that ended before their schedule did: {listed(each)}."
        yield Caution(told, dict.fromkeys(map(str, cut.index), "cut short"))


def _range(values: Sequence[float]) -> str:
    low, high = values[0], values[-1]
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _of_parameters(rows: Sequence[Row]) -> Iterator[Caution]:
    usual = rows[0].parameters
    unequal = [row for row in rows if math.isfinite(row.parameters - usual)]
    unequal = [row for row in unequal if abs(row.parameters - usual) > _ALIKE * usual]
    if unequal:
        each = [f"{row.arm} {100 * (row.parameters / usual - 1):+.2g}%" for row in unequal]
        told = f"Parameters differ from the {quantity(usual)} of {rows[0].arm}: {listed(each)}."
        yield Caution(told, {row.arm: "≠ parameters" for row in unequal})


def _of_tuning(rows: Sequence[Row]) -> Iterator[Caution]:
    tries = {row.arm: row.tries for row in rows if row.tries is not None}
    unequal = [arm for arm, number in tries.items() if number != rows[0].tries]
    if unequal:
        each = [f"{arm} {number}" for arm, number in tries.items()]
        told = f"Unequal tuning trials, which favours the arms with more: {listed(each)}."
        yield Caution(told, dict.fromkeys(unequal, "≠ tuning"))


def _of_norms(done: pd.DataFrame, rows: Sequence[Row]) -> Iterator[Caution]:
    prefix = f"{METRIC_PREFIX}lrn/"
    layers = [
        column.removeprefix(prefix).removesuffix(_LOW)
        for column in done.columns
        if column.startswith(prefix) and column.endswith(_LOW)
    ]
    idle: dict[str, list[str]] = {}
    for row in rows:
        trials = done[done["arm"] == row.arm]
        for layer in layers:
            low, high = trials[f"{prefix}{layer}_low"], trials[f"{prefix}{layer}_high"]
            if (high / low - 1).median() < _INACTIVE:
                idle.setdefault(row.arm, []).append(layer)
    arms_of: dict[str, list[str]] = {}
    for arm, found in idle.items():
        arms_of.setdefault(listed(found), []).append(arm)
    if idle:
        each = [f"{found} of {listed(arms)}" for found, arms in arms_of.items()]
        told = "Normalisation that is inactive, as 90% of its denominators lie within 2%: "
        marks = {arm: f"{listed(found)} inactive" for arm, found in idle.items()}
        yield Caution(f"{told}{'; '.join(each)}.", marks)


def _of_code(frame: pd.DataFrame) -> Iterator[str]:
    ended = frame[frame["state"].isin(("done", "diverged"))]
    commits = ended["commit"].astype(object).fillna("no commit").value_counts()
    if len(commits) > 1:
        named = [f"{str(commit)[:9]} ({count})" for commit, count in commits.items()]
        yield f"The trials were trained at different commits: {listed(named)}."
    dirty = sum(value is True for value in ended["dirty"])
    if dirty:
        yield f"{dirty} of {len(ended)} trials were trained with uncommitted changes."
