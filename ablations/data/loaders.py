"""Loaders that yield ready batches on the device, in an order that a seed and an epoch fix."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from ablations.data.augment import Colour, Windows, centre_windows, random_windows, ten_windows
from ablations.data.draws import shuffle
from ablations.data.feeds import Batch, Cut, Feed


@dataclass(frozen=True)
class Share:
    """Rank ``rank`` of ``world`` processes that divide each batch among them."""

    rank: int = 0
    world: int = 1


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images, besides subtracting the mean.

    Attributes:
        size: (h, w) of the crop; the images' own size without padding is no crop.
        padding: Pixels of mean colour added on each side before the crop.
        flip: Mirror half of the images left to right.
        colour: PCA colour, or None.
        centred: Crop in the middle, not at a random place.
    """

    size: tuple[int, int]
    padding: int = 0
    flip: bool = False
    colour: Colour | None = None
    centred: bool = False


class TrainBatches:
    """Training batches in an order and with draws of their own for each epoch.

    Order and draws depend on the seed, the epoch and the samples alone. The last batch may be
    smaller. In a fit that goes on in the middle of an epoch, the batches that were left come first.
    """

    def __init__(
        self,
        feed: Feed,
        batch_size: int,
        augmentation: Augmentation,
        seed: int,
        share: Share = Share(),
        trainer: Any = None,
    ) -> None:
        self._feed, self._batch_size, self._seed, self._share = feed, batch_size, seed, share
        self._augmentation, self._trainer = augmentation, trainer
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
        per_rank = -(-len(self._feed.samples) // self._share.world)
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
        feed, share = self._feed, self._share
        order = shuffle(feed.samples, self._seed, "order", self._epoch)
        order = torch.cat([order, order[: -len(order) % share.world]])[share.rank :: share.world]
        yield from feed.batches(self._cuts(order)[start:])

    def _cuts(self, order: Tensor) -> list[Cut]:
        feed, how, size = self._feed, self._augmentation, self._batch_size
        samples = feed.samples[order].to(feed.device)
        rows = torch.split(order, size)
        windows: Iterable[Windows | None] = repeat(None)
        shifts: Iterable[Tensor | None] = repeat(None)
        if how.size != feed.size or how.padding or how.flip:
            windows = random_windows(
                self._seed,
                self._epoch,
                samples,
                feed.size,
                how.size,
                how.padding,
                how.flip,
                how.centred,
            ).split(size)
        if how.colour is not None:
            shifts = torch.split(how.colour.shifts(self._seed, self._epoch, samples), size)
        return [Cut(*parts) for parts in zip(rows, windows, shifts, strict=False)]


class StackedBatches:
    """Tuples of a training batch of each of several trials."""

    def __init__(self, batches: Sequence[TrainBatches]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches[0])

    def __iter__(self) -> Iterator[tuple[Batch, ...]]:
        return zip(*self._batches, strict=True)


class EvaluationBatches:
    """All images in order: their middle, (B, C, h, w), or each in ten windows, (B, 10, C, h, w).

    No image is given twice, and every rank gets the same number of batches: where less than one
    image a rank is left at the end, the batch before takes it.
    """

    def __init__(
        self,
        feed: Feed,
        batch_size: int,
        size: tuple[int, int],
        ten_crop: bool = False,
        share: Share = Share(),
    ) -> None:
        self._feed, self._size, self._ten_crop = feed, size, ten_crop
        count = len(feed.samples)
        step = batch_size * share.world
        starts = [at for at in range(0, count, step) if at == 0 or count - at >= share.world]
        ends = [*starts[1:], count]
        rows = torch.arange(count, device=feed.samples.device)
        self._rows = [
            rows[start + share.rank : end : share.world]
            for start, end in zip(starts, ends, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Batch]:
        for images, labels in self._feed.batches(map(self._cut, self._rows)):
            views = images.view(-1, 10, *images.shape[1:]) if self._ten_crop else images
            yield views, labels

    def _cut(self, rows: Tensor) -> Cut:
        feed = self._feed
        if self._ten_crop:
            return Cut(rows, ten_windows(len(rows), feed.size, self._size, feed.device))
        if self._size == feed.size:
            return Cut(rows)
        return Cut(rows, centre_windows(len(rows), feed.size, self._size, feed.device))
