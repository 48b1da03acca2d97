"""Reading a study file; every error names the file, the key and the nearest valid name."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ablations.study.design import arms_of_factors, parse_overrides
from ablations.study.errors import InputError, nearest, same_arms
from ablations.study.fields import (
    flag,
    mapping,
    margin,
    metrics,
    one_of,
    parse_metric,
    part,
    seeds,
    text,
    tune,
    whole,
)
from ablations.study.schema import Arm, Metric, SeedPlan, Study, Tune
from ablations.study.sources import source_of
from ablations.study.yamlfile import expand, read_yaml


def shipped_configs() -> Path:
    """The folder of the shipped studies, bases and claims: in the wheel, or in the repository."""
    package = Path(__file__).parents[1]
    packaged = package / "study_configs"
    return packaged if packaged.is_dir() else package.parent / "study_configs"


_TEST = re.compile(r"(?<![A-Za-z])test(?![A-Za-z])")

_FIELDS: dict[str, Callable[[Any], Any]] = {
    "question": text,
    "base": text,
    "metric": parse_metric,
    "metrics": metrics,
    "baseline": text,
    "arms": mapping,
    "factors": mapping,
    "design": one_of("leave-one-out", "add-one-in", "factorial", "fractional"),
    "cells": whole,
    "seeds": seeds,
    "pairing": one_of("seeds", "none"),
    "margin": margin,
    "claims": mapping,
    "cli": text,
    "weights": one_of("last", "best"),
    "threads": whole,
    "tune": tune,
    "keep_weights": flag,
}


def load_study(study: str | Path) -> Study:
    """Read a study from a path, or by the bare name of a shipped study.

    Raises:
        InputError: The file, or a key in it, cannot be used.
    """
    return _load(_find_study(str(study)), ())


def _load(file: Path, within: tuple[Path, ...]) -> Study:
    """Read a study file; ``within`` are those that start from it."""
    raw = read_yaml(file)
    fields: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in _FIELDS:
            raise InputError("unknown key", file=file, key=key, nearest=nearest(key, _FIELDS))
        fields[key] = _checked(_FIELDS[key], value, file, key)
    if "metrics" in fields:
        if "metric" in fields:
            raise InputError("either metric or metrics must be given", file=file, key="metrics")
        fields["metric"], *fields["beside"] = fields.pop("metrics")
    for key in ("question", "base", "metric"):
        if key not in fields:
            raise InputError("is missing", file=file, key=key)
    if ("arms" in fields) == ("factors" in fields):
        raise InputError("either arms or factors must be given", file=file, key="arms")

    if "factors" in fields:
        design = fields.get("design", "leave-one-out")
        if ("cells" in fields) != (design == "fractional"):
            told = "is missing" if design == "fractional" else "goes with design: fractional"
            raise InputError(told, file=file, key="cells")
        arms, baseline = arms_of_factors(fields["factors"], design, file, fields.get("cells"))
        baseline = fields.get("baseline", baseline)
    else:
        for key in ("design", "cells"):
            if key in fields:
                raise InputError("goes with factors, not with arms", file=file, key=key)
        if "baseline" not in fields:
            raise InputError("is missing", file=file, key="baseline")
        design, baseline = None, fields["baseline"]
        arms = tuple(_arm(name, value, file) for name, value in fields["arms"].items())
    _check_arms(arms, baseline, fields["metric"], file)
    base = _find_base(fields["base"], file)
    claims = fields.get("claims", {})
    names = [arm.name for arm in arms]
    for name, claim in claims.items():
        if name not in names:
            raise InputError(
                "no such arm", file=file, key=f"claims.{name}", nearest=nearest(name, names)
            )
        if not isinstance(claim, str) or "#" not in claim:
            raise InputError('expected "file#id"', file=file, key=f"claims.{name}")
    plan = fields.get("seeds", tuple(range(6)))
    if isinstance(plan, SeedPlan):
        if fields.get("pairing") == "none":
            told = "seeds that are added as needed are paired; give a number of seeds instead"
            raise InputError(told, file=file, key="pairing")
        fields["plan"], plan = plan, tuple(range(plan.max))
    if "tune" in fields:
        fields["tune"] = _checked_tune(fields["tune"], fields["metric"], arms, plan, file)
    base_config = _read_base(base)
    load = partial(_load_source, file=file, within=within)
    sources = {arm.name: source_of(arm, base_config, file, base, load) for arm in arms}
    name = file.stem if file.stem != "study" else file.parent.resolve().name or "study"
    for arm, source in sources.items():
        if source is not None and source.study.name == name:
            told = f'starts from another study called "{name}"; a workspace keeps one of a name'
            raise InputError(told, file=file, key=f"arms.{arm}")
    if "tune" in fields and any(sources.values()):
        told = "arms that start from another study's trials are not tuned"
        raise InputError(told, file=file, key="tune")
    optional = ("margin", "claims", "cli", "weights", "threads", "plan", "pairing", "tune")
    return Study(
        name=name,
        file=file,
        base=base,
        base_config=base_config,
        arms=arms,
        baseline=baseline,
        design=design,
        seeds=plan,
        question=fields["question"],
        metric=fields["metric"],
        beside=tuple(fields.get("beside", ())),
        keep_weights=fields.get("keep_weights", False),
        sources={name: source for name, source in sources.items() if source is not None},
        **{key: fields[key] for key in optional if key in fields},
    )


def _checked(check: Callable[[Any], Any], value: Any, file: Path, key: str) -> Any:
    try:
        return part(check, value, key)
    except InputError as error:
        raise InputError(error.message, file=file, key=error.key, nearest=error.nearest) from None


def _checked_tune(
    stage: Tune, metric: Metric, arms: tuple[Arm, ...], seeds: tuple[int, ...], file: Path
) -> Tune:
    """The stage with the metric that it reads: the study's own, of the validation split."""
    names = [arm.name for arm in arms]
    for arm in stage.arms:
        if arm not in names:
            hint = nearest(arm, names)
            raise InputError("no such arm", file=file, key=f"tune.arms.{arm}", nearest=hint)
    if stage.seed in seeds:
        told = "is one of the study's seeds; tune with another"
        raise InputError(told, file=file, key="tune.seed")
    read = stage.metric or metric
    if read.gap or read.early:
        told = "a tuning stage reads a logged metric or epochs_to; name one of validation"
        raise InputError(told, file=file, key="tune.metric")
    if stage.metric is None:
        name = _TEST.sub("val", metric.logged)
        read = metric if name == metric.logged else Metric(name, metric.mode)
        return replace(stage, metric=read)
    if _TEST.search(stage.metric.logged):
        told = "the test set is never used for choosing; name a validation metric"
        raise InputError(told, file=file, key="tune.metric")
    return stage


def _arm(name: str, value: Any, file: Path) -> Arm:
    key = f"arms.{name}"
    if not isinstance(value, dict) or "metric" not in value:
        return Arm(name, parse_overrides(value, file, key))
    metric = _checked(parse_metric, value["metric"], file, f"{key}.metric")
    rest = {k: v for k, v in value.items() if k != "metric"}
    return Arm(name, parse_overrides(rest, file, key), metric)


def _check_arms(arms: tuple[Arm, ...], baseline: str, metric: Metric, file: Path) -> None:
    names = [arm.name for arm in arms]
    if len(arms) < 2:
        raise InputError(
            "at least two arms are needed, the baseline among them", file=file, key="arms"
        )
    if baseline not in names:
        raise InputError(
            f'no arm is called "{baseline}"',
            file=file,
            key="baseline",
            nearest=nearest(baseline, names),
        )
    ordered = sorted(arms, key=lambda arm: arm.name != baseline)
    for number, arm in enumerate(ordered):
        key = f"arms.{arm.name}"
        if not arm.name.strip() or re.search(r"[\x00-\x1f]", arm.name):
            raise InputError("an arm's name must be one line of text", file=file, key=key)
        for other in ordered[:number]:
            read_alike = (arm.metric or metric) == (other.metric or metric)
            if read_alike and arm.overrides == other.overrides:
                raise same_arms(arm.name, other.name, baseline, file)


def _read_base(base: Path) -> dict[str, Any]:
    try:
        return expand(read_yaml(base))
    except InputError as error:
        raise InputError(error.message, file=base, key=error.key) from None


def _load_source(study: str, file: Path, within: tuple[Path, ...]) -> Study:
    beside = file.parent / study
    try:
        found = beside if beside.is_file() else _find_study(study)
    except InputError as error:
        raise InputError(error.message, nearest=error.nearest) from None
    chain = (*within, file)
    if found.resolve() in [each.resolve() for each in chain]:
        told = " → ".join(each.stem for each in (*chain, found))
        raise InputError(f"a study cannot start from itself ({told})")
    return _load(found, chain)


def _find_study(study: str) -> Path:
    path = Path(study)
    if path.is_file():
        return path
    shipped = shipped_configs()
    if path.suffix not in (".yaml", ".yml") and len(path.parts) == 1:
        packaged = shipped / f"{study}.yaml"
        if packaged.is_file():
            return packaged
    names = [file.stem for file in shipped.glob("*.yaml")]
    beside = [str(p) for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    hint = nearest(study, [*beside, *names])
    if path.is_dir():
        raise InputError("is a folder; a study is a file", file=study)
    raise InputError("no such study: neither a file nor a shipped study", file=study, nearest=hint)


def _find_base(base: str, study_file: Path) -> Path:
    places = [study_file.parent / base, shipped_configs() / base]
    for place in places:
        if place.is_file():
            return place
    folder = (study_file.parent / base).parent
    found = [str(Path(base).parent / p.name) for p in folder.glob("*.y*ml")]
    shipped = [f"bases/{p.name}" for p in (shipped_configs() / "bases").glob("*.yaml")]
    raise InputError(
        f'"{base}" is neither beside the study nor among the shipped bases',
        file=study_file,
        key="base",
        nearest=nearest(base, [*found, *shipped]),
    )
