"""Loaders that hold a whole split on the device and yield ready batches: no workers, no copies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ablations.data.augment import Colour, centre_windows, cut, random_windows, ten_windows
from ablations.data.draws import shuffle
from ablations.data.packed import Split, Statistics

READY_BELOW = 256 * 2**20  # bytes of float images that may lie cut and centred on the device

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Store:
    """Labelled images on a device.

    Attributes:
        images: uint8 (N, H, W, C).
        labels: int64 (N,).
        samples: int64 (N,), each image's index in its split of the data set.
        mean: float32 (H, W, C), the mean training image.
    """

    images: Tensor
    labels: Tensor
    samples: Tensor
    mean: Tensor

    @staticmethod
    def of(split: Split, samples: Tensor, statistics: Statistics, device: torch.device) -> "Store":
        """The images of these indices, ascending, put on the device."""
        with torch.inference_mode(False):  # a loader made by a test may serve a fit later
            rows = samples.numpy()
            return Store(
                torch.from_numpy(split.images[rows]).to(device),
                torch.from_numpy(split.labels[rows]).to(device),
                samples.to(device),
                torch.from_numpy(statistics.mean).to(device),
            )

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.images.shape[1], self.images.shape[2]

    def centred(self) -> Tensor | None:
        """All images less their mean, float32 (N, C, H, W); None where that takes much memory."""
        if 4 * self.images.numel() > READY_BELOW:
            return None
        with torch.inference_mode(False):
            images = self.images.permute(0, 3, 1, 2).float() - self.mean.permute(2, 0, 1)
            return images.clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class Share:
    """Rank ``rank`` of ``world`` processes that divide each batch among them."""

    rank: int = 0
    world: int = 1


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images, besides subtracting the mean.

    Attributes:
        size: (h, w) of the random crop; the images' own size without padding is no crop.
        padding: Pixels of mean colour added on each side before the crop.
        flip: Mirror half of the images left to right.
        colour: PCA colour, or None.
    """

    size: tuple[int, int]
    padding: int = 0
    flip: bool = False
    colour: Colour | None = None


class TrainBatches:
    """Training batches in an order and with draws of their own for each epoch.

    Order and draws depend on the seed, the epoch and the samples alone. The last batch may be
    smaller. In a fit that goes on in the middle of an epoch, the batches that were left come first.
    """

    def __init__(
        self,
        store: Store,
        batch_size: int,
        augmentation: Augmentation,
        seed: int,
        share: Share = Share(),
        trainer: Any = None,
    ) -> None:
        self._store, self._batch_size, self._seed, self._share = store, batch_size, seed, share
        self._augmentation, self._trainer = augmentation, trainer
        whole = augmentation.size == store.size and not (augmentation.padding or augmentation.flip)
        self._ready = store.centred() if whole else None
        self._epoch = 0
        self._resumes = False

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose batches come next, where no trainer counts epochs."""
        self._epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """Nothing: a checkpoint holds the trainer's own count of batches done."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Called by Lightning before a fit goes on: the next iteration skips what was done."""
        self._resumes = True

    def __len__(self) -> int:
        per_rank = -(-len(self._store.labels) // self._share.world)
        return -(-per_rank // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        # a generator: nothing runs before the first batch is asked for, when the epoch is known
        start = 0
        if self._trainer is not None:
            # a count of its own would be wrong after a checkpoint between a batch's start and end,
            # and the epoch that Lightning gives to samplers is, after some with max_steps
            self._epoch = self._trainer.current_epoch
            start = self._trainer.fit_loop.batch_idx + 1 if self._resumes else 0
        self._resumes = False
        store, share = self._store, self._share
        order = shuffle(store.samples, self._seed, "order", self._epoch)
        order = torch.cat([order, order[: -len(order) % share.world]])[share.rank :: share.world]
        for images, rows in self._augmented(order, start):
            yield images, store.labels.index_select(0, rows)

    def _augmented(self, order: Tensor, start: int) -> Iterator[Batch]:
        """Batches of images from number ``start`` on, with their rows in the store."""
        store, how, key = self._store, self._augmentation, (self._seed, self._epoch)
        samples = store.samples[order]
        rows = torch.split(order, self._batch_size)
        if self._ready is None:
            windows = random_windows(
                *key, samples, store.size, how.size, how.padding, how.flip
            ).split(self._batch_size)
        if how.colour is not None:
            shifts = torch.split(how.colour.shifts(*key, samples), self._batch_size)
        for k in range(start, len(rows)):
            if self._ready is None:
                images = cut(store.images, store.mean, rows[k], windows[k])
            else:
                images = self._ready.index_select(0, rows[k])
            if how.colour is not None:
                images += shifts[k][:, :, None, None]
            yield images, rows[k]


class EvaluationBatches:
    """All images in order: their middle, (B, C, h, w), or each in ten windows, (B, 10, C, h, w).

    No image is given twice, and every rank gets the same number of batches: where less than one
    image a rank is left at the end, the batch before takes it.
    """

    def __init__(
        self,
        store: Store,
        batch_size: int,
        size: tuple[int, int],
        ten_crop: bool = False,
        share: Share = Share(),
    ) -> None:
        self._store, self._size, self._ten_crop = store, size, ten_crop
        self._ready = store.centred() if size == store.size and not ten_crop else None
        count = len(store.labels)
        step = batch_size * share.world
        starts = [at for at in range(0, count, step) if at == 0 or count - at >= share.world]
        ends = [*starts[1:], count]
        rows = torch.arange(count, device=store.labels.device)
        self._rows = [
            rows[start + share.rank : end : share.world]
            for start, end in zip(starts, ends, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Batch]:
        for rows in self._rows:
            yield self._images(rows), self._store.labels.index_select(0, rows)

    def _images(self, rows: Tensor) -> Tensor:
        if self._ready is not None:
            return self._ready.index_select(0, rows)
        store, device = self._store, rows.device
        if not self._ten_crop:
            windows = centre_windows(len(rows), store.size, self._size, device)
            return cut(store.images, store.mean, rows, windows)
        windows = ten_windows(len(rows), store.size, self._size, device)
        views = cut(store.images, store.mean, rows.repeat_interleave(10), windows)
        return views.view(len(rows), 10, *views.shape[1:])
