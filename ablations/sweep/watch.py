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
from ablations.sweep.ranks import gathered, mark, mean_over_ranks
from ablations.workspace import cut_torn_line

# No more than this much training is lost with a worker.
CHECKPOINT_SECONDS = float(os.environ.get("ABLATIONS_CHECKPOINT_SECONDS", "60"))
_COLUMNS = ("epoch", "step", "name", "value", "time")


class MetricsFile:
    """metrics.csv: the last value of each name in each epoch, flushed once an epoch.

    Args:
        path: The file.
        writes: Whether this process does; of several ranks only the first.
    """

    def __init__(self, path: Path, writes: bool = True) -> None:
        if writes:
            cut_torn_line(path)
        self.path = path
        self.writes = writes
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
        """Append what was kept, the mean over all ranks; each of them has to call."""
        means = mean_over_ranks({name: number for name, (_, _, number) in self.pending.items()})
        for name, (epoch, step, _) in list(self.pending.items()):
            self.note({name: means[name]}, step, epoch)
        if not self.pending or not self.writes:
            self.pending.clear()
            return
        # A full disk and a kill may leave the file without its first line.
        new = not self.path.exists() or not self.path.stat().st_size
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

    def save(self, path: Path, examples: int | None = None, writes: bool = True) -> None:
        """Write predictions.npz; nothing where no batch was kept.

        Args:
            path: The file.
            examples: How many there are; what several ranks predict beyond them is a repetition.
            writes: Whether this process writes; of several ranks only the first.
        """
        names = self.batches[0] if self.batches else ()
        own = {name: torch.cat([batch[name] for batch in self.batches]).cpu() for name in names}
        shares = gathered(own)
        if not all(shares) or not writes:
            return
        # Example number k of rank r is number k * ranks + r of all.
        sizes = [len(share["targets"]) for share in shares]
        places = [torch.arange(size) * len(shares) + r for r, size in enumerate(sizes)]
        order = torch.cat(places).argsort()[:examples]
        whole = {name: torch.cat([share[name] for share in shares])[order] for name in own}
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
        self.saved = self.started = time.monotonic()
        self.next_look = 0
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
            shared = trainer._accelerator_connector.use_distributed_sampler
            place = (trainer.global_rank, trainer.world_size) if shared else (0, 1)
            for loader in _loaders(made):
                total = -(-len(loader) // place[1]) if hasattr(loader, "__len__") else 0
                skip = seen if seen < total else 0
                give_common_order(loader, self.seed, trainer.current_epoch, skip, *place)
            return made

        owner.train_dataloader = train_dataloader

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draws of a training step depend on seed and step alone."""
        seen = batch_size(batch) * trainer.num_training_batches * trainer.world_size
        self.examples = max(self.examples, seen)
        if self.foreign:
            reseed(self.seed, "step", trainer.global_step, *self.rank(trainer))

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draws of the next batch's transforms do not depend on what this step consumed."""
        if self.foreign:
            reseed(self.seed, "batch", trainer.global_step, *self.rank(trainer))
        self.progressed()
        # Resuming from an epoch's last batch, Lightning would skip that epoch's validation.
        if not trainer.is_last_batch and self.due(trainer):
            self.save(trainer)

    def on_validation_batch_end(self, *_: Any) -> None:
        """A long validation is progress too."""
        self.progressed()

    def rank(self, trainer: Any) -> tuple[int, ...]:
        """What a rank's own draws are keyed by; the first draws what a single process does."""
        return (trainer.global_rank,) if trainer.global_rank else ()

    def due(self, trainer: Any) -> bool:
        """Whether it is time for a checkpoint: of several ranks the first decides, now and then."""
        now, step = time.monotonic(), trainer.global_step
        late = now - self.saved > CHECKPOINT_SECONDS or trainer.received_sigterm
        if trainer.world_size == 1:
            return bool(late)
        if step < self.next_look:
            return False
        pace = max(step, 1) / max(now - self.started, 1e-3)
        told = late, step + max(1, int(pace * CHECKPOINT_SECONDS / 10))
        late, self.next_look = trainer.strategy.broadcast(told)
        return bool(late)

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
        if trainer.current_epoch == 0:
            return
        if not self.stopped:
            self.metrics.epochs = int(trainer.current_epoch)
        kept = trainer.callback_metrics
        unseen = {name: value for name, value in kept.items() if name not in self.metrics.pending}
        self.metrics.note(unseen, trainer.global_step, trainer.current_epoch - 1)
        self.metrics.flush()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Called before Lightning lets the other ranks know."""
        mark(exception)

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
