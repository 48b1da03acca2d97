"""Crops, flips and PCA colour on whole batches, on the device that the images are on.

A crop and a flip are index arithmetic: one gather cuts a batch of windows out of a batch, or out of
a whole data set, and another the same windows out of the mean image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablations.data.draws import integers, normals, uniforms

SLICED_FROM = 200  # pixels of a window; smaller ones are faster all at once

Empty = Callable[[tuple[int, ...], Any], NDArray[Any]]
"""Gives an array of a shape and a type, as `numpy.empty` does."""


@dataclass(frozen=True)
class Windows:
    """Where images are cut: a window for each, of one size.

    Attributes:
        size: (h, w) of every window.
        top: int64 (B,), the first row; negative in the padding.
        left: int64 (B,), the first column.
        flip: bool (B,), whether the window is mirrored left to right.
        padded: Whether windows may reach outside of the images.
    """

    size: tuple[int, int]
    top: Tensor
    left: Tensor
    flip: Tensor
    padded: bool = False

    def split(self, batch_size: int) -> list["Windows"]:
        """The windows in batches."""
        return [
            Windows(self.size, top, left, flip, self.padded)
            for top, left, flip in zip(
                torch.split(self.top, batch_size),
                torch.split(self.left, batch_size),
                torch.split(self.flip, batch_size),
                strict=True,
            )
        ]


def random_windows(
    seed: int,
    epoch: int,
    samples: Tensor,
    image: tuple[int, int],
    size: tuple[int, int],
    padding: int = 0,
    flip: bool = False,
    centred: bool = False,
) -> Windows:
    """A window for each sample, uniform over all places in the padded image.

    Args:
        seed: The trial's seed.
        epoch: Which presentation of the samples.
        samples: int64 (B,), the samples' indices in their data set.
        image: (H, W) of the images.
        size: (h, w) of the windows.
        padding: Pixels added on each side.
        flip: Mirror each window with probability 1/2.
        centred: Put every window into the middle instead.

    Raises:
        ValueError: The window is larger than the padded image.
    """
    rows, columns = (i + 2 * padding - s + 1 for i, s in zip(image, size, strict=True))
    if rows < 1 or columns < 1:
        raise ValueError(f"a crop of {size} does not fit into images of {image} padded {padding}")
    top = integers(seed, epoch, samples, "crop-row", rows) - padding
    left = integers(seed, epoch, samples, "crop-column", columns) - padding
    if centred:
        top, left = (torch.full_like(top, (n - 1) // 2 - padding) for n in (rows, columns))
    mirrored = uniforms(seed, epoch, samples, "flip")[:, 0] < (0.5 if flip else 0.0)
    return Windows(size, top, left, mirrored, padded=padding > 0)


def centre_windows(
    count: int, image: tuple[int, int], size: tuple[int, int], device: torch.device | None = None
) -> Windows:
    """The window in the middle of the image, ``count`` times.

    Raises:
        ValueError: The window is larger than the image.
    """
    return _fixed_windows(count, image, size, [_places(image, size)[4]], [False], device)


def ten_windows(
    count: int, image: tuple[int, int], size: tuple[int, int], device: torch.device | None = None
) -> Windows:
    """Ten windows for each of ``count`` images: four corners, the centre, and their mirror images.

    The order is top left, top right, bottom left, bottom right, centre, then the same flipped: the
    paper's ten patches (Krizhevsky et al. 2012, section 4.1). Windows 10 i to 10 i + 9 belong to
    image i.

    Raises:
        ValueError: The window is larger than the image.
    """
    flips = [False] * 5 + [True] * 5
    return _fixed_windows(count, image, size, _places(image, size) * 2, flips, device)


def _places(image: tuple[int, int], size: tuple[int, int]) -> list[tuple[int, int]]:
    bottom, right = image[0] - size[0], image[1] - size[1]
    if bottom < 0 or right < 0:
        raise ValueError(f"a crop of {size} does not fit into images of {image}")
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]


def _fixed_windows(
    count: int,
    image: tuple[int, int],
    size: tuple[int, int],
    places: list[tuple[int, int]],
    flips: list[bool],
    device: torch.device | None,
) -> Windows:
    top, left = torch.tensor(places, device=device).repeat(count, 1).unbind(1)
    return Windows(size, top, left, torch.tensor(flips, device=device).repeat(count))


def cut(
    images: Tensor,
    mean: Tensor,
    which: Tensor,
    windows: Windows,
    shifts: Tensor | None = None,
    empty: Empty = np.empty,
) -> Tensor:
    """Windows of images, less the same windows of the mean image; what is outside is 0.

    Args:
        images: uint8 (N, H, W, C).
        mean: float32 (H, W, C).
        which: int64 (B,), the image that each window is cut from.
        windows: B windows.
        shifts: float32 (B, C), added to all pixels of each window.
        empty: Gives the memory of large windows on the CPU.

    Returns:
        float32 (B, C, h, w).
    """
    h, w = windows.size
    if images.device.type == "cpu" and h * w >= SLICED_FROM:
        return _sliced(images, mean, which, windows, shifts, empty)
    height, width = mean.shape[:2]
    device = images.device
    steps = torch.arange(w, device=device)
    rows = windows.top[:, None] + torch.arange(h, device=device)
    columns = windows.left[:, None] + torch.where(windows.flip[:, None], w - 1 - steps, steps)
    inside_rows, inside_columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    i, j = inside_rows[:, :, None], inside_columns[:, None, :]
    images = images[which[:, None, None], i, j].permute(0, 3, 1, 2)
    patches = images.to(torch.float32, memory_format=torch.contiguous_format)
    patches -= mean[i, j].permute(0, 3, 1, 2)
    if windows.padded:
        inside = (rows == inside_rows)[:, :, None] & (columns == inside_columns)[:, None, :]
        patches *= inside[:, None]
    if shifts is not None:
        patches += shifts[:, :, None, None]
    return patches


def _sliced(
    images: Tensor,
    mean: Tensor,
    which: Tensor,
    windows: Windows,
    shifts: Tensor | None,
    empty: Empty,
) -> Tensor:
    """What `cut` does, window by window: ten times as fast where a core does it all.

    In numpy, which takes no threads of its own: several of ours run this side by side. It also asks
    for memory in large pages, without which the output costs as much as all the rest.
    """
    height, width, channels = mean.shape
    h, w = windows.size
    patches = empty((len(which), channels, h, w), np.float32)
    scratch = np.empty((h, w, channels), np.float32)
    pixels, centre = images.numpy(), mean.numpy()
    added = np.zeros((1, channels), np.float32) if shifts is None else shifts.numpy()
    parts = (t.tolist() for t in (which, windows.top, windows.left, windows.flip))
    for k, (row, top, left, flip) in enumerate(zip(*parts, strict=True)):
        rows, at_rows = _inside(top, h, height)
        columns, at_columns = _inside(left, w, width)
        patch = scratch[at_rows, at_columns]
        np.subtract(pixels[row, rows, columns], centre[rows, columns], out=patch)
        shift = added[min(k, len(added) - 1), :, None, None]
        view = patches[k, :, :, ::-1] if flip else patches[k]
        if windows.padded:
            view[...] = shift
        np.add(patch.transpose(2, 0, 1), shift, out=view[:, at_rows, at_columns])
    return torch.from_numpy(patches)


def _inside(start: int, length: int, size: int) -> tuple[slice, slice]:
    """The part of a window that lies in the image: its place there, and in the window."""
    first = min(max(start, 0), size)
    last = max(min(start + length, size), first)
    return slice(first, last), slice(first - start, last - start)


Formula = Literal["as-run", "printed"]


@dataclass(frozen=True)
class Colour:
    """PCA colour augmentation (Krizhevsky et al. 2012, section 4.1).

    To each image's pixels is added the sum of the covariance's eigenvectors, each times a normal
    draw and a scale. ``as-run`` scales by the standard deviations, as the code of the time did;
    ``printed`` by the eigenvalues for pixels from 0 to 1, and the sum times 255 (the same
    on pixels from 0 to 255 would shift them by hundreds of levels).

    Attributes:
        matrix: float32 (3, 3): an image's shift is ``draws @ matrix``, on the 0-255 scale.
    """

    matrix: Tensor

    @staticmethod
    def of(values: Tensor, vectors: Tensor, formula: Formula, std: float = 0.1) -> "Colour":
        """The augmentation of a data set.

        Args:
            values: float64 (3,), eigenvalues of the RGB covariance on the 0-255 scale.
            vectors: float64 (3, 3), the eigenvectors as columns.
            formula: Which scale an eigenvector gets.
            std: Standard deviation of the draws.
        """
        scale = values.sqrt() if formula == "as-run" else values / 255
        return Colour((vectors * (std * scale)).T.float())

    def shifts(self, seed: int, epoch: int, samples: Tensor) -> Tensor:
        """float32 (B, 3): what is added to all pixels of each sample in this epoch."""
        draws, matrix = normals(seed, epoch, samples, "colour", 3), self.matrix.to(samples.device)
        # no matrix product: its rounding would depend on the number of samples
        one, two, three = (draws[:, k, None] * matrix[k] for k in range(3))
        return one + two + three
