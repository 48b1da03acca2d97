"""The effect tables of a study whose arms are a two-level design."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ablations.results.factorial import Effect, cells_order, effects, interaction
from ablations.results.frame import compared_by_seed
from ablations.results.numbers import p_text
from ablations.results.scale import delta_interval_text, delta_text
from ablations.results.sections import Section, plain
from ablations.results.statistics import Delta, holm, paired_delta
from ablations.results.wording import count, data_of, listed
from ablations.study import Metric, Study
from ablations.study.fractional import Fraction, fraction

CROSSED_DESIGNS = ("factorial", "fractional")


def design_of(study: Study) -> Fraction | None:
    """The two-level design that made a study's arms; None where a factor has more levels."""
    if study.design not in CROSSED_DESIGNS:
        return None
    factors = list(study.arms[0].levels)
    if any(len({arm.levels[factor] for arm in study.arms}) != 2 for factor in factors):
        return None
    return fraction(factors, len(study.arms))


def effect_sections(study: Study, frame: pd.DataFrame, digits: int) -> tuple[Section, ...]:
    """The effects of a factorial study and, where the design is full, its interactions.

    Args:
        study: The study.
        frame: As of :func:`ablations.results.frame.trial_frame`.
        digits: Decimals of the metric.
    """
    if study.design not in CROSSED_DESIGNS:
        return ()
    design = design_of(study)
    if design is None:
        many = [f for f in study.arms[0].levels if len({a.levels[f] for a in study.arms}) > 2]
        verb = "has" if len(many) == 1 else "have"
        told = f"No effect table: {listed(many)} {verb} more than two levels."
        return (Section("effects", "Effects", (), (), (), (told,), ()),)
    late = int(frame["time"].eq(math.inf).sum())
    if late:
        told = f"No effect table: {count(late, 'trial')} never crossed, so contrasts are unknown."
        return (Section("effects", "Effects", (), (), (), (told,), ()),)
    show = _Texts(study.metric, digits)
    matrix = compared_by_seed(frame)
    order = cells_order([arm.levels for arm in study.arms], design)
    cells = matrix[[study.arms[at].name for at in order]]
    found = effects(cells.to_numpy(), design)
    parts = [_effects(found, design, show, len(cells))]
    if design.resolution is None and len(design.factors) > 1:
        parts.append(_interactions(cells, design, show))
    return tuple(parts)


@dataclass(frozen=True)
class _Texts:
    metric: Metric
    digits: int

    def cells(self, delta: Delta, p_holm: float) -> tuple[str, ...]:
        ends = delta_interval_text(self.metric, delta.interval, self.digits)
        return self.mean(delta), ends, p_text(delta.p), p_text(p_holm)

    def mean(self, delta: Delta) -> str:
        return delta_text(self.metric, delta, self.digits)


def _effects(found: tuple[Effect, ...], design: Fraction, show: _Texts, seeds: int) -> Section:
    rows = [(e.term.label, *show.cells(e.delta, e.p_holm)) for e in found]
    said = [
        "An effect is the mean over the cells where the factor is stripped less the mean where it "
        "is not, per seed; of two factors, half of how much one's effect grows when the other is "
        f"stripped. Interval: 95%, t over {found[0].delta.n} seeds: new seeds, "
        f"{data_of(show.metric)}; Holm over {len(found)} effects."
    ]
    if design.resolution is not None:
        said.append(
            "An effect stands with all that it cannot be told from, up to interactions of two "
            "factors; it is their sum, with the signs shown."
        )
    if found[0].delta.missing:
        said.append(f"{len(found[0].delta.missing)} of {seeds} seeds lack a cell and are left out.")
    return Section(
        "effects",
        f"Effects ({design.label})",
        ("effect of stripping", "mean", "95% interval", "p", "Holm"),
        tuple(rows),
        ("effect of stripping",),
        tuple(said),
        tuple(
            {
                "effect": e.term.label,
                "factors": list(e.term.factors),
                "aliases": [{"sign": sign, "factors": list(fs)} for sign, fs in e.term.aliases],
                **_values(e.delta, e.p_holm),
            }
            for e in found
        ),
    )


def _interactions(cells: pd.DataFrame, design: Fraction, show: _Texts) -> Section:
    """For each factor: removed from the full model, removed where it is alone, the difference."""
    column = {cell: cells.iloc[:, at].to_numpy() for at, cell in enumerate(design.cells)}
    k = len(design.factors)
    full, stripped = column[(0,) * k], column[(1,) * k]
    compared = []
    for at in range(k):
        without = column[tuple(int(i == at) for i in range(k))]
        alone = column[tuple(int(i != at) for i in range(k))]
        compared.append(
            (
                paired_delta(without, full),
                paired_delta(stripped, alone),
                interaction(full, without, stripped, alone),
            )
        )
    corrected = [float(p) for p in holm([difference.p for *_, difference in compared])]
    found = list(zip(design.factors, compared, corrected, strict=True))
    return Section(
        "interactions",
        "Does a factor matter more beside the others than alone?",
        ("removing", "beside all", "where alone", "interaction", "95% interval", "p", "Holm"),
        tuple(
            (name, show.mean(beside), show.mean(alone), *show.cells(difference, p))
            for name, (beside, alone, difference), p in found
        ),
        ("removing",),
        (
            "Interaction: what removing the factor does in the full model, less what it does "
            f"where it is the only one, per seed. Interval: 95%, t: new seeds, "
            f"{data_of(show.metric)}.",
        ),
        tuple(
            {
                "factor": name,
                "beside_all": plain(beside.mean),
                "alone": plain(alone.mean),
                **_values(difference, p),
            }
            for name, (beside, alone, difference), p in found
        ),
    )


def _values(delta: Delta, p_holm: float) -> dict[str, Any]:
    found = {"mean": delta.mean, "interval": delta.interval, "p": delta.p, "p_holm": p_holm}
    return {"n": delta.n, **plain(found)}
