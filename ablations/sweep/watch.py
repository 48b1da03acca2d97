"""What looks on while a trial trains: metrics to a file, a checkpoint a minute, common draws."""

import csv
import importlib
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ablations.sweep.randomness import give_common_order, reseed
from ablations.workspace import cut_torn_line

# No more than this much training is lost with a worker.
CHECKPOINT_SECONDS = float(os.environ.get("ABLATIONS_CHECKPOINT_SECONDS", "60"))
_COLUMNS = ("epoch", "step", "name", "value", "time")


class MetricsFile:
    """metrics.csv: the last value of each name in each epoch, flushed once an epoch."""

    def __init__(self, path: Path) -> None:
        cut_torn_line(path)
        self.path = path
        self.pending: dict[str, tuple[int, int, float]] = {}
        self.diverged = False
        self.epochs = 0

    def note(self, metrics: Mapping[str, Any], step: int, epoch: int) -> None:
        """Keep the values of one log call."""
        for name, value in metrics.items():
            if name == "epoch":
                continue
            number = float(value)
            self.pending[name] = (epoch, step, number)
            self.diverged |= "loss" in name.lower() and not math.isfinite(number)

    def flush(self) -> None:
        """Append what was kept."""
        if not self.pending:
            return
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(_COLUMNS)
            now = round(time.time(), 3)
            for name, (epoch, step, number) in self.pending.items():
                writer.writerow((epoch, step, name, repr(number), now))
        self.pending.clear()


class Predictions:
    """Per-example test predictions of a module whose test_step returns them."""

    def __init__(self) -> None:
        self.batches: list[dict[str, torch.Tensor]] = []

    def take(self, outputs: Any) -> None:
        """Keep one batch's ``targets`` (B,) and every ``probabilities*`` (B, C), if there are."""
        if isinstance(outputs, Mapping) and {"probabilities", "targets"} <= set(outputs):
            names = [name for name in outputs if str(name).startswith("probabilities")]
            self.batches.append({name: outputs[name].detach() for name in (*names, "targets")})

    def save(self, path: Path) -> None:
        """Write predictions.npz; nothing where no batch was kept."""
        if not self.batches:
            return
        whole = {name: torch.cat([b[name] for b in self.batches]).cpu() for name in self.batches[0]}
        arrays = {n: (v.float() if v.is_floating_point() else v).numpy() for n, v in whole.items()}
        temporary = path.with_suffix(".tmp.npz")
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
        temporary.replace(path)


class Watch:
    """The hooks; made a Callback of the module's own namespace by :func:`make_watch`."""

    def __init__(self, seed: int, checkpoint: Path, metrics: MetricsFile) -> None:
        super().__init__()
        self.seed = seed
        self.checkpoint = checkpoint
        self.metrics = metrics
        self.predictions = Predictions()
        self.saved = time.monotonic()
        self.progressed: Callable[[], None] = lambda: None
        self.foreign = True
        self.stopped = False
        self.examples = 0.0
        self.told_to_stop = False

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Give every shuffling loader the common order; see who needs common draws too.

        A module and its data module that draw nothing from the global streams, or by keys of
        their own, say so by ``common_random_numbers = True``: reseeding takes 50 us a step.
        """
        if stage != "fit":
            return
        owner = trainer.datamodule
        own = (pl_module,) if owner is None else (pl_module, owner)
        self.foreign = not all(getattr(thing, "common_random_numbers", False) for thing in own)
        if owner is None or not _overrides(owner, "train_dataloader"):
            owner = pl_module
        original = owner.train_dataloader

        def train_dataloader() -> Any:
            made = original()
            seen = trainer.fit_loop.epoch_loop.batch_progress.current.ready
            for loader in _loaders(made):
                total = len(loader) if hasattr(loader, "__len__") else 0
                give_common_order(
                    loader, self.seed, trainer.current_epoch, seen if seen < total else 0
                )
            return made

        owner.train_dataloader = train_dataloader

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draws of a training step depend on seed and step alone."""
        seen = batch_size(batch) * trainer.num_training_batches * trainer.world_size
        self.examples = max(self.examples, seen)
        if self.foreign:
            reseed(self.seed, "step", trainer.global_step)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draws of the next batch's transforms do not depend on what this step consumed."""
        if self.foreign:
            reseed(self.seed, "batch", trainer.global_step)
        self.progressed()
        due = time.monotonic() - self.saved > CHECKPOINT_SECONDS or trainer.received_sigterm
        # Resuming from an epoch's last batch, Lightning would skip that epoch's validation.
        if due and not trainer.is_last_batch:
            self.save(trainer)

    def on_validation_batch_end(self, *_: Any) -> None:
        """A long validation is progress too."""
        self.progressed()

    def save(self, trainer: Any) -> None:
        """Write a checkpoint and rename it into place."""
        self.metrics.flush()
        temporary = self.checkpoint.with_suffix(".tmp")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            os.replace(temporary, self.checkpoint)
        self.saved = time.monotonic()

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """The former epoch is logged whole by now."""
        self.close_epoch(trainer)
        if self.metrics.diverged:
            self.stopped = True
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """A file called ``stop`` in the trial's folder ends it; all ranks together."""
        stop = self.checkpoint.with_name("stop").exists()
        if trainer.strategy.reduce_boolean_decision(stop, all=False):
            self.told_to_stop = True
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """The last epoch is logged whole by now."""
        self.close_epoch(trainer)

    def close_epoch(self, trainer: Any) -> None:
        """Write the epoch's metrics; those that no logger was given are taken from callbacks'."""
        if not trainer.is_global_zero or trainer.current_epoch == 0:
            return
        if not self.stopped:
            self.metrics.epochs = int(trainer.current_epoch)
        kept = trainer.callback_metrics
        unseen = {name: value for name, value in kept.items() if name not in self.metrics.pending}
        self.metrics.note(unseen, trainer.global_step, trainer.current_epoch - 1)
        self.metrics.flush()

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *position: int
    ) -> None:
        """Keep predictions."""
        self.progressed()
        self.predictions.take(outputs)


def make_watch(namespace: str, seed: int, checkpoint: Path, metrics: MetricsFile) -> Watch:
    """A Watch that is a Callback of the namespace."""
    callback = importlib.import_module(f"{namespace}.callbacks").Callback
    made: Watch = type("Watch", (Watch, callback), {})(seed, checkpoint, metrics)
    return made


def make_logger(namespace: str, file: MetricsFile, trainer: Any) -> Any:
    """A logger of the namespace that writes metrics.csv and takes anything else in silence."""
    dummy: Any = importlib.import_module(f"{namespace}.loggers.logger").DummyLogger

    def log_metrics(self: Any, metrics: Mapping[str, Any], step: int | None = None) -> None:
        if trainer.is_global_zero:
            # While testing, the epoch counter stands one past the last epoch trained.
            epoch = max(trainer.current_epoch - bool(trainer.testing), 0)
            file.note(metrics, trainer.global_step if step is None else step, epoch)

    return type("FileLogger", (dummy,), {"log_metrics": log_metrics})()


def batch_size(batch: Any) -> int:
    """Examples in the first tensor of a batch, 1 where there is none."""
    while isinstance(batch, Mapping | list | tuple) and batch:
        batch = next(iter(batch.values())) if isinstance(batch, Mapping) else batch[0]
    return len(batch) if isinstance(batch, torch.Tensor) and batch.ndim else 1


def _overrides(owner: Any, method: str) -> bool:
    return not getattr(type(owner), method).__module__.startswith(
        ("pytorch_lightning.", "lightning.")
    )


def _loaders(made: Any) -> list[Any]:
    if isinstance(made, Mapping):
        return [loader for value in made.values() for loader in _loaders(value)]
    if isinstance(made, list | tuple):
        return [loader for value in made for loader in _loaders(value)]
    return [made]
