"""Writes packed folders, a chunk of images at a time: a data set need not fit into memory."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ablations.data.jpegs import decode, encode
from ablations.data.packed import FORMAT, Packed, Split, meta_sha256, sha256_of
from ablations.data.statistics import Sums

CHUNK = 256  # images of a data set in memory that are written at a time

Encoding = Literal["raw", "jpeg"]


@dataclass(frozen=True)
class Chunk:
    """Images ready to be written, with their sums.

    Attributes:
        content: Raw images, or encoded ones.
        labels: int64 (n,).
        sums: Of the images as they will be read.
    """

    content: NDArray[np.uint8] | tuple[bytes, ...]
    labels: NDArray[np.int64]
    sums: Sums

    @staticmethod
    def of(images: NDArray[np.uint8], labels: NDArray[np.int64], encoding: Encoding) -> "Chunk":
        """Images (n, H, W, C) in an encoding."""
        if encoding == "raw":
            return Chunk(images, labels, Sums.of(images))
        encoded = encode(images)
        return Chunk(encoded, labels, Sums.of(decode(encoded, images.shape[1:])))


def partial_of(folder: Path) -> Path:
    """Where a packed folder is written until it is whole."""
    return folder.with_name(f".{folder.name}.partial")


class PackedWriter:
    """A packed folder in the making, to be used in a ``with`` statement.

    It is written under a temporary name. Whatever an interrupted writing left there is removed
    first, and an exception removes what was written.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int], encoding: Encoding) -> None:
        """Prepare to write.

        Args:
            folder: The folder to make.
            shape: (H, W, C) of every image.
            encoding: ``raw``, or ``jpeg`` for an eighth of the bytes.
        """
        self._folder, self._shape, self._encoding = folder, shape, encoding
        self._partial = partial_of(folder)
        self._counts: dict[str, int] = {}
        self._sums: dict[str, Sums] = {}

    def __enter__(self) -> "PackedWriter":
        """Makes the temporary folder.

        Raises:
            FileExistsError: The folder is there already.
        """
        if self._folder.exists():
            raise FileExistsError(
                f"'{self._folder}' is there already: remove it, or pack to another name"
            )
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)

    def write(self, split: str, chunks: Iterable[Chunk]) -> None:
        """Writes a split.

        Raises:
            ValueError: It has no images.
        """
        labels, lengths = [], [0]
        suffix = "npy" if self._encoding == "raw" else "jpegs"
        with (self._partial / f"{split}.images.{suffix}").open("wb") as file:
            if self._encoding == "raw":
                self._header(file, 0)
            for chunk in chunks:
                if isinstance(chunk.content, tuple):
                    file.write(b"".join(chunk.content))
                    lengths += map(len, chunk.content)
                else:
                    file.write(np.ascontiguousarray(chunk.content).data)
                labels.append(chunk.labels)
                old = self._sums.get(split)
                self._sums[split] = old + chunk.sums if old else chunk.sums
            if not labels:
                raise ValueError(f"there are no images for '{split}'")
            count = sum(map(len, labels))
            if self._encoding == "raw":
                file.seek(0)
                self._header(file, count)  # numpy leaves room in it for the count to grow
            else:
                np.save(self._partial / f"{split}.offsets.npy", np.cumsum(lengths, dtype=np.int64))
        np.save(self._partial / f"{split}.labels.npy", np.concatenate(labels))
        self._counts[split] = count

    def _header(self, file: Any, count: int) -> None:
        shape = (count, *self._shape)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(file, header)

    def finish(self, source: str, classes: tuple[str, ...], notes: Mapping[str, Any] = {}) -> None:
        """Adds statistics and checksums, and gives the folder its name.

        Args:
            source: Where the images come from and what was done to them, in words.
            classes: The classes' names in the order of the labels.
            notes: What else is to stand in meta.json.
        """
        statistics = self._sums["train"].statistics()
        np.save(self._partial / "mean.npy", statistics.mean)
        meta: dict[str, Any] = {
            "format": FORMAT,
            "source": source,
            "encoding": self._encoding,
            "shape": list(self._shape),
            "counts": self._counts,
            "classes": list(classes),
            **notes,
            "channel_mean": statistics.channel_mean.tolist(),
            "channel_std": statistics.channel_std.tolist(),
            "colour_values": statistics.colour_values.tolist(),
            "colour_vectors": statistics.colour_vectors.tolist(),
            "files": {
                file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
                for file in sorted(self._partial.iterdir())
            },
        }
        meta["sha256"] = meta_sha256(meta)
        text = json.dumps(meta, indent=1, ensure_ascii=False) + "\n"
        (self._partial / "meta.json").write_text(text, encoding="utf-8")
        self._partial.rename(self._folder)


def write_packed(packed: Packed, folder: str | Path, encoding: Encoding = "raw") -> None:
    """Writes a data set that is in memory as a packed folder.

    Raises:
        FileExistsError: The folder is there already.
    """
    with PackedWriter(Path(folder), packed.shape, encoding) as writer:
        for name, split in packed.splits.items():
            writer.write(name, _chunks(split, encoding))
        writer.finish(packed.source, packed.classes)


def _chunks(split: Split, encoding: Encoding) -> Iterator[Chunk]:
    rows = np.arange(len(split.labels))
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        images = np.empty((len(part), *split.images.shape[1:]), np.uint8)
        split.take(part, images)
        yield Chunk.of(images, split.labels[part], encoding)
