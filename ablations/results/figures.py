"""What all figures have in common, and the completeness matrix; no figure needs a screen.

Arms have one colour in all figures, told apart by colour-blind readers (Okabe and Ito 2008, Tol
2021), and nothing is told by colour alone.
"""

import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ablations.study import Study

Colours = dict[str, str]

BASELINE = "#5a5a5a"
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
PALETTE += ["#882255", "#999933", "#332288", "#44AA99", "#CC6677"]
INK, FAINT, MARGIN = "#222222", "#8a8a8a", "#e6edf4"
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
            yticklabels=[wrapped(arm, 40) for arm in arms],
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


def wrapped(name: str, width: int = 22) -> str:
    """A name in lines of no more than so many characters."""
    return "\n".join(textwrap.wrap(name, width, break_long_words=True)) or name
