"""Mean image, channel statistics and colour covariance of a set of images, in one pass."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PIXELS = 2**16  # multiplied at a time: they stay in the cache


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
class Sums:
    """Sums over images, whole numbers in float64: up to 2 million of 256x256 they are exact.

    So neither the order of the images nor the number of workers shows in the statistics.

    Attributes:
        count: Images.
        pixels: float64 (H, W, C), the images' sum.
        products: float64 (C, C), the sum over all pixels of channel times channel.
    """

    count: int
    pixels: NDArray[np.float64]
    products: NDArray[np.float64]

    @staticmethod
    def of(images: NDArray[np.uint8]) -> "Sums":
        """The sums of images (N, H, W, C)."""
        flat = images.reshape(-1, images.shape[-1])
        products = np.zeros((flat.shape[1], flat.shape[1]))
        for start in range(0, len(flat), PIXELS):
            part = flat[start : start + PIXELS].astype(np.float64)
            products += part.T @ part
        return Sums(len(images), images.sum(axis=0, dtype=np.float64), products)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.count + other.count, self.pixels + other.pixels, self.products + other.products
        )

    def statistics(self) -> Statistics:
        """The statistics of the images that were added."""
        height, width, channels = self.pixels.shape
        mean = self.pixels / self.count
        channel_mean = self.pixels.sum(axis=(0, 1)) / (self.count * height * width)
        second = self.products / (self.count * height * width)
        covariance = second - np.outer(channel_mean, channel_mean)
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = values[::-1].clip(min=0), vectors[:, ::-1]
        # an eigenvector's sign is arbitrary: fixed, so that every machine packs the same folder
        largest = np.abs(vectors).argmax(axis=0)
        vectors = vectors * np.sign(vectors[largest, np.arange(channels)])
        channel_std = np.sqrt(covariance.diagonal().clip(min=0))
        return Statistics(mean.astype(np.float32), channel_mean, channel_std, values, vectors)
