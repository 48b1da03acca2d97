"""The tuning stage of a study: what may be set, and what is the same study with it set."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from ablations.study.design import trial_id
from ablations.study.errors import InputError
from ablations.study.schema import Arm, Metric, Range, Study, Trial, Tune
from ablations.study.yamlfile import expand, flatten, merge

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class TuningTrial(Trial):
    """One try of an arm's settings.

    Attributes:
        number: Among the arm's, from 0.
        settings: By dotted key.
    """

    number: int = 0
    settings: Settings = field(default_factory=dict, compare=False)


def stage_of(study: Study) -> tuple[Tune, Metric]:
    """The stage and the metric that it reads, of a study that has one."""
    assert study.tune is not None and study.tune.metric is not None
    return study.tune, study.tune.metric


def space_of(study: Study, arm: str) -> dict[str, Range]:
    """What may be set in an arm."""
    stage, _ = stage_of(study)
    return {**stage.space, **stage.arms.get(arm, {})}


def tuned_arms(study: Study) -> list[str]:
    """The arms in which something may be set."""
    return [arm.name for arm in study.arms if space_of(study, arm.name)]


def check_stage(study: Study) -> None:
    """See that arms differ in more than what is tuned in them.

    Raises:
        InputError: Two would be tuned into the same.
    """
    names = tuned_arms(study)
    rest = {}
    for name in names:
        space = space_of(study, name)
        written = flatten(dict(study.arm(name).overrides))
        rest[name] = space, {k: v for k, v in written.items() if k not in space}
    for number, name in enumerate(names):
        for other in names[:number]:
            if rest[name] == rest[other] and study.metric_of(name) == study.metric_of(other):
                told = f'differs from arm "{other}" in nothing but what is tuned in both'
                raise InputError(told, file=study.file, key=f"arms.{name}")


def tuning_trial(study: Study, arm: str, number: int, settings: Settings) -> TuningTrial:
    """A try; its id tells it from a trial with the same settings, since it is not tested."""
    stage, metric = stage_of(study)
    own = with_settings(study, {arm: settings}).arm(arm)
    how = [arm, stage.pruner, metric.logged]
    key = trial_id(study, own, stage.seed, tuning=how)
    return TuningTrial(key, arm, stage.seed, number, settings)


def stage_key(study: Study, arm: str) -> str:
    """A hash of all that decides what an arm's tuning tries, but for how many."""
    stage, metric = stage_of(study)
    how = [arm, repr(space_of(study, arm)), stage.sampler, stage.pruner, repr(metric)]
    return trial_id(study, study.arm(arm), stage.seed, tuning=how)


def as_written(study: Study, arm: str) -> Settings | None:
    """The settings that the study itself gives an arm; None where the space has them not all."""
    written = flatten(merge(dict(study.base_config), dict(study.arm(arm).overrides)))
    space = space_of(study, arm)
    if all(key in written and _holds(each, written[key]) for key, each in space.items()):
        return {key: written[key] for key in space}
    return None


def _holds(each: Range, value: Any) -> bool:
    if each.choices:
        return value in each.choices
    if isinstance(value, bool) or not isinstance(value, int if each.whole else int | float):
        return False
    steps = (value - each.low) / (each.step or 1.0)
    return each.low <= value <= each.high and (each.step is None or steps == round(steps))


def with_settings(study: Study, settings: Mapping[str, Settings]) -> Study:
    """The study with settings of its arms in place of what was written."""

    def set_in(arm: Arm) -> Arm:
        added = expand(dict(settings.get(arm.name, {})))
        return replace(arm, overrides=merge(dict(arm.overrides), added))

    return replace(study, arms=tuple(set_in(arm) for arm in study.arms))


def own_settings(study: Study, chosen: Mapping[str, Settings]) -> Study:
    """A study of its own, without a tuning stage: each arm with what its tuning chose."""
    name = f"{study.name}-own-settings"
    question = f"{study.question} (each arm with its own settings)"
    return replace(with_settings(study, chosen), name=name, question=question, tune=None)


def own_settings_file(raw: Mapping[str, Any], own: Study) -> dict[str, Any]:
    """What :func:`own_settings` gave, as a study file.

    Args:
        raw: The content of the tuned study's file.
        own: What was made of it.
    """
    kept = {k: v for k, v in raw.items() if k not in ("tune", "factors", "design", "cells")}
    arms = {arm.name: dict(arm.overrides) | _metric_key(arm.metric) for arm in own.arms}
    return kept | {"question": own.question, "baseline": own.baseline, "arms": arms}


def _metric_key(metric: Metric | None) -> dict[str, Any]:
    if metric is None:
        return {}
    first, *_ = plain = [{"name": name, "mode": metric.mode} for name in metric.needs]
    if metric.gap:
        return {"metric": {"gap": plain}}
    if metric.early:
        return {"metric": {"early": {"metric": first, "epoch": metric.early[1]}}}
    if metric.threshold is None:
        return {"metric": first}
    crossed = metric.threshold
    side = {"above" if crossed.above else "below": crossed.level}
    return {"metric": {"epochs_to": {"metric": crossed.metric, **side}}}


def probes(study: Study) -> Iterator[Study]:
    """The study at the ends of its space and with every choice, each value in one of them."""
    spaces = {arm: space_of(study, arm) for arm in tuned_arms(study)}
    ends = {
        arm: {key: each.choices or _ends(each) for key, each in space.items()}
        for arm, space in spaces.items()
    }
    most = max(len(values) for space in ends.values() for values in space.values())
    for number in range(most):
        yield with_settings(
            study,
            {
                arm: {key: values[min(number, len(values) - 1)] for key, values in space.items()}
                for arm, space in ends.items()
            },
        )


def _ends(each: Range) -> tuple[float, ...]:
    return tuple(int(end) if each.whole else end for end in (each.low, each.high))


def told_in_space(error: InputError, study: Study, arm: str) -> InputError:
    """An error of a probed arm at the key of the space that it comes from."""
    stage, _ = stage_of(study)
    prefix = f"arms.{arm}."
    at = (error.key or "").removeprefix(prefix)
    if at == error.key:
        return error
    own = stage.arms.get(arm, {})
    near = (key for key in space_of(study, arm) if f"{key}.".startswith(f"{at}."))
    for key in islice(near, 1):
        place = f"tune.arms.{arm}.{key}" if key in own else f"tune.space.{key}"
        return InputError(error.message, file=study.file, key=place, nearest=error.nearest)
    return error


def value_of(metric: Metric, curve: Mapping[int, float], last: float | None) -> float | None:
    """What a try is judged by: the last value, or when the curve first crossed the level.

    Args:
        metric: The stage's.
        curve: Its values by epochs passed, interpolated linearly between them; one that never
            crosses counts an epoch more than it has.
        last: The value that the trial ended with.
    """
    if metric.threshold is None or last is None:
        return last
    sign = 1.0 if metric.threshold.above else -1.0
    before: tuple[int, float] | None = None
    for epoch in sorted(curve):
        left = sign * (metric.threshold.level - curve[epoch])
        if left <= 0:
            start, room = before or (epoch, 1.0)
            return start + (epoch - start) * room / (room - left)
        before = (epoch, left) if math.isfinite(left) else None
    return float(max(curve, default=0) + 1)


def told(settings: Settings) -> str:
    """Settings in a line, by the last part of their keys."""
    pairs = ((key.rpartition(".")[2], value) for key, value in settings.items())
    return ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in pairs)
