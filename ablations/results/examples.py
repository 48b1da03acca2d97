"""From the stored predictions of a study: would more seeds or more test examples help?"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablations.results.crossed import Crossed, crossed_interval, mcnemar
from ablations.results.frame import predictions
from ablations.results.numbers import interval_text, p_text, signed
from ablations.results.sections import Section, plain
from ablations.study import Study, Trial, trials
from ablations.workspace import Workspace

Wrong = NDArray[np.bool_]
# Errors of predictions kept in half precision differ from those that the model logged where two
# classes tie.
_TIES = 0.001


@dataclass(frozen=True)
class _Scale:
    """How a metric is made of the share of wrong answers: offset + factor x share."""

    offset: float
    factor: float


_SCALES = (_Scale(0, 100), _Scale(0, 1), _Scale(100, -100), _Scale(1, -1))


@dataclass(frozen=True)
class _Differences:
    """Wrong in the arm less wrong in the baseline: -1, 0 or 1.

    Attributes:
        seeds: Those of the rows.
        each: Of shape (seeds, examples).
        factor: Makes it the metric's.
    """

    seeds: tuple[int, ...]
    each: NDArray[np.float64]
    factor: float


def crossed(study: Study, workspace: Workspace, arm: str) -> Crossed | None:
    """The difference of an arm from the baseline for new seeds and new test examples.

    None unless the metric is an error or accuracy of the stored test predictions: computed from
    them it must be what each trial reported. At least two seeds must have both.
    """
    found = _Readings(study, workspace).differences(arm)
    return None if found is None else crossed_interval(found.factor * found.each)


class _Readings:
    """What the trials of a study answered; the baseline's, which each arm needs, are read once."""

    def __init__(self, study: Study, workspace: Workspace) -> None:
        self.study, self.workspace = study, workspace
        self.by_arm: dict[str, dict[int, Trial]] = {}
        for trial in trials(study):
            self.by_arm.setdefault(trial.arm, {})[trial.seed] = trial
        self.of_baseline = cache(self._of_baseline)

    def _of_baseline(self, seed: int) -> tuple[Wrong, set[_Scale]] | None:
        trial = self.by_arm[self.study.baseline][seed]
        return _answers(self.workspace, trial, self.study.metric.name)

    def differences(self, arm: str) -> _Differences | None:
        """An arm's, where they make its metric."""
        metric = self.study.metric_of(arm)
        if arm == self.study.baseline or metric.threshold or metric != self.study.metric:
            return None
        differences, scales = {}, set(_SCALES)
        for seed, trial in self.by_arm[arm].items():
            baseline = self.of_baseline(seed)
            own = None if baseline is None else _answers(self.workspace, trial, metric.name)
            if baseline is None or own is None or len(baseline[0]) != len(own[0]):
                continue
            scales &= baseline[1] & own[1]
            if not scales:
                return None
            differences[seed] = own[0].astype(float) - baseline[0]
        return _whole(differences, scales)


def _whole(
    differences: Mapping[int, NDArray[np.float64]], scales: set[_Scale]
) -> _Differences | None:
    lengths = {len(each) for each in differences.values()}
    if len(differences) < 2 or not scales or len(lengths) > 1:
        return None
    factor = next(scale.factor for scale in _SCALES if scale in scales)
    return _Differences(tuple(differences), np.array(list(differences.values())), factor)


def _answers(workspace: Workspace, trial: Trial, metric: str) -> tuple[Wrong, set[_Scale]] | None:
    """Which examples a trial got wrong, and the scales on which that is what it reported."""
    result = workspace.result(trial.id)
    value = None if result is None else result["metrics"].get(metric)
    if value is None or result is None or result["status"] != "done":
        return None
    stored = predictions(workspace, trial.id)
    if stored is None or stored.probabilities.ndim != 2:
        return None
    top = re.search(r"top(\d+)", metric)
    wrong = _wrong(stored.targets, stored.probabilities, int(top[1]) if top else 1)
    share, room = wrong.mean(), max(_TIES, 0.6 / len(wrong))
    fitting = {s for s in _SCALES if abs((value - s.offset) / s.factor - share) <= room}
    return wrong, fitting


def _wrong(targets: NDArray[np.int64], scores: NDArray[np.floating[Any]], top: int) -> Wrong:
    if top == 1:
        return np.asarray(scores.argmax(axis=1) != targets)
    best = np.argpartition(scores, -min(top, scores.shape[1]), axis=1)[:, -top:]
    return np.asarray((best != targets[:, None]).all(axis=1))


def noise_section(study: Study, workspace: Workspace, digits: int) -> Section | None:
    """The crossed interval of every arm with its sources; None where no arm has one.

    Args:
        study: The study.
        workspace: Its trials.
        digits: Decimals of the metric.
    """
    rows, values, brief, first = [], [], [], 0
    readings = _Readings(study, workspace)
    for arm in study.arms:
        known = readings.differences(arm.name)
        found = None if known is None else crossed_interval(known.factor * known.each)
        if known is None or found is None or not found.se:
            continue
        two = mcnemar(known.each[0] < 0, known.each[0] > 0)
        first = known.seeds[0]
        brief.append(f"{arm.name} {interval_text(found.interval, digits)}")
        shares = (found.seeds, found.examples, found.interaction)
        rows.append(
            (
                arm.name,
                signed(found.mean, digits),
                interval_text(found.interval, digits),
                f"{found.se_seeds:.{digits + 1}f}",
                f"{found.se:.{digits + 1}f}",
                *(f"{share:.0%}" for share in shares),
                f"{two.only_first_wrong} / {two.only_second_wrong}, p {p_text(two.p)}",
            )
        )
        nets = {"seed": first, **asdict(two)}
        values.append(plain({"arm": arm.name, **asdict(found), "two_nets": nets}))
    if not rows:
        return None
    return Section(
        key="noise",
        title="Would more seeds or more test examples help?",
        heads=(
            "arm",
            "delta",
            "95% interval, both new",
            "SE, seeds",
            "SE, both",
            "seeds",
            "examples",
            "rest",
            f"two nets, seed {first}",
        ),
        rows=tuple(rows),
        words=("arm",),
        notes=(
            "The deltas above are for new seeds on this test set; these are for new test examples "
            "as well, from the crossed analysis of variance of the stored predictions"
            f"{', and not widened for the planned looks' * (study.plan is not None)}.",
            "Of the variance of the delta, more seeds would shrink the share of seeds, more test "
            "examples that of examples, either the rest.",
            f"Of the two nets of seed {first}: test examples that only the baseline's and only the "
            "arm's gets wrong, with McNemar's exact p. It speaks of these two nets, not of the "
            "component, and decides nothing.",
        ),
        values=tuple(values),
        report_only=True,
        # No interval for both holds at every planned look.
        brief=""
        if study.plan
        else f"For new seeds and new test examples alike, crossed: {'; '.join(brief)}.",
    )
