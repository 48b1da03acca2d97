"""Where batches of images come from: the device, which holds all of them, or the disk.

Either gives the same batches, bit for bit.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.profiler import record_function

from ablations.data.augment import Empty, Windows, centre_windows, cut
from ablations.data.memory import Memory
from ablations.data.packed import Split
from ablations.data.statistics import Statistics

READY_BELOW = 256 * 2**20  # bytes of float images that may lie cut and centred on the device

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Cut:
    """A batch to be made.

    Attributes:
        rows: int64 (B,), places among a feed's images.
        windows: B windows, or V for each image, one image's after the other's; None for whole
            images.
        shifts: float32 (B, C), added to all pixels of an image; None for none.
    """

    rows: Tensor
    windows: Windows | None = None
    shifts: Tensor | None = None

    def of(self, images: Tensor, mean: Tensor, which: Tensor, empty: Empty) -> Tensor:
        """The batch, float32 (B x V, C, h, w), of images (N, H, W, C) at the places ``which``."""
        windows = self.windows
        if windows is None:
            size = (mean.shape[0], mean.shape[1])
            windows = centre_windows(len(which), size, size, images.device)
        which = which.repeat_interleave(len(windows.top) // len(which))
        return cut(images, mean, which, windows, self.shifts, empty)


@dataclass(frozen=True)
class Resident:
    """Labelled images that lie on a device.

    Attributes:
        images: uint8 (N, H, W, C).
        labels: int64 (N,).
        samples: int64 (N,), each image's index in its split of the data set.
        mean: float32 (H, W, C), the mean training image.
        memory: Of batches on the CPU.
    """

    images: Tensor
    labels: Tensor
    samples: Tensor
    mean: Tensor
    memory: Memory = field(default_factory=Memory)

    @staticmethod
    def of(
        split: Split, samples: Tensor, statistics: Statistics, device: torch.device
    ) -> "Resident":
        """The images of these indices, ascending, put on the device."""
        with torch.inference_mode(False):  # a loader made by a test may serve a fit later
            rows = samples.numpy()
            images = torch.empty((len(rows), *split.images.shape[1:]), dtype=torch.uint8)
            split.take(rows, images.numpy())
            return Resident(
                images.to(device),
                torch.from_numpy(split.labels[rows]).to(device),
                samples.to(device),
                torch.from_numpy(statistics.mean).to(device),
            )

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.images.shape[1], self.images.shape[2]

    @property
    def device(self) -> torch.device:
        """Where the batches are made."""
        return self.images.device

    def batches(self, cuts: Iterable[Cut]) -> Iterator[Batch]:
        """The batches, each made when it is asked for."""
        for each in cuts:
            if each.windows is None and self._centred is not None:
                images = self._centred.index_select(0, each.rows)
                if each.shifts is not None:
                    images += each.shifts[:, :, None, None]
            else:
                images = each.of(self.images, self.mean, each.rows, self.memory.empty)
            yield images, self.labels.index_select(0, each.rows)

    @cached_property
    def _centred(self) -> Tensor | None:
        """All images less their mean, float32 (N, C, H, W); None where that takes much memory."""
        if 4 * self.images.numel() > READY_BELOW:
            return None
        with torch.inference_mode(False):
            images = self.images.permute(0, 3, 1, 2).float() - self.mean.permute(2, 0, 1)
            return images.clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class Streamed:
    """Labelled images that are read as they are needed, by threads ahead of the training.

    While one batch trains, the next is copied to the device, a further one augmented there, and
    more are read and decoded: the paper's pipeline (Krizhevsky et al. 2012, section 4.1), with the
    augmentation on the device.

    Attributes:
        split: The images, on a disk.
        samples: int64 (N,), indices in the split, on the CPU.
        mean: float32 (H, W, C), the mean training image, on the device.
        workers: Threads; with none, each batch is made when it is asked for.
        memory: Of batches on the CPU.
    """

    split: Split
    samples: Tensor
    mean: Tensor
    workers: int
    memory: Memory = field(default_factory=Memory)

    @staticmethod
    def of(
        split: Split,
        samples: Tensor,
        statistics: Statistics,
        device: torch.device,
        workers: int,
    ) -> "Streamed":
        """The images of these indices, for a device."""
        with torch.inference_mode(False):
            mean = torch.from_numpy(statistics.mean).to(device)
        return Streamed(split, samples, mean, workers)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.mean.shape[0], self.mean.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the batches are made."""
        return self.mean.device

    def batches(self, cuts: Iterable[Cut]) -> Iterator[Batch]:
        """The batches, made ahead by the threads in any order and given in theirs."""
        line = _Line(self)
        if not self.workers:
            for each in cuts:
                yield line.taken(line.made(each, line.asked()))
            return
        pool = ThreadPoolExecutor(self.workers, "ablations-data")
        ahead: deque[Future[_Made]] = deque()
        try:
            for each in cuts:
                ahead.append(pool.submit(line.made, each, line.asked()))
                if len(ahead) > self.workers + 1:
                    yield line.taken(ahead.popleft().result())
            while ahead:
                yield line.taken(ahead.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Made:
    images: Tensor
    labels: Tensor
    done: torch.cuda.Event | None
    cut: Cut  # kept until the stream that made its windows waits for `done`: they may be in use


class _Line:
    """The way of a batch from the disk to the training; on a GPU with streams of its own."""

    def __init__(self, feed: Streamed) -> None:
        self._feed = feed
        self._copy: torch.cuda.Stream | None = None
        self._augment: torch.cuda.Stream | None = None
        if feed.device.type == "cuda":
            self._copy, self._augment = (torch.cuda.Stream(feed.device) for _ in range(2))  # type: ignore[no-untyped-call]

    def asked(self) -> torch.cuda.Event | None:
        """When a batch is asked for on the training's stream, which makes its windows."""
        if self._augment is None:
            return None
        event: torch.cuda.Event = torch.cuda.current_stream(self._feed.device).record_event()
        return event

    def made(self, each: Cut, asked: torch.cuda.Event | None) -> _Made:
        """A batch, on its way where there are streams; called by a thread."""
        feed = self._feed
        rows = feed.samples[each.rows].numpy()
        shape = (len(rows), *feed.mean.shape)
        # the context also makes the device the thread's own, for the pinned memory
        with torch.cuda.stream(self._copy):
            if self._copy is None:
                host = torch.from_numpy(feed.memory.empty(shape, np.uint8))
            else:
                host = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
            with record_function("read"):
                feed.split.take(rows, host.numpy())
            with record_function("copy"):
                images = host.to(feed.device, non_blocking=True)
                labels = torch.from_numpy(feed.split.labels[rows]).to(feed.device)
        with torch.cuda.stream(self._augment), record_function("augment"):
            if self._augment is not None and self._copy is not None and asked is not None:
                self._augment.wait_event(asked)
                self._augment.wait_stream(self._copy)
                images.record_stream(self._augment)
            which = torch.arange(len(rows), device=feed.device)
            patches = each.of(images, feed.mean, which, feed.memory.empty)
            done = None if self._augment is None else self._augment.record_event()
        return _Made(patches, labels, done, each)

    def taken(self, made: _Made) -> Batch:
        """The batch, for the stream that is current now."""
        if made.done is not None:
            current = torch.cuda.current_stream(self._feed.device)
            current.wait_event(made.done)
            made.images.record_stream(current)
            made.labels.record_stream(current)
        return made.images, made.labels


Feed = Resident | Streamed
