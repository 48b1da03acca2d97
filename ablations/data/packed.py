"""The packed format: one folder for every data set of labelled images of one size.

::

    meta.json           format version, shape, classes, counts, statistics, source, checksums
    mean.npy            float32 (H, W, C): mean training image, on the 0-255 scale
    train.images.npy    uint8 (N, H, W, C), read as a memory map
    train.labels.npy    int64 (N,)
    test.images.npy, test.labels.npy

A folder is written under a temporary name and renamed when it is whole.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
CHUNK = 1024  # images held in memory at a time
VERIFY_BELOW = 256 * 2**20  # larger files are hashed on request only: it takes minutes


@dataclass(frozen=True)
class Split:
    """Labelled images: uint8 (N, H, W, C) and int64 (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Statistics:
    """Of the training images, on the 0-255 scale.

    Attributes:
        mean: float32 (H, W, C), the mean image.
        channel_mean: float64 (C,).
        channel_std: float64 (C,).
        colour_values: float64 (C,), eigenvalues of the pixels' channel covariance, descending.
        colour_vectors: float64 (C, C), the eigenvectors as columns.
    """

    mean: NDArray[np.float32]
    channel_mean: NDArray[np.float64]
    channel_std: NDArray[np.float64]
    colour_values: NDArray[np.float64]
    colour_vectors: NDArray[np.float64]


@dataclass(frozen=True)
class Packed:
    """A data set: in memory, or mapped from a packed folder.

    Attributes:
        source: Where the images come from and what was done to them, in words.
        classes: The classes' names in the order of the labels.
        splits: "train", and "test" where images are held out.
        statistics: Of the training split.
    """

    source: str
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    statistics: Statistics

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, channels = self.splits["train"].images.shape[1:]
        return height, width, channels


def pack(source: str, classes: tuple[str, ...], splits: Mapping[str, Split]) -> Packed:
    """A data set of these splits, with the statistics of the training split.

    Raises:
        ValueError: There is no training split, or arrays or labels do not fit together.
    """
    if "train" not in splits:
        raise ValueError(f"there is no split 'train' among {sorted(splits)}")
    shape = splits["train"].images.shape[1:]
    for name, split in splits.items():
        images, labels = split.images, split.labels
        if images.dtype != np.uint8 or labels.dtype != np.int64 or images.ndim != 4:
            raise ValueError(f"'{name}' has no uint8 images (N, H, W, C) with int64 labels (N,)")
        if images.shape[1:] != shape or labels.shape != images.shape[:1]:
            raise ValueError(f"'{name}' has images of another size than 'train', or too few labels")
        if not len(labels) or labels.min() < 0 or labels.max() >= len(classes):
            raise ValueError(f"'{name}' is empty, or has labels outside 0 .. {len(classes) - 1}")
    return Packed(source, classes, dict(splits), _statistics(splits["train"].images))


def _statistics(images: NDArray[np.uint8]) -> Statistics:
    count, height, width, channels = images.shape
    total = np.zeros((height, width, channels))
    products = np.zeros((channels, channels))
    for start in range(0, count, CHUNK):
        chunk = images[start : start + CHUNK].astype(np.float64)
        total += chunk.sum(axis=0)
        pixels = chunk.reshape(-1, channels)
        products += pixels.T @ pixels
    mean = total / count
    channel_mean = mean.mean(axis=(0, 1))
    covariance = products / (count * height * width) - np.outer(channel_mean, channel_mean)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1].clip(min=0), vectors[:, ::-1]
    # an eigenvector's sign is arbitrary: fixed, so that every machine packs the same folder
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(channels)])
    channel_std = np.sqrt(covariance.diagonal().clip(min=0))
    return Statistics(mean.astype(np.float32), channel_mean, channel_std, values, vectors)


def write_packed(packed: Packed, folder: str | Path) -> None:
    """Writes a data set as a packed folder; whatever an interrupted writing left is removed.

    Raises:
        FileExistsError: The folder is there already.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"'{folder}' is there already: remove it, or pack to another name")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.save(partial / "mean.npy", packed.statistics.mean)
    for name, split in packed.splits.items():
        np.save(partial / f"{name}.images.npy", split.images)
        np.save(partial / f"{name}.labels.npy", split.labels)
    statistics = packed.statistics
    meta: dict[str, Any] = {
        "format": FORMAT,
        "source": packed.source,
        "encoding": "raw",
        "shape": list(packed.shape),
        "counts": {name: len(split.labels) for name, split in packed.splits.items()},
        "classes": list(packed.classes),
        "channel_mean": statistics.channel_mean.tolist(),
        "channel_std": statistics.channel_std.tolist(),
        "colour_values": statistics.colour_values.tolist(),
        "colour_vectors": statistics.colour_vectors.tolist(),
        "files": {
            file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)}
            for file in sorted(partial.iterdir())
        },
    }
    meta["sha256"] = _own_sha256(meta)
    (partial / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
    partial.rename(folder)


def read_packed(folder: str | Path, verify: bool = False) -> Packed:
    """A packed folder, its images memory-mapped.

    Every file's size is checked, and the checksums of files under 256 MiB.

    Args:
        folder: A folder that `write_packed` made.
        verify: Check the checksums of all files, however large.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It is no packed folder, of another format, or damaged; the file is named.
    """
    folder = Path(folder)
    meta = _read_meta(folder)
    for name, facts in meta["files"].items():
        file = folder / name
        size = file.stat().st_size if file.is_file() else None
        if size is None or size != facts["bytes"]:
            have = "is missing" if size is None else f"has {size} bytes instead of {facts['bytes']}"
            raise ValueError(f"'{file}' {have}: the packed folder is damaged; pack it again")
        if (verify or size < VERIFY_BELOW) and _sha256(file) != facts["sha256"]:
            raise ValueError(f"'{file}' has the wrong checksum: it is damaged; pack it again")
    return Packed(
        source=meta["source"],
        classes=tuple(meta["classes"]),
        splits={
            name: Split(
                np.load(folder / f"{name}.images.npy", mmap_mode="r"),
                np.load(folder / f"{name}.labels.npy"),
            )
            for name in meta["counts"]
        },
        statistics=Statistics(
            np.load(folder / "mean.npy"),
            *(
                np.array(meta[key], dtype=np.float64)
                for key in ("channel_mean", "channel_std", "colour_values", "colour_vectors")
            ),
        ),
    )


def _read_meta(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no packed folder '{folder}'")
    file = folder / "meta.json"
    if not file.is_file():
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise ValueError(f"'{folder}' is no packed folder: no meta.json in it, but {there}")
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
        version, encoding, whole = meta["format"], meta["encoding"], meta["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"'{file}' cannot be read: it is damaged; pack it again") from error
    if version != FORMAT or encoding != "raw":
        raise ValueError(
            f"'{file}' is of format {version}, {encoding}: this version of ablations reads format "
            f"{FORMAT}, raw"
        )
    if whole != _own_sha256(meta):
        raise ValueError(f"'{file}' has the wrong checksum: it is damaged; pack it again")
    return dict(meta)


def _own_sha256(meta: dict[str, Any]) -> str:
    """The checksum that meta.json has of itself: of all but the checksum."""
    rest = {key: value for key, value in meta.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
