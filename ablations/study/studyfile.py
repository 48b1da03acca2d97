"""Reading a study file; every error names the file, the key and the nearest valid name."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablations.study.design import arms_of_factors, parse_overrides
from ablations.study.errors import InputError, nearest, same_arms
from ablations.study.schema import Arm, Metric, Mode, Study
from ablations.study.yamlfile import expand, read_yaml

_LOWER = "error err loss nll mae mse rmse mape perplexity ppl wer cer fid brier ece regret seconds"
_HIGHER = (
    "acc accuracy f1 auc auroc auprc ap map precision recall iou miou dice psnr ssim bleu rouge "
    "meteor r2 correlation kappa mcc score reward return ndcg mrr hits"
)
_MODES: dict[str, Mode] = {
    **dict.fromkeys(_LOWER.split(), "min"),
    **dict.fromkeys(_HIGHER.split(), "max"),
}
_MOST_SEEDS = 10_000
_LAST_SEED = 2**32 - 1  # the greatest that seed_everything takes


def shipped_configs() -> Path:
    """The folder of the shipped studies, bases and claims: in the wheel, or in the repository."""
    package = Path(__file__).parents[1]
    packaged = package / "study_configs"
    return packaged if packaged.is_dir() else package.parent / "study_configs"


def _text(value: Any) -> str:
    if isinstance(value, int | float):
        raise InputError(f"expected text, got {value}; put it in quotes")
    if not isinstance(value, str) or not value.strip():
        raise TypeError("expected text")
    return value.strip()


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise TypeError("expected a whole number of at least 1")
    return value


def _seeds(value: Any) -> tuple[int, ...]:
    if isinstance(value, list):
        seeds = [s for s in value if type(s) is int and 0 <= s <= _LAST_SEED]
        if len(seeds) == len(value) == len(set(seeds)) > 0:
            return tuple(seeds)
        told = f"a list of different whole numbers from 0 to {_LAST_SEED}"
        raise TypeError(f"expected a number of seeds, or {told}")
    if _whole(value) > _MOST_SEEDS:
        raise TypeError(f"expected at most {_MOST_SEEDS} seeds")
    return tuple(range(value))


def _margin(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e308:
        raise TypeError("expected a number above 0, in the metric's units")
    return float(value)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("expected a mapping")
    return value


def _one_of(*choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in choices:
            raise InputError(
                f"expected one of {', '.join(choices)}, got {value!r}",
                nearest=nearest(str(value), choices),
            )
        return str(value)

    return check


def parse_metric(value: Any) -> Metric:
    """A metric from its name, or from ``{name, mode}``.

    Raises:
        InputError: The name does not tell which way is better and no mode is given.
        TypeError: The value has another shape.
    """
    if isinstance(value, dict):
        unknown = set(value) - {"name", "mode"}
        if unknown or "name" not in value:
            raise TypeError("expected a metric's name, or {name: ..., mode: min|max}")
        if "mode" in value:
            mode = _one_of("min", "max")(value["mode"])
            return Metric(_text(value["name"]), "min" if mode == "min" else "max")
        value = value["name"]
    name = _text(value)
    for word in _words(name):
        if word in _MODES:
            return Metric(name, _MODES[word])
    raise InputError(
        f'whether "{name}" is better low or high cannot be told from its name; '
        f"write {{name: {name}, mode: min}} or mode: max"
    )


def _words(name: str) -> list[str]:
    """What may tell the mode, last first: ``valLoss/F1`` as f1, f, valloss, loss, val."""
    words = []
    for part in reversed(re.findall(r"[A-Za-z]+\d?", name)):
        camel = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", part)
        words += [part, part.rstrip("0123456789"), *reversed(camel)]
    words = [word.lower() for word in words]
    # What is negated, as scikit-learn does, is better high for one author and low for another.
    return [] if {"neg", "negative"} & set(words) else words


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "question": _text,
    "base": _text,
    "metric": parse_metric,
    "baseline": _text,
    "arms": _mapping,
    "factors": _mapping,
    "design": _one_of("leave-one-out", "add-one-in", "factorial"),
    "seeds": _seeds,
    "margin": _margin,
    "claims": _mapping,
    "cli": _text,
    "weights": _one_of("last", "best"),
    "threads": _whole,
}


def load_study(study: str | Path) -> Study:
    """Read a study from a path, or by the bare name of a shipped study.

    Raises:
        InputError: The file, or a key in it, cannot be used.
    """
    file = _find_study(str(study))
    raw = read_yaml(file)
    fields: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in _FIELDS:
            raise InputError("unknown key", file=file, key=key, nearest=nearest(key, _FIELDS))
        fields[key] = _checked(_FIELDS[key], value, file, key)
    for key in ("question", "base", "metric"):
        if key not in fields:
            raise InputError("is missing", file=file, key=key)
    if ("arms" in fields) == ("factors" in fields):
        raise InputError("either arms or factors must be given", file=file, key="arms")

    if "factors" in fields:
        design = fields.get("design", "leave-one-out")
        arms, baseline = arms_of_factors(fields["factors"], design, file)
        baseline = fields.get("baseline", baseline)
    else:
        if "design" in fields:
            raise InputError("goes with factors, not with arms", file=file, key="design")
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
    return Study(
        name=file.stem if file.stem != "study" else file.parent.resolve().name or "study",
        file=file,
        base=base,
        base_config=_read_base(base),
        arms=arms,
        baseline=baseline,
        design=design,
        seeds=fields.get("seeds", tuple(range(6))),
        **{k: fields[k] for k in ("question", "metric") if k in fields},
        **{k: fields[k] for k in ("margin", "claims", "cli", "weights", "threads") if k in fields},
    )


def _checked(check: Callable[[Any], Any], value: Any, file: Path, key: str) -> Any:
    try:
        return check(value)
    except TypeError as error:
        raise InputError(f"{error}, got {value!r}", file=file, key=key) from None
    except InputError as error:
        raise InputError(error.message, file=file, key=key, nearest=error.nearest) from None


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
