"""How every net here is trained and judged: the paper's recipe as a LightningModule."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from math import log
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from ablations.data.inherited import refuse_changes
from ablations.nets.build import build
from ablations.nets.columns import TwoDevices
from ablations.nets.layers import KeyedDropout
from ablations.nets.ranges import Ranges
from ablations.nets.spec import BatchNorm, Net, Shape, Traced, Weighted, trace
from ablations.nets.weights import load_into

Batch = tuple[Tensor, Tensor]
Compiled = Literal["default", "reduce-overhead", "max-autotune"]
CENTRE = 4
"""The view of ten that is the centre crop."""


class Classifier(LightningModule):
    """A net for images in batches of (images (B, C, H, W) float, labels (B,) int64).

    Logged once for each epoch and stage, the means over its examples: ``train/loss`` (cross
    entropy in nats) and ``train/top1_error``, with more than five classes also
    ``train/top5_error``, in percent; ``val/`` and ``test/`` the same. Training errors are those
    of the training batches as they were met, dropout included; a second validation loader is taken
    for training images, as ``train/eval_loss``, ``train/eval_top1_error`` and so on. Test images
    may come as ten views, (B, 10, C, H, W), the fifth the centre crop: ``test/`` is then about the
    centre crop, and ``test/top1_error_ten_crop`` about the mean of the ten softmax outputs (section
    4.1). Testing also logs what local response normalisation divides by (see `ranges.Ranges`).
    `test_step` returns ``probabilities`` (B, classes), of the centre crop, ``targets`` (B,) and, of
    ten views, ``probabilities_ten_crop``.

    The seed is `torch.initial_seed()` at construction: weights and dropout are keyed by it.
    """

    common_random_numbers = True

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
        init_from: str | None = None,
        columns: Sequence[str] | None = None,
        channels_last: bool = False,
        compiled: Compiled | None = None,
        fused_optimizer: bool = False,
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
            init_from: a checkpoint of another trial to start from: all its weights but those of
                the last layer, which starts afresh.
            columns: two devices, one for each column of a two-column net; such a net cannot be
                trained on several devices by data as well.
            channels_last: keep images and convolutions' weights in memory with the channels of a
                pixel side by side.
            compiled: the mode in which torch compiles the net, None for not at all; CUDA graphs
                are "reduce-overhead". It needs a C++ compiler.
            fused_optimizer: update all weights in one kernel.
        """
        super().__init__()
        self.net, self.shape = net, shape
        network = build(net, shape, torch.initial_seed())
        if init_from is not None:
            load_into(network, net, init_from)
        self.network: nn.Module = network
        if columns is not None:
            self.network = TwoDevices(network, net, shape, columns)
        self.channels_last = channels_last
        if channels_last:
            for module in self.network.modules():
                if isinstance(module, nn.Conv2d):
                    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if compiled is not None:
            self.network.compile(mode=compiled)
        self.fused_optimizer = fused_optimizer
        self.num_classes = self.layer_table()[-1].gives[0]
        self.example_input_array = torch.zeros(1, *shape)
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.patience = patience
        self.milestones = sorted(milestones)
        self._dropouts = [m for m in self.network.modules() if isinstance(m, KeyedDropout)]
        self._sums: dict[str, Tensor] = {}
        self._ranges: Ranges | None = None

    def layer_table(self) -> tuple[Traced, ...]:
        """A row for each layer: its name, what it gives, parameters, FLOPs and neurons."""
        return trace(self.net, self.shape)

    @staticmethod
    def stack(members: Sequence[Classifier]) -> LightningModule:
        """One module to train all of these, which differ in seeds and layers without weights.

        A subclass is refused that changes more than ``__init__``, unless it offers a ``stack`` of
        its own. Any module may offer this, for ``ablate run --fuse``: see
        `stack.StackedClassifier` for what the sweep expects of the module that is made.

        Raises:
            ValueError: They cannot be trained together; says why.
        """
        from ablations.nets.stack import StackedClassifier

        refuse_changes(members, Classifier)
        return StackedClassifier(members)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, classes)."""
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.network(images)
        return logits.float() if logits.dtype.itemsize < 4 else logits

    def configure_optimizers(self) -> OptimizerLRScheduler:
        groups, drops = self._groups()
        optimizer = torch.optim.SGD(
            groups,
            lr=self.learning_rate,
            momentum=self.momentum,
            fused=self.fused_optimizer or None,  # None leaves torch its own choice, False does not
        )
        if self.schedule == "fixed":
            factors: list[Callable[[int], float]] = [
                partial(_factor, self.milestones if drop else ()) for drop in drops
            ]
            fixed = torch.optim.lr_scheduler.LambdaLR(optimizer, factors)
            return {"optimizer": optimizer, "lr_scheduler": fixed}
        lowest = [g["lr"] * (1e-3 if drop else 1.0) for g, drop in zip(groups, drops, strict=True)]
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.1, patience=self.patience, min_lr=lowest
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": plateau, "monitor": "val/top1_error"},
        }

    def _groups(self) -> tuple[list[dict[str, Any]], list[bool]]:
        """Parameters that learn alike, and whether a schedule lowers their rates."""
        learning = {
            layer.name: layer.learning
            for layer in self.net
            if isinstance(layer, Weighted | BatchNorm)
        }
        alike: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            of = learning[name.split(".")[0]]
            key = (of.rate, of.decay, True)
            if name.endswith("bias"):
                key = (of.bias_rate, of.bias_decay, of.bias_drops)
            alike.setdefault(key, []).append(parameter)
        groups = [
            {
                "params": parameters,
                "lr": self.learning_rate * rate,
                "weight_decay": self.weight_decay * decay,
            }
            for (rate, decay, _), parameters in alike.items()
        ]
        return groups, [drops for _, _, drops in alike]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        for dropout in self._dropouts:
            dropout.step = (self.current_epoch, batch_idx, self.global_rank)
        return self._judged("train", batch, batch_idx)[0]

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._judged("train_eval" if dataloader_idx else "val", batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        images, labels = batch
        if images.ndim == 4:
            logits = self._judged("test", batch, batch_idx)[1]
            return {"probabilities": logits.softmax(-1), "targets": labels}
        views = self(images.flatten(0, 1)).unflatten(-2, images.shape[:2])
        logits = views[..., CENTRE, :]
        averaged = views.log_softmax(-1).logsumexp(-2) - log(images.shape[1])
        # of log probabilities, cross entropy is the negative log likelihood
        for key, scores in (("test", logits), ("ten", averaged)):
            self._add(key, scores, labels, self._loss(scores, labels), batch_idx)
        return {
            "probabilities": logits.softmax(-1),
            "probabilities_ten_crop": averaged.exp(),
            "targets": labels,
        }

    def on_train_epoch_end(self) -> None:
        self._log("train")

    def on_validation_epoch_end(self) -> None:
        self._log("val")
        if "train_eval" in self._sums:
            self._log("train_eval", "train/eval_{}")

    def on_test_epoch_start(self) -> None:
        self._ranges = Ranges(self.network)

    def on_test_epoch_end(self) -> None:
        self._log("test")
        if "ten" in self._sums:
            self._log("ten", "test/{}_ten_crop")
            del self._sums["ten"]
        if self._ranges is not None:
            self.log_dict(self._ranges.closed(), sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # a fit that goes on in the middle of an epoch goes on adding
        checkpoint["sums"] = dict(self._sums)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._sums = dict(checkpoint.get("sums", {}))

    def _judged(self, stage: str, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Loss and logits of a batch, which is counted."""
        images, labels = batch
        logits = self(images)
        loss = self._loss(logits, labels)
        self._add(stage, logits, labels, loss, batch_idx)
        return loss, logits

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels)

    @torch.no_grad()
    def _add(self, key: str, scores: Tensor, labels: Tensor, loss: Tensor, batch_idx: int) -> None:
        """Add to the sums of an epoch, on the device, without a sync."""
        guesses = scores.topk(min(5, self.num_classes)).indices
        hits = guesses.eq(labels[..., None]).sum(-2).cumsum(-1)
        n = torch.full_like(loss, labels.shape[-1], dtype=torch.float32)
        sums = torch.stack((n, loss * n, n - hits[..., 0], n - hits[..., -1]))
        if batch_idx:
            sums += self._sums[key].to(sums.device)
        self._sums[key] = sums

    def _log(self, key: str, form: str = "") -> None:
        form = form or f"{key}/{{}}"
        sums = self.trainer.strategy.reduce(self._sums[key], reduce_op="sum")
        n, loss, wrong1, wrong5 = sums
        values = {"loss": loss / n, "top1_error": 100 * wrong1 / n}
        if self.num_classes > 5:
            values["top5_error"] = 100 * wrong5 / n
        self._tell({form.format(name): value for name, value in values.items()})

    def _tell(self, values: dict[str, Tensor]) -> None:
        self.log_dict(values)


def _factor(milestones: Sequence[int], epoch: int) -> float:
    return 0.1 ** bisect_right(milestones, epoch)
