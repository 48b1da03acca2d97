"""Weights that a trial leaves and that others start from: where they lie, who shows what."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ablations.study import Source, source_trial
from ablations.study.yamlfile import expand, merge
from ablations.sweep.build import Recipe

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
