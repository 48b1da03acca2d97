"""Deltas as text: differences, or ratios where logarithms of times were compared."""

import math

from ablations.results.numbers import interval_text, signed
from ablations.results.statistics import Interval
from ablations.study import Metric


def delta_text(metric: Metric, delta: float, digits: int) -> str:
    """A difference with its sign, of times the factor: "+1.20", "×5.81"; a dash for none."""
    if not math.isfinite(delta):
        return "–"
    return ratio_text(math.exp(delta)) if metric.threshold else signed(delta, digits)


def delta_interval_text(metric: Metric, interval: Interval, digits: int) -> str:
    """Its interval in brackets, empty where it is not defined."""
    if metric.threshold is None or not all(map(math.isfinite, interval)):
        return interval_text(interval, digits)
    low, high = map(math.exp, interval)
    return f"[{ratio_text(low)}, {ratio_text(high)}]"


def ratio_text(ratio: float) -> str:
    """A factor in three figures: "×5.81"."""
    if not (math.isfinite(ratio) and ratio > 0):
        return "–"
    return f"×{ratio:.{max(0, 2 - math.floor(math.log10(ratio)))}f}"
