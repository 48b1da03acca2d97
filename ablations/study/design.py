"""Factors into arms, arms and seeds into trials. Pure functions."""

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablations.study.errors import InputError
from ablations.study.fractional import fraction
from ablations.study.schema import Arm, Source, Study, Trial
from ablations.study.yamlfile import expand, flatten, merge

# Keys that place or watch a training without changing what it computes.
_TRAINER_NEUTRAL = {
    "accelerator",
    "default_root_dir",
    "devices",
    "enable_checkpointing",
    "enable_model_summary",
    "enable_progress_bar",
    "log_every_n_steps",
    "logger",
    "num_nodes",
    "profiler",
    "strategy",
}
_DATA_NEUTRAL = {
    "num_workers",
    "persistent_workers",
    "pin_memory",
    "prefetch_factor",
    "resident_gib",
}
_TOP_NEUTRAL = {"seed_everything", "ckpt_path", "verbose", "weights_only"}


def arms_of_factors(
    factors: Mapping[str, Any], design: str, file: Path, count: int | None = None
) -> tuple[tuple[Arm, ...], str]:
    """The arms of a design, and the name of its baseline.

    The first level of each factor is the full model, the last the stripped one.

    Args:
        factors: For each factor its levels, and for each level what it changes.
        design: ``leave-one-out`` varies one factor of the full model at a time, ``add-one-in``
            one of the stripped model, ``factorial`` crosses all, ``fractional`` a part of them.
        file: The study file, for errors.
        count: Cells of a fractional design.

    Raises:
        InputError: A factor has fewer than two levels, two factors change the same key, or there
            is no fraction of so many cells.
    """
    levels = {name: _levels(name, value, file) for name, value in factors.items()}
    if not levels:
        raise InputError("at least one factor is needed", file=file, key="factors")
    _check_disjoint(levels, file)
    full = {factor: next(iter(choice)) for factor, choice in levels.items()}
    stripped = {factor: list(choice)[-1] for factor, choice in levels.items()}
    if design == "fractional":
        cells, start, baseline = _fractional(levels, count or 0, file), full, "full"
    elif design == "factorial":
        cells = [
            dict(zip(levels, cell, strict=True)) for cell in itertools.product(*levels.values())
        ]
        start, baseline = full, "full"
    else:
        start, baseline = (full, "full") if design == "leave-one-out" else (stripped, "stripped")
        cells = [start] + [
            {**start, factor: level}
            for factor, choice in levels.items()
            for level in choice
            if level != start[factor]
        ]
    arms = []
    for cell in cells:
        differing = [f"{f}={level}" for f, level in cell.items() if level != start[f]]
        overrides: dict[str, Any] = {}
        for factor, level in cell.items():
            overrides = merge(overrides, levels[factor][level])
        arms.append(Arm(",".join(differing) or baseline, overrides, levels=cell))
    return tuple(arms), baseline


def trials(study: Study, seeds: tuple[int, ...] | None = None) -> tuple[Trial, ...]:
    """Every arm with every seed, seed by seed, so that a stopped sweep is balanced."""
    merged = {arm.name: _identity(study, arm) for arm in study.arms}
    return tuple(
        Trial(
            _digest({**merged[arm.name], **_start(study, arm, seed), "seed": seed}), arm.name, seed
        )
        for seed in (study.seeds if seeds is None else seeds)
        for arm in study.arms
    )


def trial_id(study: Study, arm: Arm, seed: int, **more: Any) -> str:
    """The id of a trial of which more is to be told apart than its configuration and seed."""
    return _digest({**_identity(study, arm), "seed": seed, **more})


def wanted_trials(study: Study, wanted: Mapping[str, int]) -> tuple[Trial, ...]:
    """Of each arm's trials those of its first seeds, as many as are wanted; seed by seed."""
    at = {seed: number for number, seed in enumerate(study.seeds)}
    return tuple(trial for trial in trials(study) if at[trial.seed] < wanted[trial.arm])


def source_trial(source: Source, seed: int) -> Trial:
    """The trial that a trial of this seed starts from."""
    alone = replace(source.study, arms=(source.study.arm(source.arm),))
    return trials(alone, (seed if source.seed is None else source.seed,))[0]


def _start(study: Study, arm: Arm, seed: int) -> dict[str, str]:
    source = study.sources.get(arm.name)
    return {} if source is None else {"init_from": source_trial(source, seed).id}


def parse_overrides(value: Any, file: Path, key: str) -> dict[str, Any]:
    """What an arm or level changes, dotted keys expanded.

    Raises:
        InputError: It is not a mapping, or says one key twice.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(
            "expected a mapping of what it changes, {} for nothing", file=file, key=key
        )
    try:
        return expand(value, f"{key}.")
    except InputError as error:
        raise InputError(error.message, file=file, key=error.key) from None


def _identity(study: Study, arm: Arm) -> dict[str, Any]:
    merged = merge(dict(study.base_config), dict(arm.overrides))
    if arm.name in study.sources:
        # How the source is written does not matter; which trial it is stands in the digest.
        merged = merge(merged, expand({study.sources[arm.name].key: None}))
    config = _without_neutral(merged)
    return {"config": config, "cli": study.cli, "weights": study.weights, "threads": study.threads}


def _without_neutral(config: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in config.items() if k not in _TOP_NEUTRAL}
    if isinstance(kept.get("trainer"), dict):
        kept["trainer"] = {k: v for k, v in kept["trainer"].items() if k not in _TRAINER_NEUTRAL}
    if isinstance(kept.get("data"), dict):
        data = {k: v for k, v in kept["data"].items() if k not in _DATA_NEUTRAL}
        if isinstance(data.get("init_args"), dict):
            arguments = data["init_args"].items()
            data["init_args"] = {k: v for k, v in arguments if k not in _DATA_NEUTRAL}
        kept["data"] = data
    return kept


def _digest(identity: Mapping[str, Any]) -> str:
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _levels(factor: str, value: Any, file: Path) -> dict[str, dict[str, Any]]:
    key = f"factors.{factor}"
    if not isinstance(value, dict) or len(value) < 2:
        raise InputError("a factor needs at least two levels", file=file, key=key)
    return {
        level: parse_overrides(changes, file, f"{key}.{level}") for level, changes in value.items()
    }


def _fractional(
    levels: Mapping[str, Mapping[str, Any]], count: int, file: Path
) -> list[dict[str, str]]:
    for factor, choice in levels.items():
        if len(choice) != 2:
            told = f"a fractional design takes factors of two levels, not {len(choice)}"
            raise InputError(told, file=file, key=f"factors.{factor}")
    try:
        chosen = fraction(list(levels), count)
    except InputError as error:
        raise InputError(error.message, file=file, key="cells") from None
    choices = [list(choice) for choice in levels.values()]
    return [
        {f: choice[at] for f, choice, at in zip(levels, choices, cell, strict=True)}
        for cell in chosen.cells
    ]


def _check_disjoint(levels: Mapping[str, Mapping[str, dict[str, Any]]], file: Path) -> None:
    owner: dict[str, str] = {}
    for factor, choice in levels.items():
        own = {key: factor for overrides in choice.values() for key in flatten(overrides)}
        for key, (known, other) in itertools.product(own, owner.items()):
            if f"{key}.".startswith(f"{known}.") or f"{known}.".startswith(f"{key}."):
                raise InputError(
                    f'changes {key}, which factor "{other}" changes too',
                    file=file,
                    key=f"factors.{factor}",
                )
        owner |= own
