"""Figure 1: training error over epochs, ReLUs solid and other units dashed, and the epochs' ratio.

Each net keeps the learning rate that its study gave or tuned for it, which the legend and the
table name: the paper's claim is about nets at their own best rates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ablations.results.figures import FAINT, INK, Colours, arm_colours, style
from ablations.results.frame import curves, trial_frame
from ablations.results.numbers import fixed, p_text
from ablations.results.paper import studies_in
from ablations.results.scale import ratio_text
from ablations.results.setting import trial_config
from ablations.results.threshold import TimeRatio, first_crossing, time_ratio
from ablations.results.wording import is_percentage
from ablations.study import InputError, Study, trials
from ablations.workspace import Workspace
from analysis.command import (
    Out,
    StudyOption,
    WorkspaceFolder,
    run,
    the_one,
    write_figure,
    write_table,
)

# In evaluation mode where a study logs that, else as the training batches were met.
METRICS = ("train/eval_top1_error", "train/top1_error")


@dataclass(frozen=True)
class Curve:
    """One arm's training.

    Attributes:
        rate: The learning rate.
        epochs: Passed at each point.
        values: (seeds, epochs) of the metric, NaN where a trial has none.
        times: (seeds,) epochs to the threshold, infinity where it was not reached.
    """

    arm: str
    activation: str
    rate: float
    epochs: NDArray[np.float64]
    values: NDArray[np.float64]
    times: NDArray[np.float64]


def activation_of(study: Study, workspace: Workspace, arm: str) -> tuple[str, float]:
    """The activation and the learning rate that an arm's first trial was trained with."""
    first = next(trial.id for trial in trials(study) if trial.arm == arm)
    model: dict[str, Any] = trial_config(workspace, first).get("model") or {}
    arguments = model.get("init_args") or {}
    return str(arguments.get("activation", "")), float(arguments.get("learning_rate") or "nan")


def arms_of(study: Study, workspace: Workspace) -> list[str]:
    """The baseline and every arm with another activation."""
    base, _ = activation_of(study, workspace, study.baseline)
    others = [
        arm.name
        for arm in study.arms
        if activation_of(study, workspace, arm.name)[0] not in ("", base)
    ]
    return [study.baseline, *others] if base and others else []


def logged(study: Study, workspace: Workspace) -> str:
    """The training error that the study's trials logged."""
    names = set(curves(trial_frame(study, workspace), workspace)["name"])
    return next((name for name in METRICS if name in names), METRICS[-1])


def read_curves(
    study: Study, workspace: Workspace, arms: Sequence[str], metric: str, below: float
) -> list[Curve]:
    """The curves of the arms over the study's seeds.

    Raises:
        InputError: An arm has not logged the metric over epochs.
    """
    frame = trial_frame(study, workspace)
    log = curves(frame[frame["state"].isin(("done", "diverged"))], workspace)
    found = []
    for arm in arms:
        part = log[(log["arm"] == study.arm(arm).name) & (log["name"] == metric)]
        if part["epoch"].nunique() < 2:
            names = sorted(set(log.loc[log["arm"] == arm, "name"]))
            told = f'"{arm}" has no finished trial that logged {metric} over epochs'
            raise InputError(
                f"{told}; finish `ablate run {study.name}` first"
                if not names
                else f"{told}; there are {', '.join(names)}",
                file=study.file,
            )
        table = part.pivot(index="seed", columns="epoch", values="value").reindex(
            index=list(study.seeds)
        )
        epochs = table.columns.to_numpy(dtype=float) + 1
        values = table.to_numpy(dtype=float)
        ran = set(part["seed"])
        times = [
            first_crossing(epochs, row, below) if seed in ran else np.nan
            for seed, row in zip(study.seeds, values, strict=True)
        ]
        activation, rate = activation_of(study, workspace, arm)
        found.append(Curve(arm, activation, rate, epochs, values, np.array(times)))
    return found


def ratios(found: Sequence[Curve]) -> list[TimeRatio]:
    """The time of each arm but the first, divided by the first's."""
    budget = float(min(curve.epochs[-1] for curve in found))
    return [time_ratio(curve.times, found[0].times, budget) for curve in found[1:]]


def ratio_with_interval(ratio: TimeRatio) -> str:
    """As "×6.00 [×5.10, ×7.00]", or "≥ ×6.00" where trials ran out of epochs."""
    if not ratio.n:
        return "–"
    low, high = ratio.interval
    interval = f" [{ratio_text(low)}, {ratio_text(high)}]" if np.isfinite(low) else ""
    return f"{ratio_text(ratio.ratio, ratio.bound)}{interval}"


def figure(found: Sequence[Curve], colours: Colours, metric: str, below: float) -> Figure:
    """Means over seeds over the curves of single seeds, and where they cross the threshold."""
    percent = is_percentage(metric, np.concatenate([c.values.ravel() for c in found]).tolist())
    with style():
        drawn = Figure(figsize=(7.4, 4.8), layout="constrained")
        axes = drawn.subplots()
        axes.axhline(below, color=FAINT, linewidth=1, linestyle=":")
        told = f"{below:g}{'%' if percent else ''}"
        axes.text(1.01, below, told, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
        for curve in found:
            dashes = "-" if curve.activation == "relu" else "--"
            colour = colours[curve.arm]
            for seed in curve.values:
                axes.plot(curve.epochs, seed, dashes, color=colour, alpha=0.25, linewidth=0.8)
            with np.errstate(all="ignore"):
                mean = np.nanmean(curve.values, axis=0)
            label = f"{curve.arm} ({curve.activation}, rate {curve.rate:g})"
            axes.plot(curve.epochs, mean, dashes, color=colour, linewidth=2.2, label=label)
            reached = curve.times[np.isfinite(curve.times)]
            axes.plot(
                *(reached, np.full(len(reached), below), "o"),
                color=colour,
                markersize=5,
                markeredgecolor="white",
                clip_on=False,
            )
        axes.set_xlabel("epochs")
        axes.set_ylabel(f"{metric}{' (%)' if percent else ''}", color=INK)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(False)
        told = "thick: mean over seeds; a dot where a seed crosses"
        drawn.legend(loc="outside upper center", ncols=2, title=told)
    return drawn


def table(
    study: Study, found: Sequence[Curve], below: float
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """A row per arm with its time to the threshold; as numbers a row per seed."""
    base = found[0]
    against = [None, *ratios(found)]
    rows = []
    for curve, ratio in zip(found, against, strict=True):
        known = curve.times[~np.isnan(curve.times)]
        never = int(np.isinf(known).sum())
        median = ratio.medians[0] if ratio else float(np.median(known)) if len(known) else np.nan
        rows.append(
            {
                "arm": curve.arm,
                "activation": curve.activation,
                "learning rate": f"{curve.rate:g}",
                "median epochs": fixed(median, 1) if np.isfinite(median) else "not reached",
                "reached": f"{len(known) - never} of {len(known)}",
                f"epochs / {base.arm}'s": ratio_with_interval(ratio) if ratio else "baseline",
                "p": p_text(ratio.p) if ratio else "",
            }
        )
    full = pd.DataFrame(
        [
            (curve.arm, curve.activation, curve.rate, seed, time)
            for curve in found
            for seed, time in zip(study.seeds, curve.times, strict=True)
        ],
        columns=["arm", "activation", "learning_rate", "seed", "epochs"],
    )
    rates = (
        f"Learning rates are those that {study.tune.trials} tuning trials an arm found."
        if study.tune
        else "Learning rates are those that the study file gives; none was tuned by this study."
    )
    notes = [
        f"Epochs until the curve first is at {below:g} or less, interpolated between epochs; the "
        f"ratio is exp of the mean log ratio over paired seeds with its 95% interval. A trial that "
        "never gets there makes the ratio a bound, and p a sign-flip test's; ≈: it bounds nothing.",
        rates,
        "The paper: six times as many for tanh, on CIFAR-10, to 25% training error [3.1, Fig. 1].",
    ]
    return pd.DataFrame(rows), full, notes


def convergence(
    workspace: WorkspaceFolder = Path("runs"),
    out: Out = Path("reports"),
    study: StudyOption = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="An arm beside the baseline; by default all with another activation."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Whose curve; by default the study's, or training error.")
    ] = None,
    below: Annotated[
        float | None, typer.Option(help="The threshold; by default the study's, or 25.")
    ] = None,
) -> Sequence[Path]:
    """Draw training error against epochs, with the ratio of epochs to a threshold."""
    place = Workspace(workspace)
    found = [each for each in studies_in(place) if arm or arms_of(each, place)]
    remedy = "run one first, for example `ablate run relu`"
    chosen = the_one(found, study, "compared activations", remedy)
    asked = chosen.metric.threshold
    metric = metric or (asked.metric if asked else logged(chosen, place))
    level = below if below is not None else asked.level if asked else 25.0
    arms = [chosen.baseline, *arm] if arm else arms_of(chosen, place)
    read = read_curves(chosen, place, arms, metric, level)
    text, full, notes = table(chosen, read, level)
    name, title = f"convergence-{chosen.name}", f"Epochs to {metric} of {level:g}: {chosen.name}"
    return [
        *write_figure(out, name, figure(read, arm_colours(chosen), metric, level)),
        *write_table(out, name, title, text, full, notes),
    ]


if __name__ == "__main__":
    run(convergence)
