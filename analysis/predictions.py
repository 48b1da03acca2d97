"""Figure 4, left: test images with the labels that a trained net thinks most probable, as bars."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from ablations.data import PackedDataModule
from ablations.results.figures import FAINT, INK, PALETTE, style
from ablations.results.frame import Predictions
from ablations.results.frame import predictions as stored
from ablations.results.paper import studies_in
from ablations.study import InputError, Study, Trial, trials
from ablations.workspace import Workspace
from analysis.command import Out, StudyOption, WorkspaceFolder, run, the_one, write_figure
from analysis.drawing import short, show_image
from analysis.trained import class_names, open_data_of, test_batches

LABELS = 5
# Light enough for dark text on it.
RIGHT, WRONG = PALETTE[5], "#d0d0d0"
ACROSS = 4


def predicting(study: Study, workspace: Workspace, arm: str) -> list[tuple[Trial, Predictions]]:
    """The finished trials of an arm that stored what they answered, by seed."""
    found = [
        (trial, stored(workspace, trial.id))
        for trial in trials(study)
        if trial.arm == arm and (workspace.result(trial.id) or {}).get("status") == "done"
    ]
    return [(trial, answers) for trial, answers in found if answers is not None]


def study_with_predictions(workspace: Workspace, chosen: str | None) -> Study:
    """The study that is asked for, or the only one whose baseline stored predictions.

    Raises:
        InputError: None did, or several.
    """
    found = [s for s in studies_in(workspace) if predicting(s, workspace, s.baseline)]
    remedy = (
        'run one whose test_step returns {"probabilities": ..., "targets": ...} first, '
        "for example `ablate run quickstart`"
    )
    return the_one(found, chosen, "stored predictions", remedy)


def draw_rows(data: PackedDataModule, answers: Predictions, count: int) -> NDArray[np.int64]:
    """Numbers of predictions drawn at random, the same for every net.

    Raises:
        ValueError: The predictions are not of the module's test images in their order.
    """
    labels = served(data)
    if not np.array_equal(
        data.packed.splits["test"].labels[labels], _classes(data)[answers.targets]
    ):
        raise ValueError("the predictions are not of these test images in their order")
    drawn = np.random.default_rng(2012).choice(len(labels), min(count, len(labels)), replace=False)
    return np.sort(drawn)


def served(data: PackedDataModule) -> NDArray[np.int64]:
    """The numbers in the data set of the test images that are served, in their order."""
    return np.flatnonzero(np.isin(data.packed.splits["test"].labels, _classes(data)))


def _classes(data: PackedDataModule) -> NDArray[np.int64]:
    every = range(len(data.packed.classes))
    return np.array(every if data.classes is None else data.classes, dtype=np.int64)


def figure(
    data: PackedDataModule, answers: Predictions, rows: NDArray[np.int64], title: str
) -> Figure:
    """Each image over its bars, the right label's bar in colour and its name in bold."""
    names = class_names(data)
    images = np.empty((len(rows), *data.packed.shape), np.uint8)
    data.packed.splits["test"].take(served(data)[rows], images)
    down = -(-len(rows) // ACROSS)
    with style():
        drawn = Figure(figsize=(8.6, 0.7 + 2.9 * down), layout="constrained")
        drawn.suptitle(title, fontsize=10)
        grid = drawn.subplots(2 * down, ACROSS, squeeze=False, height_ratios=[1.15, 1] * down)
        for axes in grid.flat:
            axes.set_axis_off()
        for at, row in enumerate(rows):
            above, below = grid[2 * (at // ACROSS) : 2 * (at // ACROSS) + 2, at % ACROSS]
            for axes in (above, below):
                axes.set_axis_on()
            show_image(above, images[at])
            true = int(answers.targets[row])
            above.set_xlabel(short(names[true]), fontweight="bold")
            _bars(below, answers.probabilities[row], names, true)
        handles = [Patch(color=RIGHT, label="the right label"), Patch(color=WRONG, label="another")]
        drawn.legend(handles=handles, loc="outside lower center", ncols=2)
    return drawn


def _bars(axes: Axes, probabilities: NDArray[np.floating], names: Sequence[str], true: int) -> None:
    best = np.argsort(-probabilities, kind="stable")[:LABELS]
    colours = [RIGHT if label == true else WRONG for label in best]
    axes.barh(range(len(best)), probabilities[best], color=colours, height=0.86)
    for y, label in enumerate(best):
        weight = "bold" if label == true else "normal"
        share = f"{100 * probabilities[label]:.0f}%"
        text = f" {short(names[label])}  {share}"
        axes.text(0, y, text, va="center", fontsize=8.5, fontweight=weight, color=INK)
    axes.set(xlim=(0, 1), ylim=(LABELS - 0.5, -0.5), xticks=[], yticks=[])
    for spine in ("top", "right", "bottom"):
        axes.spines[spine].set_visible(False)
    axes.spines["left"].set_color(FAINT)


def predictions(
    workspace: WorkspaceFolder = Path("runs"),
    out: Out = Path("reports"),
    study: StudyOption = None,
    arm: Annotated[str | None, typer.Option(help="Whose net; the baseline's by default.")] = None,
    images: Annotated[int, typer.Option(min=1, max=32, help="Drawn at random.")] = 8,
) -> Sequence[Path]:
    """Draw test images with their five most probable labels."""
    place = Workspace(workspace)
    chosen = study_with_predictions(place, study)
    name = chosen.arm(arm or chosen.baseline).name
    found = predicting(chosen, place, name)
    if not found:
        raise InputError(f'no finished trial of "{name}" stored predictions', file=chosen.file)
    trial, answers = found[0]
    data = open_data_of(place, trial.id)
    test_batches(data)
    try:
        rows = draw_rows(data, answers, images)
    except ValueError as error:
        raise InputError(str(error), file=place.trial_folder(trial.id)) from error
    title = f"{chosen.name}, {name}, seed {trial.seed}: {len(rows)} test images drawn at random"
    return write_figure(out, f"predictions-{chosen.name}", figure(data, answers, rows, title))


if __name__ == "__main__":
    run(predictions)
