"""Two factors at a time: the metric over one, a line for each level of the other."""

import math
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablations.results.figures import PALETTE, style, wrapped
from ablations.results.frame import values_by_seed
from ablations.results.interactions import design_of
from ablations.results.wording import is_percentage
from ablations.study import Study


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
            axes.set_title(wrapped(term.label, 34))
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
