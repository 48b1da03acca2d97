"""Trials that start from the final weights of others: where these lie, and which are missing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ablations.study import Source, Study, Trial, source_trial
from ablations.study.yamlfile import expand, merge
from ablations.sweep.build import Recipe
from ablations.workspace import Workspace

WEIGHTS = "weights.ckpt"


def started(recipe: Recipe, source: Source | None, seed: int, trials: Path) -> Recipe:
    """The recipe of a trial with the path of the weights that it starts from.

    Args:
        recipe: The arm's.
        source: Where the arm's trials start; None: nowhere, and the recipe stays.
        seed: The trial's.
        trials: The folder of all trials' folders.
    """
    if source is None:
        return recipe
    path = (trials / source_trial(source, seed).id / WEIGHTS).resolve()
    told = f"{source.study.name}/{source.arm}"
    if source.seed is not None:
        told += f", seed {source.seed}"
    overrides = merge(dict(recipe.overrides), expand({source.key: str(path)}))
    return replace(recipe, overrides=overrides, start=(source.key, told))


def afresh(recipe: Recipe) -> Recipe:
    """The recipe for a rehearsal, which loads nothing: the weights may not be there yet."""
    if recipe.start is None:
        return recipe
    nothing = expand({recipe.start[0]: None})
    return replace(recipe, overrides=merge(dict(recipe.overrides), nothing))


def with_start(config: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """A rehearsal's configuration with the name of the trial that its trials start from."""
    return config if recipe.start is None else merge(config, expand(dict([recipe.start])))


@dataclass(frozen=True)
class Missing:
    """Trials of a study whose weights others wait for.

    Attributes:
        study: With `keep_weights`.
        again: How many of the trials are done, but kept no weights.
    """

    study: Study
    trials: tuple[Trial, ...]
    again: int


def has_weights(workspace: Workspace, trial: str) -> bool:
    """Whether a trial is whole and kept its weights."""
    kept = (workspace.trial_folder(trial) / WEIGHTS).exists()
    return kept and workspace.result(trial) is not None


def missing_sources(study: Study, workspace: Workspace, todo: Iterable[Trial]) -> list[Missing]:
    """What has to be trained before ``todo``, study by study, in an order that works."""
    studies: dict[Path, Study] = {}
    needed: dict[Path, dict[str, Trial]] = {}
    for trial in todo:
        source = study.sources.get(trial.arm)
        if source is None:
            continue
        wanted = source_trial(source, trial.seed)
        if not has_weights(workspace, wanted.id):
            file = source.study.file.resolve()
            studies[file] = source.study
            needed.setdefault(file, {})[wanted.id] = wanted
    missing: list[Missing] = []
    for file, found in studies.items():
        trials = tuple(needed[file].values())
        beyond = dict.fromkeys(t.seed for t in trials if t.seed not in found.seeds)
        found = replace(found, keep_weights=True, seeds=(*found.seeds, *beyond))
        again = sum(workspace.result(trial.id) is not None for trial in trials)
        missing += [*missing_sources(found, workspace, trials), Missing(found, trials, again)]
    return missing


def ready(study: Study, workspace: Workspace, todo: Iterable[Trial]) -> list[Trial]:
    """The trials that start from nothing, or from weights that are there."""
    sources: Mapping[str, Source] = study.sources
    return [
        trial
        for trial in todo
        if trial.arm not in sources
        or has_weights(workspace, source_trial(sources[trial.arm], trial.seed).id)
    ]
