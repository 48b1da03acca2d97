"""Planned looks: where each arm of a study stands, and how many seeds it should have now."""

from collections.abc import Mapping

import pandas as pd

from ablations.results.frame import ENDED, trial_frame
from ablations.results.sequential import Standing, decide
from ablations.study import Study
from ablations.workspace import Workspace


def wanted_seeds(study: Study, workspace: Workspace) -> dict[str, int]:
    """How many seeds each arm, the baseline among them, should have now.

    They are the first so many of the study's. Only trials that have ended count, failed and
    diverged ones as seeds without a value; the same folders always give the same answer. Without
    a plan every arm should have every seed.
    """
    if study.plan is None:
        return {arm.name: len(study.seeds) for arm in study.arms}
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
    return decide(
        {name: trials["value"] for name, trials in ended.items()},
        baseline["value"],
        study.plan.looks,
        {name: study.metric_of(name).mode for name in ended},
        study.margin,
        {name: trials["state"] == "diverged" for name, trials in ended.items()},
    )


def wanted(study: Study, found: Mapping[str, Standing]) -> dict[str, int]:
    """Seeds that each arm should have by where it stands; the baseline as many as any arm."""
    counts = {name: min(standing.wants, len(study.seeds)) for name, standing in found.items()}
    most = max(counts.values())
    return {arm.name: counts.get(arm.name, most) for arm in study.arms}


def _ended(study: Study, trials: pd.DataFrame) -> pd.DataFrame:
    """One arm's trials in the order of the seeds, up to the first that may still come."""
    ordered = trials.set_index("seed").reindex(list(study.seeds))
    return ordered[ordered["state"].isin(ENDED).cummin()]
