"""What rehearsals tell of a study's arms, seen side by side."""

import datetime
import math
from collections.abc import Mapping
from typing import Any

from ablations.study import Arm, InputError, Study
from ablations.study.errors import nearest, same_arms
from ablations.study.yamlfile import flatten
from ablations.sweep.job import Rehearsal


def changes(config: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Where two resolved configurations differ: ``{key: [in the baseline, in the arm]}``."""
    ours, theirs = ({k: _plain(v) for k, v in flatten(dict(c)).items()} for c in (config, baseline))
    keys = [*theirs, *(key for key in ours if key not in theirs)]
    return {k: [theirs.get(k), ours.get(k)] for k in keys if theirs.get(k) != ours.get(k)}


def _plain(value: Any) -> Any:
    """A value as JSON can hold it; nan equals itself then."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    odd = isinstance(value, float) and not math.isfinite(value)
    return str(value) if odd or isinstance(value, datetime.date) else value


def check_rehearsals(study: Study, rehearsals: Mapping[str, Rehearsal]) -> list[InputError]:
    """What is wrong with the arms of a study, seen side by side."""
    errors = [r.error for r in rehearsals.values() if r.error is not None]
    whole = {name: r for name, r in rehearsals.items() if r.error is None}
    errors += check_differences(study, {name: r.config for name, r in whole.items()})
    for name, rehearsal in whole.items():
        own = study.arm(name).metric is not None
        where = f"arms.{name}.metric" if own else "metrics" if study.beside else "metric"
        keys = {wanted: "metrics" for metric in study.beside for wanted in metric.needs}
        if study.tune is not None and study.tune.metric is not None:
            keys[study.tune.metric.logged] = "tune.metric"
        keys |= dict.fromkeys(study.metric_of(name).needs, where)
        errors += [
            InputError(
                f'"{wanted}" is not logged by fit or test; logged are '
                f"{', '.join(rehearsal.logged) or 'none'}",
                file=study.file,
                key=key,
                nearest=nearest(wanted, rehearsal.logged),
            )
            for wanted, key in keys.items()
            if wanted not in rehearsal.logged
        ]
        errors += [
            InputError(
                f"{metric.name} is never reached: trainer.max_epochs is {epochs:g}",
                file=study.file,
                key=where if metric == study.metric_of(name) else "metrics",
            )
            for metric in (study.metric_of(name), *study.beside)
            for epochs in [rehearsal.config.get("trainer", {}).get("max_epochs") or -1]
            if metric.early and 0 < epochs < metric.early[1]
        ]
    return list({str(error): error for error in errors}.values())


def check_differences(study: Study, configs: Mapping[str, Mapping[str, Any]]) -> list[InputError]:
    """Arms that change nothing, and arms that are the same."""
    errors: list[InputError] = []
    known: list[Arm] = []
    for arm in sorted(study.arms, key=lambda a: a.name != study.baseline):
        if arm.name not in configs:
            continue
        for other in known:
            read_alike = study.metric_of(arm.name) == study.metric_of(other.name)
            if not read_alike or changes(configs[arm.name], configs[other.name]):
                continue
            errors.append(same_arms(arm.name, other.name, study.baseline, study.file))
            break
        known.append(arm)
    return errors
