"""How long a training step takes, as a metric that a study can ask about."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer


class StepTime(Callback):
    """Logs ``train/seconds_per_step``: the median over epochs of an epoch's mean step.

    A step lasts from one batch to the next, loading included, validation and checkpoints between
    epochs not. The first epoch, in which kernels are chosen and compiled, counts only while it is
    the only one. Of an epoch that was interrupted the steps since count.
    """

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.begun: float | None = None
        self.first = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self.begun is None:
            self.begun, self.first = _now(pl_module), batch_idx

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.is_last_batch and self.begun is not None:
            steps = batch_idx - self.first + 1
            self.epochs.append((_now(pl_module) - self.begun) / steps)
            self.begun = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        counted = self.epochs[1:] or self.epochs
        if counted:
            pl_module.log("train/seconds_per_step", statistics.median(counted), sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": list(self.epochs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = list(state_dict["epochs"])


def _now(pl_module: LightningModule) -> float:
    if pl_module.device.type == "cuda":
        torch.cuda.synchronize(pl_module.device)  # once an epoch, not once a step
    return time.perf_counter()
