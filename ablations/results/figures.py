"""Forest plot, learning curves, completeness matrix: each returns a Figure, none needs a screen.

Arms have one colour in all figures, told apart by colour-blind readers (Okabe and Ito 2008, Tol
2021), and nothing is told by colour alone.
"""

import io
import math
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ablations.results.frame import values_by_seed
from ablations.results.interactions import design_of
from ablations.results.rows import DeltaTable, Row
from ablations.results.scale import delta_interval_text, delta_text, margin_text
from ablations.results.statistics import MIN_PAIRS_FOR_VERDICT
from ablations.results.wording import digits_for, is_percentage
from ablations.study import Study

Colours = dict[str, str]

BASELINE = "#5a5a5a"
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
PALETTE += ["#882255", "#999933", "#332288", "#44AA99", "#CC6677"]
INK, FAINT, _MARGIN = "#222222", "#8a8a8a", "#e6edf4"
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.bottom": True,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "savefig.facecolor": "white",
}
# A state's colour and the sign that tells it without colour.
_STATES = {
    "done": ("#7fbfb0", ""),
    "diverged": ("#f0b040", "~"),
    "failed": ("#d4604f", "×"),
    "running": ("#a8cbe6", "…"),
    "interrupted": ("#d9cf8f", "!"),
    "waiting": ("#f1f1f1", ""),
}
_LOGGED = re.compile(r"(train|training|val|valid|validation|test)[/_.-](.+?)(?:_epoch)?")
_PHASES = {"training": "train", "valid": "val", "validation": "val"}
_DASHES: dict[str, Literal["-", "--"]] = {"val": "-", "train": "--"}


@contextmanager
def style() -> Iterator[None]:
    """What all figures have in common, for those drawn inside."""
    with matplotlib.rc_context({**sns.axes_style("white"), **_STYLE}):
        yield


def png(figure: Figure, dpi: int = 150) -> bytes:
    """A figure as PNG."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi)
    return out.getvalue()


def svg(figure: Figure) -> bytes:
    """A figure as SVG with its text as text, the same bytes for the same figure."""
    out = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ablations"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def arm_colours(study: Study) -> Colours:
    """The colour of each arm, the baseline grey; after eleven arms they repeat."""
    others = [arm.name for arm in study.arms if arm.name != study.baseline]
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(others)}
    return {study.baseline: BASELINE, **colours}


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
            axes.axvspan(-table.margin, table.margin, color=_MARGIN, linewidth=0, zorder=0)
        for y, row in enumerate(rows):
            _forest_row(axes, row, y, colours[row.arm], digits_for(table))
        axes.set_ylim(len(rows) - 0.35, -0.5)
        axes.set_yticks(range(len(rows)), [_wrapped(row.arm) for row in rows])
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
    # The interval of two pairs is so wide that it would hide all else: it may leave the axis.
    shown = [0.0, -(table.margin or 0.0), table.margin or 0.0]
    for row in table.arms:
        claimed = row.claim and row.claim.delta_for(row.metric)
        ends = row.delta.interval if row.pairs >= MIN_PAIRS_FOR_VERDICT else ()
        shown += [*row.delta.differences, *ends, *([claimed.number] if claimed else [])]
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
        handles.append(Patch(color=_MARGIN, label=_margin(table)))
    if any(row.claim and row.claim.delta_for(row.metric) for row in table.arms):
        star = Line2D([], [], color="white", marker="*", markersize=10, markeredgecolor=INK)
        star.set_label("the paper, on its own data")
        handles.append(star)
    return handles


def learning_curves(log: pd.DataFrame, study: Study, colours: Colours) -> Figure | None:
    """A panel per arm, the baseline behind it in grey: mean over seeds, band from min to max.

    `log` is as of :func:`ablations.results.frame.curves`; only finished trials are drawn. The
    curves are the study's metric in validation and training, or the loss where the metric was
    not followed over epochs; None where neither was. Of ten epochs or more,
    the first fifth may run off the axis.
    """
    chosen = _followed(log, study.metric.logged)
    if chosen is None:
        return None
    measure, log = chosen
    arms = [arm.name for arm in study.arms if arm.name != study.baseline]
    arms = [arm for arm in arms if (log["arm"] == arm).any()] or [study.baseline]
    across = min(len(arms), 3 if len(arms) <= 9 else 4)
    down = math.ceil(len(arms) / across)
    width = 7.4 if across == 1 else 8.6
    with style():
        figure = Figure(
            figsize=(width, 0.9 + (3.0 if down == 1 else 2.1) * down), layout="constrained"
        )
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for axes, arm in zip(grid.flat, arms, strict=False):
            for name in dict.fromkeys((study.baseline, arm)):
                for phase, dashes in _DASHES.items():
                    found = log[(log["arm"] == name) & (log["phase"] == phase)]
                    _band(axes, found, colours[name], dashes)
            axes.set_title(_wrapped(arm, 30))
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.tick_params(labelbottom=True)
            sns.despine(ax=axes)
        for axes in grid.flat[len(arms) :]:
            axes.remove()
        grid[0, 0].set_ylim(*_limits(log))
        figure.supxlabel("epoch", fontsize=10)
        unit = " (%)" if is_percentage(measure, log["value"]) else ""
        figure.supylabel(measure + unit, fontsize=10)
        figure.legend(handles=_curve_legend(log, study), loc="outside upper center", ncols=5)
    return figure


def _followed(log: pd.DataFrame, metric: str) -> tuple[str, pd.DataFrame] | None:
    names = {name: _LOGGED.fullmatch(name) for name in log["name"].unique()}
    split = {
        name: (_PHASES.get(match[1], match[1]), match[2]) for name, match in names.items() if match
    }
    wanted = _LOGGED.fullmatch(metric)
    for measure in (wanted[2] if wanted else metric, "loss"):
        kept = {name: phase for name, (phase, what) in split.items() if what == measure}
        found = log[log["name"].isin(kept)]
        found = found.assign(phase=found["name"].map(kept), epoch=found["epoch"] + 1)
        found = found[found["phase"].isin(_DASHES) & (found["state"] == "done")]
        if found["epoch"].nunique() > 1:
            return measure, found
    return None


def _band(axes: Axes, log: pd.DataFrame, colour: str, dashes: Literal["-", "--"]) -> None:
    if log.empty:
        return
    by_epoch = log.groupby("epoch")["value"].agg(["mean", "min", "max"])
    axes.fill_between(
        by_epoch.index, by_epoch["min"], by_epoch["max"], color=colour, alpha=0.18, linewidth=0
    )
    axes.plot(by_epoch.index, by_epoch["mean"], color=colour, linestyle=dashes, linewidth=1.6)


def _limits(log: pd.DataFrame) -> tuple[float, float]:
    # The first epochs are so far off that they would flatten the rest of a long training.
    last = log["epoch"].max()
    late = log.loc[log["epoch"] > (last / 5 if last >= 10 else 0), "value"]
    low, high = float(late.min()), float(late.max())
    room = 0.04 * (high - low or 1.0)
    return low - room, high + room


def _curve_legend(log: pd.DataFrame, study: Study) -> list[Line2D | Patch]:
    words = {"val": "validation", "train": "training"}
    phases = [phase for phase in _DASHES if (log["phase"] == phase).any()]
    return [
        *(Line2D([], [], color=INK, linestyle=_DASHES[p], label=words[p]) for p in phases),
        Line2D(
            [], [], color=BASELINE, linewidth=4, alpha=0.6, label=f"{study.baseline} (baseline)"
        ),
        Patch(color=FAINT, alpha=0.3, linewidth=0, label="least to greatest over seeds"),
    ]


def interaction_plot(frame: pd.DataFrame, study: Study) -> Figure | None:
    """A panel for each interaction of two factors: where the lines are parallel there is none.

    The metric over the levels of one factor, a line for each level of the other; a dot for each
    seed, less what the seed adds to all cells. None where the study is no two-level design.
    """
    design = design_of(study)
    matrix = values_by_seed(frame).dropna()
    pairs = [term for term in design.terms() if len(term.factors) == 2] if design else []
    if not pairs or matrix.empty:
        return None
    levels = {arm.name: arm.levels for arm in study.arms}
    centred = matrix.sub(matrix.mean(axis=1), axis=0) + matrix.to_numpy().mean()
    long = centred.melt(ignore_index=False, var_name="arm", value_name="value").reset_index()
    for factor in study.arms[0].levels:
        long[factor] = [levels[arm][factor] for arm in long["arm"]]
    across = min(len(pairs), 3)
    down = math.ceil(len(pairs) / across)
    with style():
        figure = Figure(figsize=(max(4.2, 2.9 * across), 3.0 * down), layout="constrained")
        grid = figure.subplots(down, across, sharey=True, squeeze=False)
        for axes, term in zip(grid.flat, pairs, strict=False):
            _interaction(axes, long, *term.factors)
            axes.set_title(_wrapped(term.label, 34))
        for axes in grid.flat[len(pairs) :]:
            axes.remove()
        unit = " (%)" if is_percentage(study.metric.name, matrix.to_numpy().ravel()) else ""
        figure.supylabel(study.metric.name + unit, fontsize=10)
    return figure


def _interaction(axes: Axes, long: pd.DataFrame, one: str, other: str) -> None:
    cells = long.groupby(["seed", one, other], sort=False)["value"].mean().reset_index()
    first, second = (list(dict.fromkeys(long[factor])) for factor in (one, other))
    shared: dict[str, Any] = {
        "data": cells,
        "x": one,
        "y": "value",
        "hue": other,
        "order": first,
        "hue_order": second,
        "palette": PALETTE[:2],
        "ax": axes,
    }
    sns.stripplot(**shared, dodge=0.25, jitter=False, size=3.5, alpha=0.55, legend=False)
    sns.pointplot(
        **shared,
        dodge=0.25,
        errorbar=None,
        markers=["o", "s"],
        linestyles=["-", "--"],
        linewidth=1.6,
        markersize=6,
    )
    axes.set(xlabel=one, ylabel="")
    axes.legend(title=other, fontsize=8, title_fontsize=8)
    sns.despine(ax=axes)


def completeness_matrix(frame: pd.DataFrame) -> Figure:
    """What became of every trial: a row per arm, a column per seed."""
    arms, seeds = list(dict.fromkeys(frame["arm"])), list(dict.fromkeys(frame["seed"]))
    states = frame.drop_duplicates(["arm", "seed"]).pivot(
        index="arm", columns="seed", values="state"
    )
    names = list(_STATES)
    present = [state for state in names if (frame["state"] == state).any()]
    codes = states.reindex(index=arms, columns=seeds).map(names.index)
    signs = codes.map(lambda code: _STATES[names[int(code)]][1])
    width = float(np.clip(2.4 + 0.42 * len(seeds), 4.6, 8.6))
    with style():
        figure = Figure(figsize=(width, 1.3 + 0.34 * len(arms)), layout="constrained")
        axes = figure.subplots()
        sns.heatmap(
            codes,
            ax=axes,
            vmin=-0.5,
            vmax=len(names) - 0.5,
            cmap=[colour for colour, _ in _STATES.values()],
            annot=signs if len(seeds) <= 30 else False,
            fmt="",
            annot_kws={"color": INK, "fontsize": 11},
            cbar=False,
            linewidths=1.5 if len(seeds) <= 30 else 0.2,
            linecolor="white",
            yticklabels=[_wrapped(arm, 40) for arm in arms],
        )
        axes.set(xlabel="seed", ylabel="")
        axes.tick_params(bottom=False, left=False, labelrotation=0)
        handles = [
            Patch(
                facecolor=_STATES[s][0],
                edgecolor=FAINT,
                linewidth=0.4,
                label=f"{s} {_STATES[s][1]}".strip() + f" ({int((frame['state'] == s).sum())})",
            )
            for s in present
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3))
    return figure


def _wrapped(name: str, width: int = 22) -> str:
    return "\n".join(textwrap.wrap(name, width, break_long_words=True)) or name
