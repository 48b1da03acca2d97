"""A picture of reading, augmenting and training at the same time, from torch's profiler.

    python -m benchmarks.timeline --data data/imagenette

trains a narrow AlexNet on a few batches of a packed folder of 256x256 images, streamed, and draws
what each thread did to which batch into docs/figures/data_timeline.svg.
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch._C._profiler import _ExperimentalConfig
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile, record_function

from ablations.data import PackedDataModule
from ablations.nets import AlexNet

INK = {"read": "#0072B2", "copy": "#E69F00", "augment": "#009E73", "train": "#999999"}
OUT = Path(__file__).parents[1] / "docs" / "figures" / "data_timeline.svg"
BATCHES, SKIPPED = 14, 5  # the first ones wait for the first read

Bar = tuple[str, int, int, float, float]  # what, thread, batch, start and end in ms


def bars(path: Path, workers: int) -> list[Bar]:
    """What was done to each batch, by which thread and when."""
    data = PackedDataModule(
        str(path), 64, crop=224, flip=True, pca_colour=True, resident_gib=0.0, num_workers=workers
    )
    net = AlexNet(num_classes=len(data.packed.classes), width=0.03, lrn=False)
    everywhere = _ExperimentalConfig(profile_all_threads=True)
    loader: Any = data.train_dataloader()
    with profile(activities=[ProfilerActivity.CPU], experimental_config=everywhere) as profiler:
        for k, (images, labels) in enumerate(loader):
            with record_function("train"):
                F.cross_entropy(net(images), labels).backward()
            if k == BATCHES:
                break
    events = [event for event in profiler.events() or [] if event.name in INK]
    found: list[Bar] = []
    reading: dict[int, int] = {}
    count = dict.fromkeys(("read", "train"), 0)
    for event in sorted(events, key=lambda event: event.time_range.start):
        thread = event.thread
        if event.name in count:  # batches are begun in their order
            reading[thread] = count[event.name]
            count[event.name] += 1
        span = (event.time_range.start / 1e3, event.time_range.end / 1e3)
        found.append((event.name, thread, reading[thread], *span))
    return found


def draw(found: list[Bar]) -> Figure:
    trained = {batch: start for what, _, batch, start, _ in found if what == "train"}
    begin, end = trained[SKIPPED], trained[BATCHES - 1]
    (training,) = {thread for what, thread, *_ in found if what == "train"}
    threads = [training, *sorted({thread for _, thread, *_ in found} - {training})]
    figure = Figure(figsize=(8, 0.5 * len(threads) + 1.2), layout="constrained")
    axes = figure.subplots()
    for what, thread, batch, start, stop in found:
        if stop <= begin or start >= end:
            continue
        left, right = max(start, begin) - begin, min(stop, end) - begin
        row = len(threads) - 1 - threads.index(thread)
        axes.barh(row, right - left, left=left, height=0.7, color=INK[what], edgecolor="white")
        if right - left > 0.02 * (end - begin):
            middle = (left + right) / 2
            axes.text(middle, row, str(batch), ha="center", va="center", color="white", fontsize=8)
    names = ["training", *(f"thread {k}" for k in range(1, len(threads)))]
    axes.set_yticks(range(len(threads)), reversed(names))
    axes.set_xlim(0, end - begin)
    axes.set_xlabel("milliseconds; numbers are batches")
    shown = {what for what, *_, start, stop in found if stop - start > 0.001 * (end - begin)}
    handles = [Patch(color=colour, label=what) for what, colour in INK.items() if what in shown]
    axes.legend(
        handles=handles, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False
    )
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a packed folder")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    matplotlib.rcParams["svg.hashsalt"] = "timeline"
    figure = draw(bars(given.data, given.workers))
    figure.savefig(OUT, metadata={"Date": None})
    print(OUT)


if __name__ == "__main__":
    main()
