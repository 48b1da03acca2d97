"""Deltas as text: differences, or ratios where logarithms of times were compared."""

import math

from ablations.results.numbers import interval_text, signed
from ablations.results.statistics import Bound, Delta, Interval
from ablations.study import Metric

_BOUNDS: dict[Bound, str] = {"exact": "", "at least": "≥ ", "at most": "≤ ", "none": "≈ "}


def delta_text(metric: Metric, delta: Delta, digits: int) -> str:
    """A difference with its sign, of times the factor: "+1.20", "≥ ×5.81"; a dash for none."""
    if not math.isfinite(delta.mean):
        return "–"
    if metric.threshold is None:
        return signed(delta.mean, digits)
    return ratio_text(math.exp(delta.mean), delta.bound)


def delta_interval_text(metric: Metric, interval: Interval, digits: int) -> str:
    """Its interval in brackets, empty where it is not defined."""
    if metric.threshold is None or not all(map(math.isfinite, interval)):
        return interval_text(interval, digits)
    low, high = map(math.exp, interval)
    return f"[{ratio_text(low)}, {ratio_text(high)}]"


def margin_text(metric: Metric, margin: float) -> str:
    """A margin in the units of a delta; of times, the factor that it is the logarithm of."""
    return f"{margin:g}" if metric.threshold is None else ratio_text(math.exp(margin))


def ratio_text(ratio: float, bound: Bound = "exact") -> str:
    """A factor in three figures: "×5.81"; "≈" before it where it bounds nothing."""
    if not (math.isfinite(ratio) and ratio > 0):
        return "–"
    return f"{_BOUNDS[bound]}×{ratio:.{max(0, 2 - math.floor(math.log10(ratio)))}f}"
