"""Trial frame -> delta table: a row per arm, each against the baseline over paired seeds."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ablations.results import statistics
from ablations.results.claims import Claim, study_claims
from ablations.results.frame import ENDED, trial_frame, values_by_seed
from ablations.results.rows import DeltaTable, Row
from ablations.results.statistics import Delta, Verdict
from ablations.results.wording import notes
from ablations.study import Study
from ablations.study.yamlfile import flatten
from ablations.workspace import Workspace, write_atomic

Look = Mapping[str, int]


def study_table(study: Study, workspace: Workspace) -> DeltaTable:
    """The delta table of a study from what its workspace holds now.

    Raises:
        InputError: A claim that the study names does not exist.
    """
    return delta_table(
        trial_frame(study, workspace),
        study,
        arms=workspace.arms(study.name),
        claims=study_claims(study),
        looks=read_looks(study, workspace),
    )


def delta_table(
    frame: pd.DataFrame,
    study: Study,
    arms: Mapping[str, Any] | None = None,
    claims: Mapping[str, Claim] | None = None,
    looks: Sequence[Look] = (),
) -> DeltaTable:
    """A trial frame as deltas against the baseline.

    Args:
        frame: As of :func:`ablations.results.frame.trial_frame`.
        study: Whose trials they are.
        arms: What the rehearsal learned of each arm: changes, parameters, flops.
        claims: The paper's row beside an arm.
        looks: As of :func:`read_looks`.

    Raises:
        ValueError: The frame holds a cell twice.
    """
    matrix = values_by_seed(frame)
    order = sorted((arm.name for arm in study.arms), key=lambda name: name != study.baseline)
    deltas = {name: statistics.paired_delta(matrix[name], matrix[study.baseline]) for name in order}
    corrected = statistics.holm([deltas[name].p for name in order[1:]])
    rows = tuple(
        _row(
            study,
            frame[frame["arm"] == name],
            deltas[name],
            p_holm,
            (arms or {}).get(name, {}),
            (claims or {}).get(name),
        )
        for name, p_holm in zip(order, [math.nan, *corrected.tolist()], strict=True)
    )
    grown = [look for look in looks if any(_ended(r) > look.get(r.arm, 0) for r in rows)]
    return DeltaTable(
        study=study.name,
        question=study.question,
        metric=study.metric,
        margin=study.margin,
        rows=rows,
        unfinished=int((~frame["state"].isin(ENDED)).sum()),
        exploratory=bool(grown),
        notes=notes(frame, study, rows, grown),
    )


def read_looks(study: Study, workspace: Workspace) -> list[Look]:
    """For each time that the verdicts of a finished sweep were shown, the trials of each arm."""
    return [line["n_per_arm"] for line in _look_lines(study, workspace)]


def record_look(study: Study, workspace: Workspace, table: DeltaTable) -> None:
    """Remember that these verdicts were shown, once for each number of trials per arm.

    A sweep with trials to come shows no verdict that counts. The number is of trials that have
    ended, so that to repeat a failed one is not to add a seed.
    """
    look = {row.arm: _ended(row) for row in table.rows}
    lines = _look_lines(study, workspace)
    if table.unfinished or any(line["n_per_arm"] == look for line in lines):
        return
    lines.append({"time": time.time(), "n_per_arm": look})
    file = workspace.study_folder(study.name) / "looks.jsonl"
    write_atomic(file, "".join(json.dumps(line) + "\n" for line in lines))


def _look_lines(study: Study, workspace: Workspace) -> list[dict[str, Any]]:
    file = workspace.study_folder(study.name) / "looks.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines]


def _ended(row: Row) -> int:
    return row.n + row.failed + row.diverged


def _row(
    study: Study,
    trials: pd.DataFrame,
    delta: Delta,
    p_holm: float,
    learned: Mapping[str, Any],
    claim: Claim | None,
) -> Row:
    name = str(trials["arm"].iloc[0])
    metric = study.metric_of(name)
    failed, diverged = (int((trials["state"] == state).sum()) for state in ("failed", "diverged"))
    n, mean, sd = statistics.spread(trials["value"])
    verdict: Verdict = "baseline"
    if name != study.baseline:
        verdict = statistics.verdict(delta, p_holm, metric.mode, study.margin, diverged)
    return Row(
        arm=name,
        metric=metric,
        changes=learned.get("changes") or _written_changes(study, name),
        planned=len(trials),
        n=n,
        mean=mean,
        sd=sd,
        delta=delta,
        p_holm=p_holm,
        verdict=verdict,
        failed=failed,
        diverged=diverged,
        parameters=_first(learned.get("parameters"), trials["parameters"]),
        flops=_first(learned.get("flops"), trials["flops"]),
        seconds=statistics.spread(trials["seconds"][trials["state"] == "done"])[1],
        claim=claim,
    )


def _first(known: float | None, measured: "pd.Series[Any]") -> float:
    found = measured.dropna()
    return float(known) if known is not None else float(found.iloc[0]) if len(found) else math.nan


def _written_changes(study: Study, arm: str) -> dict[str, list[Any]]:
    base = flatten(dict(study.base_config))
    written = flatten(dict(study.arm(arm).overrides))
    return {key: [base.get(key), value] for key, value in written.items()}
