"""Each arm's delta with its interval, the seeds' own differences and the paper's figure."""

import math
from collections.abc import Iterable

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ablations.results.figures import FAINT, INK, MARGIN, Colours, style, wrapped
from ablations.results.rows import DeltaTable, Row
from ablations.results.scale import delta_interval_text, delta_text, margin_text
from ablations.results.statistics import MIN_PAIRS_FOR_VERDICT
from ablations.results.wording import digits_for, is_percentage


def forest_plot(table: DeltaTable, colours: Colours) -> Figure:
    """Each arm's delta with its 95% interval, and a dot for each seed's paired difference.

    The margin is shaded, a paper's figure is a star. Numbers and verdicts stand at the right.
    """
    rows, metric = table.arms, table.metric
    with style():
        figure = Figure(figsize=(8.6, 1.5 + 0.5 * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=1, zorder=1)
        if table.margin is not None:
            axes.axvspan(-table.margin, table.margin, color=MARGIN, linewidth=0, zorder=0)
        for y, row in enumerate(rows):
            _forest_row(axes, row, y, colours[row.arm], digits_for(table))
        axes.set_ylim(len(rows) - 0.35, -0.5)
        axes.set_yticks(range(len(rows)), [wrapped(row.arm) for row in rows])
        axes.set_xlim(*_reach(table))
        percent = is_percentage(metric.name, [row.mean for row in table.rows])
        unit = " (percentage points)" if percent else ""
        if metric.threshold is None:
            axes.set_xlabel(f"change of {metric.name} against {table.baseline.arm}{unit}")
        else:
            axes.set_xlabel(f"{metric.name}: ratio to {table.baseline.arm}")
            _factors_below(axes)
        sides = ("better", "worse") if metric.mode == "min" else ("worse", "better")
        for text, side in ((f"← {sides[0]}   ", "right"), (f"   {sides[1]} →", "left")):
            axes.text(
                *(0, 1.0, text),
                transform=axes.get_xaxis_transform(),
                ha=side,
                va="bottom",
                color=FAINT,
                fontsize=9,
            )
        sns.despine(ax=axes, left=True)
        figure.legend(handles=_forest_legend(table), loc="outside lower center", ncols=5)
    return figure


def _factors_below(axes: Axes) -> None:
    """Label an axis of logarithms by round factors, where its range has three of them."""
    low, high = axes.get_xlim()
    round_ones = (m * 10.0**e for e in range(-4, 5) for m in (1, 1.5, 2, 3, 5, 7))
    ticks = [t for t in map(math.log, round_ones) if low <= t <= high]
    if len(ticks) > 2:
        axes.set_xticks(ticks[:: -(-len(ticks) // 9)])
    axes.xaxis.set_major_formatter(lambda log, _: f"×{math.exp(log):.3g}")


def _forest_row(axes: Axes, row: Row, y: int, colour: str, digits: int) -> None:
    differences = row.delta.differences
    below = y + 0.26 + 0.05 * np.resize([-1, 1], len(differences))
    axes.scatter(differences, below, s=16, color=colour, alpha=0.6, linewidth=0, zorder=2)
    low, high = row.delta.interval
    if math.isfinite(low):
        axes.plot([low, high], [y, y], color=colour, linewidth=2.8, solid_capstyle="butt")
    if row.pairs:
        axes.plot(row.delta.mean, y, "D", markersize=7.5, color=colour, markeredgecolor="white")
    claimed = row.claim and row.claim.delta_for(row.metric)
    if claimed:
        axes.plot(claimed.number, y, "*", markersize=12, color="white", markeredgecolor=INK)
    mean = delta_text(row.metric, row.delta, digits) if row.pairs else "no pairs"
    numbers = f"{mean} {delta_interval_text(row.metric, row.delta.interval, digits)}"
    place = axes.get_yaxis_transform()
    axes.text(1.02, y, numbers, transform=place, va="center", fontsize=9)
    axes.text(
        1.02,
        y + 0.32,
        row.verdict if row.pairs else "",
        transform=place,
        va="center",
        fontsize=8.5,
        color="#555555",
    )


def _reach(table: DeltaTable) -> tuple[float, float]:
    also = [-(table.margin or 0.0), table.margin or 0.0]
    for row in table.arms:
        claimed = row.claim and row.claim.delta_for(row.metric)
        also += [*row.delta.differences, *([claimed.number] if claimed else [])]
    return reach(table.arms, also)


def reach(rows: Iterable[Row], also: Iterable[float]) -> tuple[float, float]:
    """Ends of an axis that shows zero, every mean and other numbers.

    The interval of two pairs is so wide that it would hide all else: it may leave the axis.
    """
    shown = [0.0, *also]
    for row in rows:
        shown += [row.delta.mean] if row.pairs else []
        shown += row.delta.interval if row.pairs >= MIN_PAIRS_FOR_VERDICT else ()
    low, high = np.nanmin(shown), np.nanmax(shown)
    room = 0.05 * (high - low) or 1.0
    return float(min(low - room, -0.2 * high)), float(max(high + room, -0.2 * low))


def _margin(table: DeltaTable) -> str:
    sign = "±" if table.metric.threshold is None else "up to "
    return f"margin {sign}{margin_text(table.metric, table.margin or 0.0)}"


def _forest_legend(table: DeltaTable) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=FAINT, linewidth=2.8, marker="D", label="mean and 95% interval"),
        Line2D([], [], color=FAINT, linestyle="", marker="o", markersize=4, label="one seed"),
    ]
    if table.margin is not None:
        handles.append(Patch(color=MARGIN, label=_margin(table)))
    if any(row.claim and row.claim.delta_for(row.metric) for row in table.arms):
        star = Line2D([], [], color="white", marker="*", markersize=10, markeredgecolor=INK)
        star.set_label("the paper, on its own data")
        handles.append(star)
    return handles
