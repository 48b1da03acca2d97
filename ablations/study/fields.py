"""The values of a study file's keys: each parser takes what YAML read and gives a typed value."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, get_args

from ablations.study.errors import InputError, nearest
from ablations.study.schema import Metric, Mode, Pruner, Range, Sampler, SeedPlan, Threshold, Tune

_LOWER = "error err loss nll mae mse rmse mape perplexity ppl wer cer fid brier ece regret seconds"
_HIGHER = (
    "acc accuracy f1 auc auroc auprc ap map precision recall iou miou dice psnr ssim bleu rouge "
    "meteor r2 correlation kappa mcc score reward return ndcg mrr hits"
)
_MODES: dict[str, Mode] = {
    **dict.fromkeys(_LOWER.split(), "min"),
    **dict.fromkeys(_HIGHER.split(), "max"),
}
MOST_SEEDS = 10_000
_LAST_SEED = 2**32 - 1  # the greatest that seed_everything takes


def text(value: Any) -> str:
    """Text that is not empty."""
    if isinstance(value, int | float):
        raise InputError(f"expected text, got {value}; put it in quotes")
    if not isinstance(value, str) or not value.strip():
        raise TypeError("expected text")
    return value.strip()


def whole(value: Any) -> int:
    """A whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise TypeError("expected a whole number of at least 1")
    return value


def seeds(value: Any) -> tuple[int, ...] | SeedPlan:
    """How many seeds, which, or ``{start, max, step}``: more for as long as the answer is open."""
    if isinstance(value, dict):
        return _seed_plan(value)
    if isinstance(value, list):
        listed = [s for s in value if type(s) is int and 0 <= s <= _LAST_SEED]
        if len(listed) == len(value) == len(set(listed)) > 0:
            return tuple(listed)
        told = f"a list of different whole numbers from 0 to {_LAST_SEED}"
        raise TypeError(f"expected a number of seeds, or {told}")
    if whole(value) > MOST_SEEDS:
        raise TypeError(f"expected at most {MOST_SEEDS} seeds")
    return tuple(range(value))


def _seed_plan(value: Mapping[str, Any]) -> SeedPlan:
    keys_of(value, ("start", "max", "step"), needed=("start", "max"))
    given = {key: part(whole, number, key) for key, number in value.items()}
    plan = SeedPlan(given["start"], given["max"], given.get("step", 1))
    if plan.start < 3:
        raise InputError("expected at least 3: fewer pairs give no verdict", key="start")
    if not plan.start < plan.max <= MOST_SEEDS:
        told = f"expected more than start ({plan.start}) and at most {MOST_SEEDS}, got {plan.max}"
        raise InputError(told, key="max")
    return plan


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise TypeError("expected true or false")
    return value


def margin(value: Any) -> float | None:
    """A number above 0, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e308:
        raise TypeError("expected a number above 0, in the metric's units")
    return float(value)


def mapping(value: Any) -> dict[str, Any]:
    """A mapping."""
    if not isinstance(value, dict):
        raise TypeError("expected a mapping")
    return value


def one_of(*choices: str) -> Callable[[Any], str]:
    """A parser that takes one of the choices."""

    def check(value: Any) -> str:
        if value not in choices:
            raise InputError(
                f"expected one of {', '.join(choices)}, got {value!r}",
                nearest=nearest(str(value), choices),
            )
        return str(value)

    return check


def keys_of(value: Mapping[str, Any], known: Sequence[str], needed: Sequence[str] = ()) -> None:
    """Refuse a mapping that has an unknown key or lacks a needed one.

    Raises:
        InputError: With the key.
    """
    for key in value:
        if key not in known:
            raise InputError("unknown key", key=key, nearest=nearest(key, known))
    for key in needed:
        if key not in value:
            raise InputError("is missing", key=key)


def part(check: Callable[[Any], Any], value: Any, key: str) -> Any:
    """Parse the value of a key, and name the key where it cannot be used.

    Raises:
        InputError: With the dotted key.
    """
    try:
        return check(value)
    except TypeError as error:
        raise InputError(f"{error}, got {value!r}", key=key) from None
    except InputError as error:
        below = f"{key}.{error.key}" if error.key else key
        raise InputError(error.message, key=below, nearest=error.nearest) from None


def parse_metric(value: Any) -> Metric:
    """A metric from its name or ``{name, mode}``, or one made of such.

    That is ``{epochs_to: {metric, below | above}}``, ``{gap: [metric, metric]}`` or
    ``{early: {metric, epoch}}``.

    Raises:
        InputError: The name does not tell which way is better and no mode is given.
        TypeError: The value has another shape.
    """
    if isinstance(value, dict):
        made = {"epochs_to": _epochs_to, "gap": _gap, "early": _early}
        for key in made.keys() & value.keys():
            keys_of(value, (key,))
            return part(made[key], value[key], key)  # type: ignore[no-any-return]
        unknown = set(value) - {"name", "mode"}
        if unknown or "name" not in value:
            raise TypeError("expected a metric's name, or {name: ..., mode: min|max}")
        if "mode" in value:
            mode = one_of("min", "max")(value["mode"])
            return Metric(text(value["name"]), "min" if mode == "min" else "max")
        value = value["name"]
    name = text(value)
    for word in _words(name):
        if word in _MODES:
            return Metric(name, _MODES[word])
    raise InputError(
        f'whether "{name}" is better low or high cannot be told from its name; '
        f"write {{name: {name}, mode: min}} or mode: max"
    )


def _epochs_to(value: Any) -> Metric:
    keys_of(mapping(value), ("metric", "below", "above"), needed=("metric",))
    logged = part(text, value["metric"], "metric")
    _check_curve(logged)
    sides = [side for side in ("below", "above") if side in value]
    if len(sides) != 1:
        raise InputError("either below or above must be given", key="below")
    level = part(number, value[sides[0]], sides[0])
    threshold = Threshold(logged, level, above=sides == ["above"])
    return Metric(f"epochs to {logged} {sides[0]} {level:g}", "min", threshold)


def _gap(value: Any) -> Metric:
    if not isinstance(value, list) or len(value) != 2:
        raise TypeError("expected two metrics, of which the second is subtracted")
    first, second = (part(_plain, each, str(at)) for at, each in enumerate(value))
    if first.mode != second.mode or first.name == second.name:
        told = f"{first.name} and {second.name} are not two metrics of the same kind"
        raise InputError(told, key="1")
    return Metric(f"{first.name} - {second.name}", first.mode, gap=(first.name, second.name))


def _early(value: Any) -> Metric:
    keys_of(mapping(value), ("metric", "epoch"), needed=("metric", "epoch"))
    curve = part(_plain, value["metric"], "metric")
    _check_curve(curve.name)
    epoch = part(whole, value["epoch"], "epoch")
    name = f"{curve.name} after {epoch} epoch{'s' * (epoch > 1)}"
    return Metric(name, curve.mode, early=(curve.name, epoch))


def _plain(value: Any) -> Metric:
    metric = parse_metric(value)
    if metric.needs != (metric.name,):
        raise TypeError("expected a logged metric's name, or {name: ..., mode: min|max}")
    return metric


def _check_curve(logged: str) -> None:
    if "test" in re.split("[^a-z]+", logged.lower()):
        told = f"{logged} is measured once, at the end; name a curve of training or validation"
        raise InputError(told, key="metric")


def number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e308:
        raise TypeError("expected a number")
    return float(value)


def metrics(value: Any) -> tuple[Metric, ...]:
    """A list of metrics, the first of which decides.

    Raises:
        InputError: It is empty or names one twice.
    """
    if not isinstance(value, list) or not value:
        raise TypeError("expected a list of metrics, the one that decides first")
    parsed = tuple(part(parse_metric, each, str(at)) for at, each in enumerate(value))
    names = [metric.name for metric in parsed]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f'"{name}" is written twice')
    return parsed


def tune(value: Any) -> Tune:
    """A tuning stage.

    Raises:
        InputError: A key of it cannot be used.
    """
    known = ("trials", "space", "arms", "sampler", "pruner", "metric", "seed")
    keys_of(mapping(value), known, needed=("trials",))
    shared = part(_space, value.get("space", {}), "space")
    own = part(mapping, value.get("arms", {}), "arms")
    arms = {arm: part(_space, space, f"arms.{arm}") for arm, space in own.items()}
    if not shared and not any(arms.values()):
        raise InputError("is missing", key="space")
    metric = part(parse_metric, value["metric"], "metric") if "metric" in value else None
    sampler = part(one_of(*get_args(Sampler)), value.get("sampler", "tpe"), "sampler")
    pruner = part(one_of(*get_args(Pruner)), value.get("pruner", "median"), "pruner")
    return Tune(
        trials=part(whole, value["trials"], "trials"),
        space=shared,
        arms=arms,
        sampler=cast(Sampler, sampler),
        pruner=cast(Pruner, pruner),
        metric=metric,
        seed=part(whole, value.get("seed", MOST_SEEDS), "seed"),
    )


def _space(value: Any) -> dict[str, Range]:
    return {key: part(_range, each, key) for key, each in mapping(value).items()}


def _range(value: Any) -> Range:
    if isinstance(value, list):
        if len(value) < 2 or any(isinstance(choice, dict | list) for choice in value):
            raise TypeError("expected at least two plain choices")
        return Range(choices=tuple(value))
    if not isinstance(value, dict):
        raise TypeError("expected a list of choices, or {low: ..., high: ..., log: true}")
    keys_of(value, ("low", "high", "log", "step"), needed=("low", "high"))
    low, high = (part(number, value[key], key) for key in ("low", "high"))
    log = part(flag, value.get("log", False), "log")
    step = part(number, value["step"], "step") if "step" in value else None
    whole_numbers = all(isinstance(value[key], int) for key in value if key != "log")
    if not low < high:
        raise InputError(f"expected more than low ({low:g})", key="high")
    if log and (low <= 0 or step is not None):
        raise InputError("a logarithmic range starts above 0 and has no step", key="log")
    if step is not None and not 0 < step <= high - low:
        raise InputError("expected a number above 0 and within the range", key="step")
    return Range(low, high, log=log, step=step, whole=whole_numbers)


def _words(name: str) -> list[str]:
    """What may tell the mode, last first: ``valLoss/F1`` as f1, f, valloss, loss, val."""
    words = []
    for part in reversed(re.findall(r"[A-Za-z]+\d?", name)):
        camel = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", part)
        words += [part, part.rstrip("0123456789"), *reversed(camel)]
    words = [word.lower() for word in words]
    # What is negated, as scikit-learn does, is better high for one author and low for another.
    return [] if {"neg", "negative"} & set(words) else words
