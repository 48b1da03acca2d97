"""Images kept as JPEGs of one size, back to back in one file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray

QUALITY = 90  # with half the colour resolution: an eighth of the bytes, 3.1 of 255 levels off


@dataclass(frozen=True)
class Jpegs:
    """Encoded images that are decoded when they are taken.

    Attributes:
        blob: uint8, all files one after the other.
        offsets: int64 (N + 1,), where each begins and the last ends.
        shape: (N, H, W, C).
    """

    blob: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    shape: tuple[int, int, int, int]

    def take(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Decodes the images of these numbers into ``out`` (B, H, W, C).

        Raises:
            ValueError: An image cannot be decoded; its number is named.
        """
        space = _space(self.shape[3])
        for place, row in zip(out, rows.tolist(), strict=True):
            encoded = self.blob[self.offsets[row] : self.offsets[row + 1]]
            try:
                simplejpeg.decode_jpeg(encoded, space, buffer=place)
            except ValueError as error:
                raise ValueError(f"packed image {row} is damaged: {error}") from error


def encode(images: NDArray[np.uint8]) -> tuple[bytes, ...]:
    """Images (N, H, W, C) as JPEG files."""
    space = _space(images.shape[3])
    return tuple(simplejpeg.encode_jpeg(image, QUALITY, space, "420") for image in images)


def decode(files: Sequence[bytes], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """What `encode` made, as images (N, H, W, C) again."""
    out = np.empty((len(files), *shape), np.uint8)
    for place, file in zip(out, files, strict=True):
        simplejpeg.decode_jpeg(file, _space(shape[-1]), buffer=place)
    return out


def _space(channels: int) -> Literal["GRAY", "RGB"]:
    return "GRAY" if channels == 1 else "RGB"
