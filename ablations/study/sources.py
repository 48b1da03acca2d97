"""Trials that start from another study's: ``init_from: {study: ..., arm: ..., seed: ...}``."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ablations.study.errors import InputError, nearest
from ablations.study.schema import Arm, Source, Study
from ablations.study.yamlfile import merge

_KEYS = ("study", "arm", "seed")


def source_of(
    arm: Arm,
    base_config: Mapping[str, Any],
    file: Path,
    base: Path,
    load: Callable[[str], Study],
) -> Source | None:
    """Where an arm's trials start; None where its model says nothing of another study.

    Args:
        arm: The arm.
        base_config: What it varies.
        file: The study file; `base` the base's: one of them is named by errors.
        load: Reads the study of a name.

    Raises:
        InputError: The study, arm or seed does not exist, or is tuned first.
    """
    merged = merge(dict(base_config), dict(arm.overrides))
    found = dict(_mappings("model", merged.get("model")))
    if not found:
        return None
    key, value = next(iter(found.items()))
    own = any(True for _ in _mappings("model", arm.overrides.get("model")))
    where: dict[str, Any] = {"file": file, "key": f"arms.{arm.name}.{key}"} if own else {}
    where = where or {"file": base, "key": key}

    def refused(told: str, part: str, hint: str | None = None) -> InputError:
        return InputError(told, file=where["file"], key=f"{where['key']}.{part}", nearest=hint)

    for part in value:
        if part not in _KEYS:
            raise refused("unknown key", part, nearest(part, _KEYS))
    for part in ("study", "arm"):
        if not isinstance(value.get(part), str):
            told = f"expected text, got {value[part]!r}" if part in value else "is missing"
            raise refused(told, part)
    try:
        study = load(value["study"])
    except InputError as error:
        if error.file is not None:
            raise
        raise refused(error.message, "study", error.nearest) from None
    if study.tune is not None:
        raise refused(f"{study.name} tunes its arms; a source is trained as it is written", "study")
    names = [each.name for each in study.arms]
    if value["arm"] not in names:
        told = f'{study.name} has no arm "{value["arm"]}"; it has {", ".join(names)}'
        raise refused(told, "arm", nearest(value["arm"], names))
    seed = value.get("seed")
    if seed is not None and (isinstance(seed, bool) or seed not in study.seeds):
        listed = ", ".join(map(str, study.seeds[:10])) + (", ..." if len(study.seeds) > 10 else "")
        raise refused(f"{study.name} has no seed {seed!r}; it has {listed}", "seed")
    return Source(study, value["arm"], seed, key, value["study"])


def _mappings(key: str, config: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every ``init_from`` that names a study, with its dotted key."""
    for name, value in config.items() if isinstance(config, Mapping) else ():
        if name == "init_from" and isinstance(value, Mapping) and {"study", "arm"} & set(value):
            yield f"{key}.{name}", value
        else:
            yield from _mappings(f"{key}.{name}", value)
