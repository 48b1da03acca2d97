"""Learning curves: a panel for each arm, the baseline behind it."""

import math
import re
from typing import Literal

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ablations.results.figures import BASELINE, FAINT, INK, Colours, style, wrapped
from ablations.results.wording import is_percentage
from ablations.study import Study

_LOGGED = re.compile(r"(train|training|val|valid|validation|test)[/_.-](.+?)(?:_epoch)?")
_PHASES = {"training": "train", "valid": "val", "validation": "val"}
_DASHES: dict[str, Literal["-", "--"]] = {"val": "-", "train": "--"}


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
            axes.set_title(wrapped(arm, 30))
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
