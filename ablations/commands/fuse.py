"""``ablate run --fuse``: how many trials are trained as one net."""

from collections.abc import Mapping
from typing import Any

from ablations.study import InputError, Study, trials
from ablations.sweep.executors.placement import needs_of, visible_gpus
from ablations.workspace import Workspace

MOST = 6
"""What `auto` takes: so many were measured."""
_FLOPS = 2_000_000
"""Of a forward pass of one example on a CPU; docs/performance.md has what was measured about it."""


def told_to_fuse(text: str) -> int:
    """The number of ``--fuse``; 0 for auto.

    Raises:
        InputError: It is neither.
    """
    if text != "auto" and not (text.isdecimal() and int(text)):
        raise InputError(f'expected a number from 1, or auto, not "{text}"', file="--fuse")
    return 0 if text == "auto" else int(text)


def pays(study: Study, workspace: Workspace, arms: Mapping[str, Any]) -> tuple[int, str]:
    """How many trials are trained as one where that is left to us, and why.

    A study goes on as its trials that have ended were trained, so that all are alike. Else they are
    fused on a CPU where every arm's net is small.

    Args:
        study: The study.
        workspace: Where its trials are.
        arms: What the rehearsal learned of each arm.
    """
    ended = filter(None, (workspace.result(trial.id) for trial in trials(study)))
    if counts := [int(result.get("fused", 1)) for result in ended]:
        return MOST if max(counts) > 1 else 1, "as those that have ended"
    flops = [(arms.get(arm.name) or {}).get("flops") for arm in study.arms]
    gpus = needs_of((study,)).gpus
    if gpus == "always" or (gpus == "auto" and visible_gpus()):
        return 1, "on a GPU nothing was measured"
    if any(not each or each > _FLOPS for each in flops):
        return 1, "it pays for small nets only"
    if study.weights != "last" or study.keep_weights or study.sources:
        return 1, "weights are chosen, kept or loaded"
    return MOST, "the nets are small"
