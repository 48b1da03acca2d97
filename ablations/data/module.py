"""The DataModule over packed data sets."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytorch_lightning
import torch

from ablations.data.augment import Colour, Formula
from ablations.data.draws import shuffle
from ablations.data.feeds import Batch, Feed, Resident, Streamed
from ablations.data.inherited import refuse_changes
from ablations.data.loaders import (
    Augmentation,
    EvaluationBatches,
    Share,
    StackedBatches,
    TrainBatches,
)
from ablations.data.packed import Packed, Split
from ablations.data.sources import open_data


class PackedData:
    """What `PackedDataModule` does, for the LightningDataModule of either namespace."""

    trainer: Any
    common_random_numbers = True

    def __init__(
        self,
        path: str,
        batch_size: int = 128,
        crop: int | None = None,
        random_crop: bool = True,
        padding: int = 0,
        flip: bool = False,
        pca_colour: bool = False,
        pca_formula: Formula = "as-run",
        ten_crop: bool = False,
        validation: float = 0.1,
        limit: int | None = None,
        classes: Sequence[int] | None = None,
        evaluate_training: int = 0,
        resident_gib: float = 2.0,
        num_workers: int = 4,
    ) -> None:
        """Batches of a packed data set: small ones lie on the trainer's device, large ones stream.

        A batch is (images, labels): float32 (B, C, H, W), on the 0-255 scale less the mean training
        image, and int64 (B,). The order of the training images and their augmentation depend on the
        seed (``torch.initial_seed()`` when this is made), the epoch and the image alone: not on the
        model, the batch size, the devices, the workers, or whether the fit was resumed.

        Args:
            path: A packed folder, or the built-in set ``digits``.
            batch_size: Images a batch on each device; an epoch's last batch may be smaller.
            crop: Side of the square cut out of each image in pixels: at a random place in training,
                in the middle otherwise. Whole images without it.
            random_crop: Without it, training images are cut in the middle too.
            padding: Pixels of the mean image's colour added on each side before the random crop.
            flip: Mirror each training image left to right with probability one half.
            pca_colour: Shift the colour of each training image along the principal components of
                the training pixels. Also done where the model has an attribute ``pca_colour`` that
                is true. Greyscale images stay as they are.
            pca_formula: Scale of the colour shift: ``as-run`` is the standard deviation of each
                component, ``printed`` its variance on pixels from 0 to 1, times 255. Either is
                multiplied by a normal draw of standard deviation 0.1.
            ten_crop: Give each test image as ten views, (B, 10, C, H, W): the crop's four corners
                and centre, then their mirror images. View 4 is the centre crop.
            validation: Share of the training images that is held out for validation, the same ones
                for every seed; 0 for none. The test images are never among them.
            limit: Train on this many images only, the same ones for every seed. All without it.
            classes: Images of these labels only, in all splits; they become 0, 1, ... in this
                order. The mean image and the colours stay those of all training images.
            evaluate_training: So many of the training images, the same ones for every seed, are
                given again after each epoch as a second validation loader: as they are in testing,
                without augmentation.
            resident_gib: Splits whose decoded pixels (a byte each) take at most this many GiB lie
                on the device whole; larger ones are read as they are needed.
            num_workers: Threads that read, decode and augment ahead of the training where images
                are read as they are needed; with 0 each batch is made when its turn comes.

        Raises:
            ValueError: An argument is out of its range.
        """
        super().__init__()
        if batch_size < 1 or (crop is not None and crop < 1):
            raise ValueError("batch_size and crop must be at least 1")
        if padding < 0 or resident_gib < 0 or num_workers < 0:
            raise ValueError("padding, resident_gib and num_workers must be at least 0")
        if not 0 <= validation < 1 or (limit is not None and limit < 1):
            raise ValueError("validation must be from 0 up to 1 (not 1), limit at least 1")
        self.path, self.batch_size, self.crop, self.padding = path, batch_size, crop, padding
        self.flip, self.pca_colour, self.pca_formula = flip, pca_colour, pca_formula
        self.random_crop, self.ten_crop, self.validation, self.limit = (
            random_crop,
            ten_crop,
            validation,
            limit,
        )
        if evaluate_training < 0 or (evaluate_training and not validation):
            raise ValueError(
                "evaluate_training must be at least 0, and 0 without validation images"
            )
        self.evaluate_training = evaluate_training
        self.resident_gib, self.num_workers = resident_gib, num_workers
        self.classes = None if classes is None else list(classes)
        # read now: whatever is seeded during training must not move the order
        self.seed = torch.initial_seed()
        self._stacked: Sequence[PackedData] = ()
        self._packed: Packed | None = None

    @property
    def packed(self) -> Packed:
        """The data set, opened when first asked for."""
        if self._packed is None:
            self._packed = open_data(self.path)
        return self._packed

    def setup(self, stage: str | None = None) -> None:
        """Opens the data set.

        Raises:
            FileNotFoundError: There is no data set at the path.
            ValueError: It is damaged, or its images are smaller than the crop.
        """
        height, width, _ = self.packed.shape
        if self.crop is not None and self.crop > min(height, width):
            raise ValueError(f"crop {self.crop}: the images of '{self.path}' are {height}x{width}")
        known = set(range(len(self.packed.classes)))
        if self.classes is not None and not known >= set(self.classes) > set():
            told = f"expected some of {len(known)} labels, from 0 to {max(known)}"
            raise ValueError(f"classes {self.classes}: {told}")
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes {self.classes}: one is named twice")

    @staticmethod
    def stack(members: "Sequence[PackedData]") -> "PackedData":
        """A module whose training batches are tuples of a batch of each of these.

        They may differ in their seeds and in the augmentation of training images; a subclass is
        refused that changes more than ``__init__``. Any data module may offer this, for ``ablate
        run --fuse``; validation and test batches have to be the same for all.

        Raises:
            ValueError: They cannot give batches together; says why.
        """
        refuse_changes(members, PackedData)
        made = copy.copy(members[0])
        if any(_apart_from_training(member) != _apart_from_training(made) for member in members):
            raise ValueError("their data differ in more than augmentation")
        made._stacked = members
        return made

    def train_dataloader(self) -> TrainBatches | StackedBatches:
        """Training batches; without a trainer, on the CPU."""
        feed = self._feed("train", self._training_and_validation()[0])
        model = self.trainer.lightning_module if self.trainer else None
        asked: Any = getattr(model, "pca_colour", False)
        members = self._stacked or (self,)
        colours = asked if isinstance(asked, list) else [asked] * len(members)
        made = [
            TrainBatches(
                feed,
                self.batch_size,
                Augmentation(
                    self._size,
                    own.padding,
                    own.flip,
                    self._colour(own.pca_formula) if own.pca_colour or colour is True else None,
                    centred=not own.random_crop,
                ),
                own.seed,
                self._share,
                self.trainer,
            )
            for own, colour in zip(members, colours, strict=True)
        ]
        return StackedBatches(made) if self._stacked else made[0]

    def val_dataloader(self) -> EvaluationBatches | list[EvaluationBatches]:
        """Validation batches, then those of training images; an empty list where none are held out.

        The batches alone where there is one kind.
        """
        training, samples = self._training_and_validation()
        if not len(samples):
            return []
        parts = [samples]
        if self.evaluate_training:
            order = shuffle(training, "evaluate_training")
            parts.append(training[order[: self.evaluate_training]].sort().values)
        made = [
            EvaluationBatches(
                self._feed("train", part), self.batch_size, self._size, share=self._share
            )
            for part in parts
        ]
        return made if self.evaluate_training else made[0]

    def test_dataloader(self) -> EvaluationBatches | list[EvaluationBatches]:
        """Test batches; an empty list where the data set has no test images."""
        if "test" not in self.packed.splits:
            return []
        samples = torch.from_numpy(np.flatnonzero(self._split("test").labels >= 0))
        feed = self._feed("test", samples)
        return EvaluationBatches(feed, self.batch_size, self._size, self.ten_crop, self._share)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """The batch as it is: on the trainer's device already (Lightning's walk takes 30 us)."""
        return batch

    def _training_and_validation(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices in the training split, ascending; fixed by a hash of the index."""
        samples = torch.from_numpy(np.flatnonzero(self._split("train").labels >= 0))
        order = samples[shuffle(samples, "validation")]
        held_out = round(len(order) * self.validation)
        training = order[held_out:][: self.limit]
        return training.sort().values, order[:held_out].sort().values

    def _split(self, name: str) -> Split:
        """A split with the labels that batches have; -1 for those that are left out."""
        split = self.packed.splits[name]
        if self.classes is None:
            return split
        labels = np.full(len(self.packed.classes), -1)
        labels[self.classes] = np.arange(len(self.classes))
        return replace(split, labels=labels[split.labels])

    def _feed(self, split: str, samples: torch.Tensor) -> Feed:
        packed = self.packed
        images, statistics = self._split(split), packed.statistics
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if len(samples) * math.prod(packed.shape) <= self.resident_gib * 2**30:
            return Resident.of(images, samples, statistics, device)
        return Streamed.of(images, samples, statistics, device, self.num_workers)

    @property
    def _size(self) -> tuple[int, int]:
        height, width, _ = self.packed.shape
        return (height, width) if self.crop is None else (self.crop, self.crop)

    @property
    def _share(self) -> Share:
        trainer = self.trainer
        return Share(trainer.global_rank, trainer.world_size) if trainer else Share()

    def _colour(self, formula: Formula) -> Colour | None:
        if self.packed.shape[2] != 3:
            return None
        statistics = self.packed.statistics
        values = torch.from_numpy(statistics.colour_values)
        return Colour.of(values, torch.from_numpy(statistics.colour_vectors), formula)


def _apart_from_training(module: PackedData) -> list[Any]:
    names = "path batch_size crop ten_crop validation limit classes evaluate_training resident_gib"
    return [getattr(module, name) for name in names.split()]


class PackedDataModule(PackedData, pytorch_lightning.LightningDataModule):
    """A packed data set (for `pytorch_lightning`)."""
