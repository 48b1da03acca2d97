"""Images and kernels as pictures."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray


def show_image(axes: Axes, image: NDArray[np.float64] | NDArray[np.uint8]) -> None:
    """An image (H, W, C), grey or in colour, from 0 to 255 or from 0 to 1, without axes."""
    scaled = image / 255 if image.dtype == np.uint8 else image
    grey = scaled.shape[-1] == 1
    axes.imshow(
        scaled[..., 0] if grey else scaled,
        cmap="gray" if grey else None,
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def tiles(kernels: NDArray[np.float32], across: int) -> NDArray[np.float64]:
    """Kernels (K, C, k, k) as one picture (H, W, C), each stretched over 0 to 1, white between."""
    count, channels, side, _ = kernels.shape
    low = kernels.min(axis=(1, 2, 3), keepdims=True)
    high = kernels.max(axis=(1, 2, 3), keepdims=True)
    scaled = (kernels - low) / np.where(high > low, high - low, 1)
    rows = -(-count // across)
    gap = max(1, side // 8)
    step = side + gap
    picture = np.ones((rows * step - gap, across * step - gap, channels))
    for number, kernel in enumerate(scaled):
        top, left = step * (number // across), step * (number % across)
        picture[top : top + side, left : left + side] = kernel.transpose(1, 2, 0)
    return picture


def short(name: str, most: int = 18) -> str:
    """A class name that fits below a small picture: its first synonym, cut where it is long."""
    first = name.split(",")[0].strip()
    return first if len(first) <= most else f"{first[: most - 1]}…"
