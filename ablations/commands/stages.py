"""What of a study is planned now: the seeds that its looks ask for."""

from collections.abc import Mapping

from ablations.study import Study, Trial, wanted_trials
from ablations.workspace import Workspace


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
