"""Figure 4, right: the training images nearest to test images in the last hidden layer.

How many of the nearest show the same class, against raw pixels, and against binary codes of 28
and 256 bits: an autoencoder makes them from the same features, as Krizhevsky and Hinton (2011,
"Using very deep autoencoders for content-based image retrieval") did from pixels, and the paper
proposes for its features. Codes are compared by Hamming distance.
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
from torch import Tensor, nn
from torch.nn import functional as F

from ablations.data import PackedDataModule
from ablations.nets.classifier import Classifier
from ablations.results.figures import PALETTE, style
from ablations.results.statistics import spread
from ablations.workspace import Workspace
from analysis.command import Out, StudyOption, WorkspaceFolder, run, write_figure, write_table
from analysis.drawing import short, show_image
from analysis.trained import (
    class_names,
    hidden,
    kept_by,
    load_net,
    open_data_of,
    study_with_weights,
    test_batches,
)

BITS = (28, 256)
KS = (1, 5, 10, 50)
PIXELS = "raw pixels"
NEAREST = 6


class Codes(nn.Module):
    """An autoencoder with a layer of bits in the middle.

    Its bits are rounded on the way forward; gradients pass as if they were not (Krizhevsky and
    Hinton 2011; Bengio, Leonard and Courville 2013, arXiv:1308.3432).
    """

    def __init__(self, features: int, bits: int, width: int = 512) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, bits))
        self.decoder = nn.Sequential(nn.Linear(bits, width), nn.ReLU(), nn.Linear(width, features))

    def forward(self, x: Tensor) -> Tensor:
        soft = self.encoder(x).sigmoid()
        hard = soft + (soft.round() - soft).detach()
        out: Tensor = self.decoder(hard)
        return out

    @torch.inference_mode()
    def codes(self, x: Tensor) -> Tensor:
        """Features (N, D) as bits (N, bits), bool."""
        return torch.as_tensor(self.encoder(x) > 0)


def train_codes(features: Tensor, bits: int, epochs: int = 20) -> Codes:
    """An autoencoder of that many bits for features (N, D), from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2011)
        net = Codes(features.shape[1], bits)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(len(features)), 128):
                loss = F.mse_loss(net(features[rows]), features[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    return net


def hamming(a: Tensor, b: Tensor) -> Tensor:
    """Bits in which codes (M, bits) and (N, bits) differ, (M, N)."""
    x, y = a.float(), b.float()
    return (x @ (1 - y).T + (1 - x) @ y.T).round()


def precision(distances: Tensor, same: Tensor, k: int) -> float:
    """The share of the k nearest that are of the same class, in percent.

    Where several are equally far and not all are among the k, each counts by its chance.

    Args:
        distances: (M, N) of M queries.
        same: (M, N), whether of the query's class.
        k: At most N.
    """
    last = distances.kthvalue(k, dim=1, keepdim=True).values
    closer, tied = distances < last, distances == last
    left = k - closer.sum(1)
    hits = (same & closer).sum(1) + left * (same & tied).sum(1) / tied.sum(1)
    return float(100 * (hits / k).mean())


@dataclass(frozen=True)
class Images:
    """Images (N, C, H, W) less the mean image, with labels (N,)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Retrieved:
    """The distances of test images to training images (M, N), each in its own measure."""

    queries: Images
    stored: Images
    distances: dict[str, Tensor]

    def precisions(self) -> dict[str, dict[int, float]]:
        """By representation and k, in percent; and of images drawn at random."""
        same = self.queries.labels[:, None] == self.stored.labels[None]
        ks = [k for k in KS if k <= same.shape[1]]
        found = {n: {k: precision(d, same, k) for k in ks} for n, d in self.distances.items()}
        chance = float(100 * same.float().mean())
        return found | {"chance": dict.fromkeys(ks, chance)}


def collect(data: PackedDataModule, test_images: int) -> tuple[Images, Images]:
    """Test images in order, so many at most, and all training images."""
    parts = []
    for batches, most in ((test_batches(data), test_images), (data.train_dataloader(), None)):
        images, labels = (torch.cat(each)[:most] for each in zip(*batches, strict=True))
        parts.append(Images(images, labels))
    return parts[0], parts[1]


def retrieve(net: Classifier, queries: Images, stored: Images) -> Retrieved:
    """Distances in the last hidden layer, in its binary codes, and in raw pixels."""
    layer = hidden(net)
    with torch.inference_mode():
        far, near = (
            torch.cat([layer(part) for part in torch.split(each.images, 256)])
            for each in (queries, stored)
        )
    mean, scale = near.mean(0), near.std().clamp_min(1e-6)
    far, near = ((values - mean).clone() / scale for values in (far, near))
    distances = {f"last hidden layer ({near.shape[1]} values)": torch.cdist(far, near)}
    for bits in BITS:
        codes = train_codes(near, bits)
        distances[f"{bits}-bit codes of it"] = hamming(codes.codes(far), codes.codes(near))
    distances[PIXELS] = torch.cdist(queries.images.flatten(1), stored.images.flatten(1))
    return Retrieved(queries, stored, distances)


def table(found: Sequence[tuple[int, Retrieved]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Precision at k, a row per representation as text and a row per seed as numbers."""
    long = [
        (seed, name, k, value)
        for seed, each in found
        for name, by_k in each.precisions().items()
        for k, value in by_k.items()
    ]
    full = pd.DataFrame(long, columns=["seed", "representation", "k", "precision"])
    rows = []
    for name, part in full.groupby("representation", sort=False):
        cells = {"representation": str(name)}
        for k, values in part.groupby("k"):
            n, mean, sd = spread(values["precision"])
            varies = n > 1 and name not in (PIXELS, "chance")
            cells[f"at {k}"] = f"{mean:.1f} (SD {sd:.1f})" if varies else f"{mean:.1f}"
        rows.append(cells)
    return pd.DataFrame(rows), full


def figure(found: Retrieved, data: PackedDataModule, rows: NDArray[np.int64], title: str) -> Figure:
    """A row per test image: itself, then the training images nearest in the last hidden layer."""
    distances = next(iter(found.distances.values()))
    names = class_names(data)
    with style():
        drawn = Figure(figsize=(8.6, 0.7 + 1.35 * len(rows)), layout="constrained")
        drawn.suptitle(title, fontsize=10)
        grid = drawn.subplots(len(rows), 1 + NEAREST, squeeze=False)
        for line, row in zip(grid, rows.tolist(), strict=True):
            nearest = distances[row].argsort(stable=True)[:NEAREST].tolist()
            shown = [(found.queries, row), *((found.stored, at) for at in nearest)]
            for axes, (images, at) in zip(line, shown, strict=False):
                label = int(images.labels[at])
                show_image(axes, _picture(images.images[at], data))
                axes.set_xlabel(short(names[label], 14), fontsize=8)
                if images is found.stored:
                    right = label == int(found.queries.labels[row])
                    _frame(axes, right)
        grid[0, 0].set_title("test image", fontsize=9)
        grid[0, 1].set_title("nearest", fontsize=9)
        told = "blue, solid: of its class; vermilion, dashed: of another"
        drawn.supxlabel(told, fontsize=9)
    return drawn


def _frame(axes: Axes, right: bool) -> None:
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=2, color=PALETTE[0] if right else PALETTE[1])
        spine.set_linestyle("-" if right else (0, (3, 2)))


def _picture(image: Tensor, data: PackedDataModule) -> NDArray[np.float64]:
    mean = data.packed.statistics.mean
    height, width = image.shape[1:]
    top, left = (mean.shape[0] - height) // 2, (mean.shape[1] - width) // 2
    whole = image.permute(1, 2, 0).numpy() + mean[top : top + height, left : left + width]
    picture: NDArray[np.float64] = (whole / 255).clip(0, 1)
    return picture


def retrieval(
    workspace: WorkspaceFolder = Path("runs"),
    out: Out = Path("reports"),
    study: StudyOption = None,
    arm: Annotated[str | None, typer.Option(help="Whose nets; the baseline's by default.")] = None,
    queries: Annotated[int, typer.Option(min=1, max=20, help="Test images that are drawn.")] = 5,
    test_images: Annotated[int, typer.Option(min=1, help="Test images that are judged.")] = 1000,
    train_images: Annotated[int, typer.Option(min=NEAREST, help="At most.")] = 10_000,
) -> Sequence[Path]:
    """Draw the nearest training images of test images, and judge features, codes and pixels."""
    place = Workspace(workspace)
    chosen = study_with_weights(place, study)
    name = arm or chosen.baseline
    trials = kept_by(chosen, place, name)
    data = open_data_of(place, trials[0].id)
    if data.limit is None or data.limit > train_images:
        data = open_data_of(place, trials[0].id, limit=train_images)
    asked, stored = collect(data, test_images)
    found = [(trial.seed, retrieve(load_net(place, trial), asked, stored)) for trial in trials]
    text, full = table(found)
    drawn = np.random.default_rng(2012).choice(
        len(asked.labels), min(queries, len(asked.labels)), replace=False
    )
    label = f"{chosen.name}, {name}"
    notes = (
        f"Of the k nearest of {len(stored.labels):,} training images, the percentage that shows "
        f"the class of the test image: mean over {len(asked.labels):,} test images and over "
        f"{len(trials)} nets, with the SD over nets.",
        "Nearest by Euclidean distance, codes by Hamming distance; where several are equally far, "
        "each counts by its chance.",
    )
    title = f"{label}, seed {trials[0].seed}: nearest training images in the last hidden layer"
    return [
        *write_figure(out, f"retrieval-{chosen.name}", figure(found[0][1], data, drawn, title)),
        *write_table(
            out,
            f"retrieval-{chosen.name}",
            f"Retrieval with {label}: precision at k (%)",
            text,
            full,
            notes,
        ),
    ]


if __name__ == "__main__":
    run(retrieval)
