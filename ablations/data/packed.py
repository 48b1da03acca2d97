"""The packed format: one folder for every data set of labelled images of one size.

::

    meta.json           format version, encoding, shape, classes, counts, statistics, source,
                        checksums
    mean.npy            float32 (H, W, C): mean training image, on the 0-255 scale
    train.labels.npy    int64 (N,)
    train.images.npy    encoding "raw": uint8 (N, H, W, C), read as a memory map
    train.images.jpegs  encoding "jpeg": JPEG files back to back instead
    train.offsets.npy   int64 (N + 1,): where each of them begins, and the last ends

The same for ``test``, where images are held out. `ablations.data.writing` writes such a folder
under a temporary name and renames it when it is whole.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablations.data.jpegs import Jpegs
from ablations.data.statistics import Statistics, Sums

FORMAT = 1
ENCODINGS = ("raw", "jpeg")
VERIFY_BELOW = 256 * 2**20  # larger files are hashed on request only: it takes minutes


@dataclass(frozen=True)
class Split:
    """Labelled images: uint8 (N, H, W, C), encoded or not, and int64 (N,)."""

    images: NDArray[np.uint8] | Jpegs
    labels: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Puts the images of these numbers into ``out`` (B, H, W, C)."""
        if isinstance(self.images, Jpegs):
            self.images.take(rows, out)
        else:  # one call, which lets other threads run; "clip" writes without a copy between
            np.take(self.images, rows, axis=0, out=out, mode="clip")


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
    """A data set of these splits in memory, with the statistics of the training split.

    Raises:
        ValueError: There is no training split, or arrays or labels do not fit together.
    """
    if "train" not in splits:
        raise ValueError(f"there is no split 'train' among {sorted(splits)}")
    shape = splits["train"].images.shape[1:]
    for name, split in splits.items():
        images, labels = split.images, split.labels
        whole = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4
        if not whole or labels.dtype != np.int64:
            raise ValueError(f"'{name}' has no uint8 images (N, H, W, C) with int64 labels (N,)")
        if images.shape[1:] != shape or labels.shape != images.shape[:1]:
            raise ValueError(f"'{name}' has images of another size than 'train', or too few labels")
        if not len(labels) or labels.min() < 0 or labels.max() >= len(classes):
            raise ValueError(f"'{name}' is empty, or has labels outside 0 .. {len(classes) - 1}")
    training = np.asarray(splits["train"].images)
    return Packed(source, classes, dict(splits), Sums.of(training).statistics())


def read_packed(folder: str | Path, verify: bool = False) -> Packed:
    """A packed folder, its images memory-mapped.

    Every file's size is checked, and the checksums of files under 256 MiB.

    Args:
        folder: A folder that was packed.
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
        if (verify or size < VERIFY_BELOW) and sha256_of(file) != facts["sha256"]:
            raise ValueError(f"'{file}' has the wrong checksum: it is damaged; pack it again")
    return Packed(
        source=meta["source"],
        classes=tuple(meta["classes"]),
        splits={
            name: Split(_images(folder, name, meta), np.load(folder / f"{name}.labels.npy"))
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


def _images(folder: Path, split: str, meta: Mapping[str, Any]) -> NDArray[np.uint8] | Jpegs:
    if meta["encoding"] == "raw":
        raw: NDArray[np.uint8] = np.load(folder / f"{split}.images.npy", mmap_mode="r")
        return raw
    height, width, channels = meta["shape"]
    return Jpegs(
        np.memmap(folder / f"{split}.images.jpegs", np.uint8, mode="r"),
        np.load(folder / f"{split}.offsets.npy"),
        (meta["counts"][split], height, width, channels),
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
    if version != FORMAT or encoding not in ENCODINGS:
        raise ValueError(
            f"'{file}' is of format {version}, {encoding}: this version of ablations reads format "
            f"{FORMAT}, {' or '.join(ENCODINGS)}"
        )
    if whole != meta_sha256(meta):
        raise ValueError(f"'{file}' has the wrong checksum: it is damaged; pack it again")
    return dict(meta)


def meta_sha256(meta: Mapping[str, Any]) -> str:
    """The checksum that meta.json has of itself: of all but the checksum."""
    rest = {key: value for key, value in meta.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def sha256_of(file: Path) -> str:
    """The checksum of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
