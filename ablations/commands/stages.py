"""What of a study is planned now: its tuning, and the seeds that its looks ask for."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ablations.study import Study, Trial, wanted_trials
from ablations.study.tuning import own_settings, stage_key, tuned_arms
from ablations.workspace import Workspace, read_json

OWN = ", own settings"
"""Stands behind the name of a tuned arm."""


def wanted(study: Study, workspace: Workspace) -> Mapping[str, int]:
    """How many seeds each arm should have by what has ended so far."""
    if study.plan is None:
        return {arm.name: len(study.seeds) for arm in study.arms}
    from ablations.results.looks import wanted_seeds

    return wanted_seeds(study, workspace)


def planned(study: Study, workspace: Workspace) -> tuple[Trial, ...]:
    """The trials that a study has now."""
    return wanted_trials(study, wanted(study, workspace))


def seeds_told(study: Study) -> str:
    """How many seeds an arm gets: ``6`` or ``6-24``."""
    return f"{study.plan.start}-{study.plan.max}" if study.plan else str(len(study.seeds))


def tuning(study: Study, workspace: Workspace) -> dict[str, dict[str, Any]]:
    """How far the tuning of each arm is, for the study as it is now.

    Under ``trials`` its tries so far, of those ``planned``; under ``counts`` how many of them are
    done, pruned, diverged and failed; under ``chosen`` the best, once all have ended.
    """
    if study.tune is None:
        return {}
    written = read_json(workspace.study_folder(study.name) / "tuning.json") or {}
    found = {}
    for arm in (arm.name for arm in study.arms):
        stage = written.get(arm, {})
        if arm not in tuned_arms(study) or stage.get("key") != stage_key(study, arm):
            stage = {"trials": [], "complete": False, "chosen": None}
        tries = stage["trials"][: study.tune.trials]
        needed = study.tune.trials if arm in tuned_arms(study) else 0
        complete = not needed or (stage["complete"] and len(stage["trials"]) == needed)
        counts = Counter(t["state"] for t in tries if "state" in t)
        if not complete:
            counts.pop("failed", None)
        chosen = stage["chosen"] if complete else None
        found[arm] = {
            "metric": study.tune.metric.name if study.tune.metric else "",
            "planned": needed,
            "counts": dict(counts),
            "complete": complete,
            "trials": tries,
            "chosen": None if chosen is None else {"number": chosen, **tries[chosen]},
        }
    return found


def tries_left(study: Study, workspace: Workspace) -> int:
    """Tries that have not ended."""
    stages = tuning(study, workspace).values()
    return sum(s["planned"] - sum(s["counts"].values()) for s in stages if not s["complete"])


def tuned(study: Study, workspace: Workspace) -> Study | None:
    """The study with each arm's own settings, once all are chosen."""
    found = tuning(study, workspace)
    if not found or not all(stage["complete"] for stage in found.values()):
        return None
    chosen = {arm: stage["chosen"]["settings"] for arm, stage in found.items() if stage["chosen"]}
    return own_settings(study, chosen)


def variants(study: Study, workspace: Workspace) -> list[tuple[str, Study]]:
    """The study, and where its tuning is complete the same with own settings; with their marks."""
    own = tuned(study, workspace)
    return [("", study), *([] if own is None else [(OWN, own)])]
