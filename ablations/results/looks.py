"""Looks at the verdicts of a study: those that it plans, and those that were made."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ablations.results.frame import ENDED, trial_frame
from ablations.results.rows import DeltaTable, Row
from ablations.results.sequential import Standing, decide
from ablations.study import Study
from ablations.workspace import Workspace, write_atomic

Look = Mapping[str, Any]


def wanted_seeds(study: Study, workspace: Workspace) -> dict[str, int]:
    """How many seeds each arm, the baseline among them, should have now.

    They are the first so many of the study's. Only trials that have ended count, failed and
    diverged ones as seeds without a value; the same folders always give the same answer. Without
    a plan every arm should have every seed.
    """
    if study.plan is None:
        return wanted(study, {})
    return wanted(study, standings(study, trial_frame(study, workspace)))


def standings(study: Study, frame: pd.DataFrame) -> dict[str, Standing]:
    """Where each arm but the baseline stands by a study's plan; empty without one.

    Args:
        study: Whose trials they are.
        frame: As of :func:`ablations.results.frame.trial_frame`.
    """
    if study.plan is None:
        return {}
    ended = {arm.name: _ended(study, frame[frame["arm"] == arm.name]) for arm in study.arms}
    baseline = ended.pop(study.baseline)
    base_late = baseline["time"].eq(math.inf).reindex(list(study.seeds), fill_value=False)
    return decide(
        {name: trials["compared"] for name, trials in ended.items()},
        baseline["compared"],
        study.plan.looks,
        {name: study.metric_of(name).mode for name in ended},
        study.margin,
        {name: trials["state"] == "diverged" for name, trials in ended.items()},
        late={
            name: pd.DataFrame({"arm": trials["time"].eq(math.inf), "baseline": late})
            for name, trials in ended.items()
            for late in [base_late.reindex(trials.index)]
        },
    )


def wanted(study: Study, found: Mapping[str, Standing]) -> dict[str, int]:
    """Seeds that each arm should have by where it stands; the baseline as many as any arm."""
    most = len(study.seeds)
    counts = {name: min(standing.wants, most) for name, standing in found.items()}
    of_baseline = max(counts.values(), default=most)
    return {arm.name: counts.get(arm.name, of_baseline) for arm in study.arms}


def _ended(study: Study, trials: pd.DataFrame) -> pd.DataFrame:
    """One arm's trials in the order of the seeds, up to the first that may still come."""
    ordered = trials.set_index("seed").reindex(list(study.seeds))
    return ordered[ordered["state"].isin(ENDED).cummin()]


def read_looks(study: Study, workspace: Workspace) -> list[Look]:
    """Each time that the verdicts of a finished sweep were shown.

    `n_per_arm` holds how many trials of each arm had ended, `plan` the study's looks, null where
    it planned none.
    """
    file = workspace.study_folder(study.name) / "looks.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines]


def record_look(study: Study, workspace: Workspace, table: DeltaTable) -> None:
    """Remember that these verdicts were shown, once for each number of trials per arm.

    A sweep with trials to come shows no verdict that counts. The number is of trials that have
    ended, so that to repeat a failed one is not to add a seed.
    """
    look = {"n_per_arm": {row.arm: _count(row) for row in table.rows}, "plan": _looks(study)}
    lines = read_looks(study, workspace)
    if table.unfinished or any({**line, "time": None} == {**look, "time": None} for line in lines):
        return
    lines.append({"time": time.time(), **look})
    file = workspace.study_folder(study.name) / "looks.jsonl"
    write_atomic(file, "".join(json.dumps(line) + "\n" for line in lines))


def unplanned(study: Study, looks: Sequence[Look], rows: Sequence[Row]) -> list[Mapping[str, int]]:
    """The trials of each arm at those looks which the study does not plan and has outgrown."""
    own = _looks(study)
    made = [look["n_per_arm"] for look in looks if own is None or look.get("plan") != own]
    return [counts for counts in made if any(_count(r) > counts.get(r.arm, 0) for r in rows)]


def _looks(study: Study) -> list[int] | None:
    return None if study.plan is None else list(study.plan.looks)


def _count(row: Row) -> int:
    return row.n + row.failed + row.diverged
