"""Figure 3: first-layer kernels by column, and whether the columns share colour out among them.

The colour selectivity of a kernel is the share of its energy that no grey image can excite: 0 for
a kernel that treats the channels alike, 1 for one whose channels sum to zero everywhere. Whether
two columns specialise is asked by a permutation test of the difference of their mean selectivity,
over all seeds together; the same halves of nets without columns are the control.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ablations.nets.classifier import Classifier
from ablations.nets.spec import Activation, Conv
from ablations.results.figures import FAINT, Colours, arm_colours, style
from ablations.results.numbers import interval_text, p_text, signed
from ablations.results.statistics import paired_delta
from ablations.study import InputError, Study, Trial
from ablations.workspace import Workspace
from analysis.command import Out, StudyOption, WorkspaceFolder, run, write_figure, write_table
from analysis.drawing import show_image, tiles
from analysis.trained import kept, kept_by, load_net, open_data_of, study_with_weights, test_batches

IMAGES = 1000
DRAWS = 10_000
NOTES = (
    "Selectivity: share of a kernel's energy that grey images cannot excite, 0 to 1.",
    "Halves: the mean selectivity of the first and of the second half of the kernels, which are "
    "the two columns where there are columns; first the less selective half of each seed.",
    "Difference: between the halves, without its sign, as which half takes the colours is chance. "
    f"p: of halves drawn at random instead, {DRAWS:,} times, all seeds together.",
    f"Dead: kernels that give the same for every place of the first {IMAGES:,} test images; the "
    "number of each seed.",
)


@dataclass(frozen=True)
class Filters:
    """First-layer kernels of one arm's nets.

    Attributes:
        columns: Whether later layers keep the two halves of the kernels apart.
        kernels: Of each seed, (K, C, k, k).
        selectivity: (seeds, K).
        dead: Of each seed how many; None where the images are not here.
    """

    arm: str
    columns: bool
    seeds: tuple[int, ...]
    kernels: tuple[NDArray[np.float32], ...]
    selectivity: NDArray[np.float64]
    dead: tuple[int, ...] | None

    @property
    def differences(self) -> NDArray[np.float64]:
        """(seeds,) between the mean selectivity of the halves, without the sign."""
        return _differences(self.selectivity)


def selectivity(kernels: NDArray[np.float32]) -> NDArray[np.float64]:
    """The colour selectivity (K,) of kernels (K, C, k, k); 0 for a kernel of zeros."""
    weights = kernels.astype(np.float64)
    energy = (weights**2).sum(axis=(1, 2, 3))
    grey = kernels.shape[1] * (weights.mean(axis=1) ** 2).sum(axis=(1, 2))
    share: NDArray[np.float64] = 1 - grey / np.where(energy > 0, energy, 1)
    return np.where(energy > 0, share.clip(0, 1), 0)


def halves_test(values: NDArray[np.float64], draws: int = DRAWS) -> tuple[float, float]:
    """Whether the halves of each seed differ more than halves drawn at random.

    Under the hypothesis that nothing tells the halves apart, a net's kernels may be exchanged.

    Args:
        values: (seeds, K), one for each kernel.
        draws: Random halves.

    Returns:
        The mean difference of random halves, and p of the mean over seeds.
    """
    rng = np.random.default_rng(2012)
    drawn = np.zeros(draws)
    for seed in values:
        drawn += _differences(rng.permuted(np.tile(seed, (draws, 1)), axis=1))
    found = _differences(values).sum()
    reached = int((drawn >= found - 1e-12).sum())
    return float(drawn.mean() / len(values)), (1 + reached) / (1 + draws)


def _differences(values: NDArray[np.float64]) -> NDArray[np.float64]:
    first, second = np.split(values[:, : values.shape[1] // 2 * 2], 2, axis=1)
    found: NDArray[np.float64] = np.abs(first.mean(axis=1) - second.mean(axis=1))
    return found


def first_layer(net: Classifier) -> torch.nn.Module:
    """Images to the outputs of the first convolution after its activation."""
    children = dict(net.network.named_children())
    first = net.net[0].name
    act = next(layer.name for layer in net.net if isinstance(layer, Activation))
    names = [name for name in (f"{first}_pad", first, act) if name in children]
    return torch.nn.Sequential(*(children[name] for name in names))


@torch.inference_mode()
def count_dead(net: Classifier, images: torch.Tensor) -> int:
    """Kernels of the first layer whose output is one number at every place of all images."""
    outputs = first_layer(net)(images)
    spread = outputs.amax(dim=(0, 2, 3)) - outputs.amin(dim=(0, 2, 3))
    return int((spread == 0).sum())


def look(study: Study, workspace: Workspace, arm: str, trials: Sequence[Trial]) -> Filters:
    """The kernels of an arm's trials.

    Raises:
        InputError: A net cannot be built, or its first layer is no convolution.
    """
    found = [load_net(workspace, trial) for trial in trials]
    if not all(isinstance(net.net[0], Conv) for net in found):
        raise InputError(f'the first layer of "{arm}" is no convolution', file=study.file)
    kernels = [net.get_parameter(f"network.{net.net[0].name}.weight") for net in found]
    arrays = tuple(kernel.detach().numpy() for kernel in kernels)
    return Filters(
        arm=arm,
        columns=any(getattr(layer, "columns", 1) > 1 for layer in found[0].net),
        seeds=tuple(trial.seed for trial in trials),
        kernels=arrays,
        selectivity=np.stack([selectivity(kernel) for kernel in arrays]),
        dead=_dead(workspace, trials[0], found),
    )


def _dead(workspace: Workspace, trial: Trial, found: list[Classifier]) -> tuple[int, ...] | None:
    try:
        batches = test_batches(open_data_of(workspace, trial.id, batch_size=IMAGES))
        images, _ = next(iter(batches))
    except InputError:
        return None
    return tuple(count_dead(net, images) for net in found)


def table(looked: Sequence[Filters]) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """A row per arm as text, a row per kernel as numbers, and the comparison of the arms."""
    rows, kernels = [], []
    for each in looked:
        chance, p = halves_test(each.selectivity)
        halves = np.split(each.selectivity[:, : each.selectivity.shape[1] // 2 * 2], 2, axis=1)
        means = np.sort([half.mean(axis=1) for half in halves], axis=0).mean(axis=1)
        rows.append(
            {
                "arm": each.arm,
                "columns": "two" if each.columns else "none",
                "seeds": str(len(each.seeds)),
                "kernels": str(each.selectivity.shape[1]),
                "selectivity": f"{each.selectivity.mean():.3f}",
                "halves": f"{means[0]:.3f} and {means[1]:.3f}",
                "difference": f"{each.differences.mean():.3f}",
                "by chance": f"{chance:.3f}",
                "p": p_text(p),
                "dead": ", ".join(map(str, each.dead)) if each.dead is not None else "–",
            }
        )
        for seed, values in zip(each.seeds, each.selectivity, strict=True):
            for number, value in enumerate(values):
                half = 1 + (number >= len(values) // 2)
                kernels.append((each.arm, seed, number, half, float(value)))
    full = pd.DataFrame(kernels, columns=["arm", "seed", "kernel", "half", "selectivity"])
    return pd.DataFrame(rows), full, [*_comparisons(looked), *NOTES]


def _comparisons(looked: Sequence[Filters]) -> list[str]:
    first, *others = looked
    said = []
    for other in others:
        shared = [seed for seed in first.seeds if seed in other.seeds]
        a, b = (
            [dict(zip(f.seeds, f.differences, strict=True))[s] for s in shared]
            for f in (first, other)
        )
        delta = paired_delta(a, b)
        if delta.n > 1:
            mean = f"{signed(delta.mean, 3)} {interval_text(delta.interval, 3)}".strip()
            said.append(
                f"The halves of {first.arm} differ by {mean} more than those of {other.arm} "
                f"({delta.n} paired seeds, p {p_text(delta.p)})."
            )
    return said


def figure(looked: Sequence[Filters], colours: Colours) -> Figure:
    """A row per arm: the kernels of its first seed, the halves apart, and all selectivities."""
    with style():
        drawn = Figure(figsize=(8.6, 0.8 + 2.6 * len(looked)), layout="constrained")
        rows = drawn.subfigures(len(looked), 1, squeeze=False)[:, 0]
        for part, each in zip(rows, looked, strict=True):
            grid = part.subplot_mosaic(
                [["first", "dots"], ["second", "dots"]], width_ratios=[1.5, 1]
            )
            names = ("column 1", "column 2") if each.columns else ("first half", "second half")
            half = len(each.kernels[0]) // 2
            across = next(n for n in range(1, half + 1) if half % n == 0 and n * n >= 1.5 * half)
            for name, kernels in zip(
                names, (each.kernels[0][:half], each.kernels[0][half:]), strict=True
            ):
                axes = grid["first" if name == names[0] else "second"]
                show_image(axes, tiles(kernels, across))
                axes.set_ylabel(name, fontsize=9)
            grid["first"].set_title(f"{each.arm}, seed {each.seeds[0]}")
            _dots(grid["dots"], each, colours[each.arm])
            grid["dots"].set_yticks([0, 1], names)
    return drawn


def _dots(axes: Axes, each: Filters, colour: str) -> None:
    """A line of dots per half and seed, one for each kernel, with its mean."""
    rng = np.random.default_rng(0)
    room = 0.8 / len(each.seeds)
    for at, values in enumerate(each.selectivity):
        for row, half in enumerate(np.array_split(values, 2)):
            y = row - 0.4 + room * (at + 0.5)
            heights = y + room * rng.uniform(-0.3, 0.3, len(half))
            axes.scatter(half, heights, s=14, color=colour, alpha=0.6, linewidth=0)
            axes.plot([half.mean()] * 2, [y - 0.4 * room, y + 0.4 * room], color="black")
    axes.axhline(0.5, color=FAINT, linewidth=0.6)
    axes.set(xlim=(-0.03, 1.03), ylim=(1.5, -0.5), xlabel="colour selectivity")
    axes.set_title("every kernel of every seed, means in black")


def filters(
    workspace: WorkspaceFolder = Path("runs"),
    out: Out = Path("reports"),
    study: StudyOption = None,
    arm: Annotated[
        list[str] | None, typer.Option(help="An arm to look at; all with weights by default.")
    ] = None,
) -> Sequence[Path]:
    """Draw the first layer's kernels by column and test whether the columns specialise."""
    place = Workspace(workspace)
    chosen = study_with_weights(place, study)
    names = arm or [each.name for each in chosen.arms if kept(chosen, place, each.name)]
    looked = [look(chosen, place, name, kept_by(chosen, place, name)) for name in names]
    text, full, notes = table(looked)
    name, title = f"filters-{chosen.name}", f"First-layer kernels of {chosen.name}"
    return [
        *write_figure(out, name, figure(looked, arm_colours(chosen))),
        *write_table(out, name, title, text, full, notes),
    ]


if __name__ == "__main__":
    run(filters)
