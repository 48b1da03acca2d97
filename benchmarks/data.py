"""Images a second: packed data sets against DataLoaders, interleaved on this machine.

    python -m benchmarks.data --images imagenet-samples.tar

makes everything that it needs in a temporary folder out of the JPEGs of a folder or a tar archive
of class folders. Every loader gives float batches on the device with the same augmentation: random
crop, flip, mean image, PCA colour. An epoch of each in turn, several rounds, the first not counted.
Images a second suffer from whatever else runs on the machine; images a second of processor time,
that of worker processes included, hardly do.
"""

import argparse
import io
import json
import os
import platform
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ablations.commands.pack import pack
from ablations.data import PackedDataModule
from ablations.data.listing import by_class
from ablations.data.packed import Packed, Split, read_packed
from ablations.data.packed import pack as in_memory
from ablations.data.pictures import square
from ablations.data.writing import write_packed

BATCH = 128
CROP, SIDE = 224, 256
FILES = 3200  # images an epoch at 224 pixels
CIFAR = 50_000  # images an epoch at 32 pixels
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Loader = Callable[[], Iterable[tuple[Tensor, Tensor]]]


class Augment:
    """What ours does to a batch, image by image in a worker process."""

    def __init__(self, packed: Packed, crop: int, padding: int, colour: bool) -> None:
        self.mean, self.crop, self.padding = packed.statistics.mean, crop, padding
        values, vectors = packed.statistics.colour_values, packed.statistics.colour_vectors
        self.matrix = (vectors * (0.1 * np.sqrt(values))).T if colour else None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        random = np.random.default_rng(int(torch.randint(2**62, ())))
        centred = image.astype(np.float32) - self.mean
        if self.padding:
            pad = (self.padding, self.padding)
            centred = np.pad(centred, (pad, pad, (0, 0)))
        top, left = random.integers(0, centred.shape[0] - self.crop + 1, 2)
        patch = centred[top : top + self.crop, left : left + self.crop]
        if random.random() < 0.5:
            patch = patch[:, ::-1]
        if self.matrix is not None:
            patch = patch + (random.standard_normal(3) @ self.matrix).astype(np.float32)
        return np.ascontiguousarray(patch.transpose(2, 0, 1))


class Files(Dataset[tuple[Tensor, int]]):
    """A folder of JPEGs with Pillow."""

    def __init__(self, files: list[tuple[Path, int]], augment: Augment, resize: bool) -> None:
        self.files, self.augment, self.resize = files, augment, resize

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        file, label = self.files[index]
        if self.resize:
            image = square(file.read_bytes(), SIDE)[0]
        else:
            image = np.asarray(Image.open(file).convert("RGB"))
        return torch.from_numpy(self.augment(image)), label


class Arrays(Dataset[tuple[Tensor, int]]):
    """Images in memory."""

    def __init__(self, split: Split, augment: Augment) -> None:
        self.images, self.labels = np.asarray(split.images), split.labels.tolist()
        self.augment = augment

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.augment(self.images[index])), self.labels[index]


def plain(dataset: Dataset[tuple[Tensor, int]], workers: int) -> Loader:
    """A DataLoader as usually set up, tuned: lasting workers, pinned memory on a GPU."""
    loader = DataLoader(
        dataset,
        BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=DEVICE.type == "cuda",
    )
    return lambda: on_device(loader)


def on_device(loader: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    for images, labels in loader:
        yield images.to(DEVICE, non_blocking=True), torch.as_tensor(labels).to(DEVICE)


def webdataset(shards: list[str], augment: Augment, workers: int) -> Loader:
    import webdataset as wds

    def prepared(sample: dict[str, Any]) -> tuple[Tensor, int]:
        image = np.asarray(Image.open(io.BytesIO(sample["jpg"])).convert("RGB"))
        return torch.from_numpy(augment(image)), int(sample["cls"])

    data = wds.WebDataset(shards, shardshuffle=len(shards)).shuffle(1000).map(prepared)
    loader = wds.WebLoader(
        data.batched(BATCH), batch_size=None, num_workers=workers, persistent_workers=True
    )
    return lambda: on_device(loader)


class Stub:
    """As much of a trainer as the data module asks for."""

    def __init__(self) -> None:
        self.current_epoch, self.global_rank, self.world_size = 0, 0, 1
        self.strategy, self.lightning_module, self.fit_loop = self, None, self
        self.root_device, self.batch_idx = DEVICE, -1


def ours(path: Path, **arguments: Any) -> Loader:
    data = PackedDataModule(str(path), BATCH, flip=True, validation=0.0, **arguments)
    data.trainer = Stub()
    loader: Any = data.train_dataloader()
    return lambda: loader


def photographs(source: Path, folder: Path, cores: int) -> dict[str, Loader]:
    """Loaders at 224 pixels, over the same photographs in every form."""
    entries = by_class(source, folder / "scratch").splits["train"]
    natural, squares = list[tuple[Path, int]](), list[tuple[Path, int]]()
    shards: list[str] = []
    for part in range(2 * cores):
        shard = folder / f"shard-{part}.tar"
        shards.append(str(shard))
        with tarfile.open(shard, "w") as archive:
            for k in range(part, FILES, 2 * cores):
                entry, label = entries[k % len(entries)]
                content = entry.read()
                stream = io.BytesIO()
                Image.fromarray(square(content, SIDE)[0]).save(stream, "JPEG", quality=95)
                for kind, bytes_, files in (
                    ("natural", content, natural),
                    ("square", stream.getvalue(), squares),
                ):
                    file = folder / kind / f"{label:04}" / f"{k}.jpg"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(bytes_)
                    files.append((file, label))
                for suffix, bytes_ in (("jpg", stream.getvalue()), ("cls", b"%d" % label)):
                    member = tarfile.TarInfo(f"{k:06}.{suffix}")
                    member.size = len(bytes_)
                    archive.addfile(member, io.BytesIO(bytes_))
    for encoding in ("raw", "jpeg"):
        pack(
            "folder", folder / "natural", folder / encoding, Console(quiet=True), encoding=encoding
        )
    augment = Augment(read_packed(folder / "raw"), CROP, 0, colour=True)
    same: dict[str, Any] = {"crop": CROP, "pca_colour": True}
    streamed = same | {"resident_gib": 0.0, "num_workers": cores + 1}
    return {
        "DataLoader, JPEGs as they are, Pillow": plain(Files(natural, augment, True), cores),
        "DataLoader, 256x256 JPEGs, Pillow": plain(Files(squares, augment, False), cores),
        "webdataset, 256x256 JPEGs, Pillow": webdataset(shards, augment, cores),
        "ours, streamed, jpeg": ours(folder / "jpeg", **streamed),
        "ours, streamed, raw": ours(folder / "raw", **streamed),
        "ours, resident": ours(folder / "raw", **same),
    }


def thumbnails(folder: Path, cores: int) -> dict[str, Loader]:
    """Loaders at CIFAR-10's size."""
    images = np.random.default_rng(0).integers(0, 256, (CIFAR, 32, 32, 3), np.uint8)
    labels = np.arange(CIFAR) % 10
    packed = in_memory("made", tuple("0123456789"), {"train": Split(images, labels)})
    write_packed(packed, folder / "cifar")
    dataset = Arrays(packed.splits["train"], Augment(packed, 32, 4, colour=False))
    counts = sorted({0, 1, cores // 2, cores, 2 * cores})
    loaders = {f"DataLoader, {n} workers": plain(dataset, n) for n in counts}
    return loaders | {"ours, resident": ours(folder / "cifar", crop=32, padding=4)}


@dataclass(frozen=True)
class Rates:
    """Images a second of each round: by the clock, and of processor time."""

    clock: list[float]
    processor: list[float]


def processor_seconds() -> float:
    """Time that this process and its workers have spent on processors so far."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def measure(loaders: dict[str, Loader], rounds: int) -> dict[str, Rates]:
    """An epoch of loader after loader, round after round."""
    found = {name: Rates([], []) for name in loaders}
    for round_ in range(rounds + 1):
        for name, loader in loaders.items():
            started, busy, count = time.perf_counter(), processor_seconds(), 0
            for images, labels in loader():
                assert images.device.type == DEVICE.type and images.dtype == torch.float32
                count += len(labels)
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()
            if round_:
                found[name].clock.append(count / (time.perf_counter() - started))
                found[name].processor.append(count / (processor_seconds() - busy))
    return found


def table(title: str, found: dict[str, Rates], epoch: int) -> str:
    first = next(iter(found.values()))
    lines = [
        f"| {title} | images/s | lowest to highest | epoch, s | ratio | a core and s | ratio |",
        "|---|" + "---:|" * 6,
    ]
    for name, rates in found.items():
        cells = [name]
        for values, base in ((rates.clock, first.clock), (rates.processor, first.processor)):
            middle = statistics.median(values)
            # round by round: what disturbs one loader of a round disturbs its neighbours too
            ratio = statistics.median(v / b for v, b in zip(values, base, strict=True))
            cells.append(f"{middle:,.0f}")
            if values is rates.clock:
                cells += [f"{min(values):,.0f} to {max(values):,.0f}", f"{epoch / middle:.2f}"]
            cells.append(f"{ratio:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="class folders of JPEGs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, help="also write the rates here")
    given = parser.parse_args()
    torch.set_num_threads(1)  # cores belong to the loaders; the training is not measured
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        large = measure(photographs(given.images, folder, given.cores), given.rounds)
        small = measure(thumbnails(folder, given.cores), given.rounds)
    print(f"{given.cores} cores ({platform.machine()}), {DEVICE}, torch {torch.__version__}")
    print(f"load average: {before:.1f} before, {os.getloadavg()[0]:.1f} after")
    print("\n" + table("224-pixel crops", large, FILES) + "\n")
    print(table("CIFAR-10's size", small, CIFAR))
    if given.json:
        rates = {"large": large, "small": small}
        given.json.write_text(json.dumps(rates, indent=1, default=asdict))


if __name__ == "__main__":
    main()
