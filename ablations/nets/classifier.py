"""How every net here is trained and judged: the paper's recipe as a LightningModule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F

from ablations.nets.build import build
from ablations.nets.layers import KeyedDropout
from ablations.nets.spec import Net, Shape, trace

Batch = tuple[Tensor, Tensor]
Stage = Literal["train", "val", "test"]


class Classifier(LightningModule):
    """A net for images in batches of (images (B, C, H, W) float, labels (B,) int64).

    Logged once for each epoch and stage, the means over its examples: ``train/loss`` (cross
    entropy in nats) and ``train/top1_error``, with more than five classes also
    ``train/top5_error``, in percent; ``val/`` and ``test/`` the same. Training errors are those
    of the training batches as they were met, dropout included. `test_step` returns
    ``probabilities`` (B, classes) and ``targets`` (B,).

    The seed is `torch.initial_seed()` at construction: weights and dropout are keyed by it.
    """

    def __init__(
        self,
        net: Net,
        shape: Shape,
        *,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 0.0005,
        schedule: Literal["plateau", "fixed"] = "plateau",
        patience: int = 5,
        milestones: Sequence[int] = (),
    ) -> None:
        """Build the net and set the recipe (section 5 of the paper).

        Args:
            net: the layers, the last with one output for each class.
            shape: (channels, height, width) of an image.
            learning_rate: the first one; a schedule divides it by 10.
            momentum: of SGD.
            weight_decay: of SGD, on weights and biases, times the learning rate.
            schedule: plateau divides the rate by 10, at most three times, when the validation
                error stops improving; fixed divides it at the milestones.
            patience: epochs without a better validation error before plateau acts.
            milestones: epochs at which fixed acts; none leaves the rate as it is.
        """
        super().__init__()
        self.num_classes = trace(net, shape)[-1].gives[0]
        self.network = build(net, shape, torch.initial_seed())
        self.example_input_array = torch.zeros(1, *shape)
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.patience = patience
        self.milestones = tuple(milestones)
        self._dropouts = [m for m in self.network.modules() if isinstance(m, KeyedDropout)]
        self._sums: dict[str, Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, classes)."""
        logits: Tensor = self.network(images)
        return logits

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.SGD(
            self.parameters(),
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
        if self.schedule == "fixed":
            steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, self.milestones, gamma=0.1)
            return {"optimizer": optimizer, "lr_scheduler": steps}
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.1, patience=self.patience, min_lr=self.learning_rate * 1e-3
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": plateau, "monitor": "val/top1_error"},
        }

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        for dropout in self._dropouts:
            dropout.step = (self.current_epoch, batch_idx, self.global_rank)
        return self._judged("train", batch, batch_idx)[0]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._judged("val", batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        _, logits = self._judged("test", batch, batch_idx)
        return {"probabilities": logits.softmax(1), "targets": batch[1]}

    def on_train_epoch_end(self) -> None:
        self._log("train")

    def on_validation_epoch_end(self) -> None:
        self._log("val")

    def on_test_epoch_end(self) -> None:
        self._log("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # a fit that goes on in the middle of an epoch goes on adding
        checkpoint["sums"] = dict(self._sums)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._sums = dict(checkpoint.get("sums", {}))

    def _judged(self, stage: Stage, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Loss and logits of a batch; its sums are added on the device, without a sync."""
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        with torch.no_grad():
            guesses = logits.topk(min(5, self.num_classes)).indices
            hits = guesses.eq(labels[:, None]).sum(0).cumsum(0)
            n = torch.full_like(loss, len(labels), dtype=torch.float32)
            sums = torch.stack((n, loss * n, n - hits[0], n - hits[-1]))
            if batch_idx:
                sums += self._sums[stage].to(sums.device)
            self._sums[stage] = sums
        return loss, logits

    def _log(self, stage: Stage) -> None:
        sums = self.trainer.strategy.reduce(self._sums[stage], reduce_op="sum")
        n, loss, wrong1, wrong5 = sums
        values = {f"{stage}/loss": loss / n, f"{stage}/top1_error": 100 * wrong1 / n}
        if self.num_classes > 5:
            values[f"{stage}/top5_error"] = 100 * wrong5 / n
        self.log_dict(values)
