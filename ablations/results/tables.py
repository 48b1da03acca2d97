"""Trial frame -> delta table: a row per arm, each against the baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from ablations.results.cautions import cautions
from ablations.results.claims import Claim, study_claims
from ablations.results.diverged import divergence_p
from ablations.results.frame import ENDED, metric_column, trial_frame, values_by_seed
from ablations.results.looks import Look, read_looks, standings, unplanned, wanted
from ablations.results.planning import MOST_SEEDS, further_seeds
from ablations.results.rows import DeltaTable, Reading, Row
from ablations.results.sequential import Standing
from ablations.results.statistics import (
    ALPHA,
    MIN_PAIRS_FOR_VERDICT,
    Delta,
    paired_delta,
    spread,
    welch_delta,
)
from ablations.results.supplements import supplements
from ablations.results.times import without_censored
from ablations.results.verdicts import Judgement, judge
from ablations.study import Metric, Study
from ablations.study.yamlfile import flatten
from ablations.workspace import Workspace

_BASELINE = Judgement("baseline", math.nan, math.nan, math.nan, math.nan)


def study_table(study: Study, workspace: Workspace) -> DeltaTable:
    """The delta table of a study from what its workspace holds now.

    Raises:
        InputError: A claim that the study names does not exist.
    """
    frame = trial_frame(study, workspace)
    table = delta_table(
        frame,
        study,
        arms=workspace.arms(study.name),
        claims=study_claims(study),
        looks=read_looks(study, workspace),
    )
    sections = supplements(study, workspace, frame, table)
    first, *rest = table.notes
    brief = (section.brief for section in sections if section.brief)
    return replace(table, sections=sections, notes=(first, *brief, *rest))


def delta_table(
    frame: pd.DataFrame,
    study: Study,
    arms: Mapping[str, Any] | None = None,
    claims: Mapping[str, Claim] | None = None,
    looks: Sequence[Look] = (),
) -> DeltaTable:
    """A trial frame as deltas against the baseline.

    Where the study plans its looks, an arm is shown as of the last look that counts for it, and
    trials beyond what it wants by then are left out.

    Args:
        frame: As of :func:`ablations.results.frame.trial_frame`.
        study: Whose trials they are.
        arms: What the rehearsal learned of each arm: changes, parameters, flops.
        claims: The paper's row beside an arm.
        looks: As of :func:`ablations.results.looks.read_looks`.

    Raises:
        ValueError: The frame holds a cell twice.
    """
    found = standings(study, frame)
    counted = frame[_is_counted(study, frame, wanted(study, found))]
    order = sorted((arm.name for arm in study.arms), key=lambda name: name != study.baseline)
    trials = {name: counted[counted["arm"] == name] for name in order}
    deltas = _deltas(study, counted["compared"], counted)
    deltas = {n: without_censored(d, counted, n, study.baseline) for n, d in deltas.items()}
    deltas |= {name: standing.delta for name, standing in found.items()}
    judgements = {name: standing.judgement for name, standing in found.items()}
    judgements = judgements or _judged(study, order[1:], deltas, trials)
    beside = {metric: _deltas(study, _logged(counted, metric), counted) for metric in study.beside}
    rows = [
        _row(
            study,
            trials[name],
            deltas[name],
            judgements.get(name, _BASELINE),
            (arms or {}).get(name, {}),
            (claims or {}).get(name),
            tuple(
                Reading(metric, *spread(_logged(trials[name], metric)), of_metric[name])
                for metric, of_metric in beside.items()
            ),
        )
        for name in order
    ]
    open_level = ALPHA / max(sum(row.p_holm >= ALPHA for row in rows), 1)
    rows = [_compared(row, rows[0], found.get(row.arm), open_level) for row in rows]
    grown = unplanned(study, looks, rows)
    told = cautions(study, frame, counted, rows, grown)
    return DeltaTable(
        study=study.name,
        question=study.question,
        metric=study.metric,
        margin=study.margin,
        rows=tuple(
            replace(row, marks=tuple(c.marks[row.arm] for c in told if row.arm in c.marks))
            for row in rows
        ),
        unfinished=int((~counted["state"].isin(ENDED)).sum()),
        exploratory=bool(grown),
        notes=tuple(caution.note for caution in told),
    )


def _is_counted(study: Study, frame: pd.DataFrame, seeds: Mapping[str, int]) -> "pd.Series[bool]":
    """Whether a trial is among the first seeds that its arm should have."""
    place = {seed: number for number, seed in enumerate(study.seeds)}
    return frame["seed"].map(place) < frame["arm"].map(dict(seeds))


def _logged(frame: pd.DataFrame, metric: Metric) -> "pd.Series[float]":
    """What finished trials logged of a metric, NaN for the others."""
    return metric_column(frame, metric.name).where(frame["state"] == "done")


def _deltas(study: Study, values: "pd.Series[float]", frame: pd.DataFrame) -> dict[str, Delta]:
    """Of each arm, paired or not as the study is designed."""
    matrix = values_by_seed(frame.assign(value=values))
    compare = paired_delta if study.pairing == "seeds" else welch_delta
    return {str(name): compare(matrix[name], matrix[study.baseline]) for name in matrix}


def _judged(
    study: Study,
    arms: Sequence[str],
    deltas: Mapping[str, Delta],
    trials: Mapping[str, pd.DataFrame],
) -> dict[str, Judgement]:
    found = judge(
        [deltas[name] for name in arms],
        [study.metric_of(name).mode for name in arms],
        study.margin,
        [_count(trials[name], "diverged") for name in arms],
    )
    return dict(zip(arms, found, strict=True))


def _row(
    study: Study,
    trials: pd.DataFrame,
    delta: Delta,
    judgement: Judgement,
    learned: Mapping[str, Any],
    claim: Claim | None,
    beside: tuple[Reading, ...],
) -> Row:
    name = str(trials["arm"].iloc[0])
    n, mean, sd = spread(trials["value"])
    changes = learned.get("changes")
    return Row(
        arm=name,
        metric=study.metric_of(name),
        changes=_written_changes(study, name) if changes is None else changes,
        planned=len(trials),
        n=n,
        mean=mean,
        sd=sd,
        delta=delta,
        judgement=judgement,
        failed=_count(trials, "failed"),
        diverged=_count(trials, "diverged"),
        parameters=_first(learned.get("parameters"), trials["parameters"]),
        flops=_first(learned.get("flops"), trials["flops"]),
        seconds=float(trials["seconds"][trials["state"] == "done"].median()),
        claim=claim,
        beside=beside,
        tries=learned.get("tries"),
    )


def _compared(row: Row, baseline: Row, standing: Standing | None, level: float) -> Row:
    """The row with what takes the other rows, too, to say."""
    if row.arm != baseline.arm and row.diverged + baseline.diverged:
        ended = [(side.diverged, side.n + side.diverged) for side in (row, baseline)]
        row = replace(row, divergence_p=divergence_p(*ended))
    row = replace(row, standing=standing)
    more_may_decide = (
        row.verdict == "undecided"
        and row.pairs >= MIN_PAIRS_FOR_VERDICT
        and standing is None
        and "given that it trains" not in row.judgement.flags
    )
    further = further_seeds(row.delta, MOST_SEEDS, level) if more_may_decide else None
    return replace(row, further=further)


def _count(trials: pd.DataFrame, state: str) -> int:
    return int((trials["state"] == state).sum())


def _first(known: float | None, measured: "pd.Series[Any]") -> float:
    found = measured.dropna()
    return float(known) if known is not None else float(found.iloc[0]) if len(found) else math.nan


def _written_changes(study: Study, arm: str) -> dict[str, list[Any]]:
    base = flatten(dict(study.base_config))
    written = flatten(dict(study.arm(arm).overrides))
    return {key: [base.get(key), value] for key, value in written.items()}
