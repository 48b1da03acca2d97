"""What a trial costs beyond its training: a bare loop, Lightning's Trainer, and a trial of ours.

    python -m benchmarks.overhead --rounds 7
    python -m benchmarks.overhead --nets 80sec --data data/cifar10 --rounds 5

Four ways train the same net on the same batches, in turn and in an order drawn anew each round, in
one process on one thread: a bare PyTorch loop (`peers.looped`), ``Trainer(barebones=True)``, a
Trainer whose module calls ``self.log`` twice a step, and ours, from order to result.json. Nets:
``tiny``, one layer in a module that knows nothing of ours; the digits' base; 80sec on synthetic
images, or on a packed folder. In ``tiny-logs`` the user's module that we train calls ``self.log``
too.

A round trains a short and a long trial each way. Printed are processor times: of a step, the
difference of the two over the steps between, so that an epoch's end and validation are in it and
what a trial does once is not; and of a whole long trial. Ratios are of the same round, to the bare
loop and to barebones: the median with the quartiles. Results stand in docs/performance.md.
"""

import argparse
import copy
import gc
import importlib
import logging
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ablations.data.packed import Split, pack
from ablations.data.writing import write_packed
from ablations.study.yamlfile import merge, read_yaml
from ablations.sweep.build import Recipe
from ablations.sweep.job import Order
from ablations.sweep.trial import run_trial
from ablations.workspace import read_json
from benchmarks.peers import counted, looped

BASES = Path(__file__).parents[1] / "study_configs" / "bases"
WAYS = ("bare loop", "barebones", "self.log", "ours")


class Tiny(pl.LightningModule):
    """One linear layer, its error summed on the device and logged once an epoch."""

    def __init__(self, inputs: int = 32, classes: int = 10) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(inputs, classes)
        self.sums = torch.zeros(3)

    def forward(self, points: Tensor) -> Tensor:
        scores: Tensor = self.layer(points)
        return scores

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        scores = self(batch[0])
        loss = F.cross_entropy(scores, batch[1])
        self.sums += counted(scores.detach(), batch[1], loss.detach())
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores = self(batch[0])
        self.sums += counted(scores, batch[1], F.cross_entropy(scores, batch[1]))

    test_step = validation_step

    def _told(self, stage: str) -> None:
        self.log(f"{stage}/error", 100 * self.sums[0] / self.sums[2])
        self.sums = torch.zeros(3)

    def on_train_epoch_end(self) -> None:
        self._told("train")

    def on_validation_epoch_end(self) -> None:
        self._told("val")

    def on_test_epoch_end(self) -> None:
        self._told("test")


class TinyPoints(pl.LightningDataModule):
    """Batches of 32 points, made beforehand."""

    def __init__(self, batches: int = 64) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(0)
        points = torch.randn(batches, 32, 32, generator=draws)
        self.made = [(each, each[:, :10].argmax(1)) for each in points]

    def train_dataloader(self) -> Any:
        return DataLoader(self.made, batch_size=None, shuffle=True)  # type: ignore[arg-type]

    def val_dataloader(self) -> Any:
        return DataLoader(self.made[:8], batch_size=None)  # type: ignore[arg-type]

    test_dataloader = val_dataloader


@dataclass(frozen=True)
class Case:
    """A net with its data, as a LightningCLI configuration has it."""

    base: dict[str, Any]
    epochs: tuple[int, int]
    logs: bool = False

    def made(self, logs: bool = False) -> tuple[Any, Any]:
        """Module and data module of seed 0."""
        pl.seed_everything(0, verbose=False)
        kinds = [_class(self.base[part]["class_path"]) for part in ("model", "data")]
        if logs:
            kinds[0] = _logging(kinds[0])
        model, data = (
            kind(**copy.deepcopy(self.base[part].get("init_args", {})))
            for kind, part in zip(kinds, ("model", "data"), strict=True)
        )
        return model, data


def _class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _logging(kind: Any) -> Any:
    """The module, with ``self.log`` of loss and error at each step."""

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        loss = kind.training_step(self, batch, batch_idx)
        self.log("step/loss", loss.detach(), on_step=True, on_epoch=True)
        self.log("step/again", loss.detach(), on_step=False, on_epoch=True)
        return loss

    return type(f"Logging{kind.__name__}", (kind,), {"training_step": training_step})


def bare(case: Case, epochs: int) -> int:
    net, data = case.made()
    looped(net, data, epochs)
    return epochs * len(data.train_dataloader())


def trainer(case: Case, epochs: int, logs: bool) -> int:
    net, data = case.made(logs)
    how: dict[str, Any] = {"barebones": True}
    if logs:
        off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        how = dict.fromkeys(off, False)
    made = pl.Trainer(max_epochs=epochs, accelerator="cpu", num_sanity_val_steps=0, **how)
    made.fit(net, datamodule=data)
    made.test(net, datamodule=data, verbose=False)
    return int(made.global_step)


def ours(case: Case, epochs: int) -> int:
    with tempfile.TemporaryDirectory() as place:
        base = Path("base.yaml")  # the arm's second seed and later: its base has been parsed
        told = {"trainer": {"max_epochs": epochs, "accelerator": "cpu"}}
        whole = copy.deepcopy(merge(case.base, told))
        if case.logs:
            whole["model"]["class_path"] += "Logging"
        recipe = Recipe(base, f"{epochs} epochs", base, whole, {}, None)
        order = Order(recipe, 0, "trial", Path(place) / "trial", ())
        outcome = run_trial(order)
        assert outcome.error is None, outcome.error
        return int((read_json(order.folder / "result.json") or {})["steps"])


def cases(given: argparse.Namespace, folder: Path) -> dict[str, Case]:
    """The nets that were asked for."""
    # by a module that is no part of ours, as a user's is
    user = sys.modules.setdefault("users_module", types.ModuleType("users_module"))
    for kind in (Tiny, TinyPoints):
        setattr(user, kind.__name__, kind)
        kind.__module__ = "users_module"
    user.TinyLogging = type("TinyLogging", (_logging(Tiny),), {"__module__": "users_module"})  # type: ignore[attr-defined]
    tiny = {
        "model": {"class_path": "users_module.Tiny", "init_args": {}},
        "data": {"class_path": "users_module.TinyPoints", "init_args": {}},
        "trainer": {"num_sanity_val_steps": 0},
    }
    path = given.data
    if path is None and "80sec" in given.nets:
        path = str(folder / "images")
        draws = np.random.default_rng(0)
        images = {"train": 1280, "test": 256}
        splits = {
            name: Split(draws.integers(0, 256, (n, 32, 32, 3), np.uint8), np.arange(n) % 10)
            for name, n in images.items()
        }
        write_packed(pack("noise", tuple("0123456789"), splits), path)
    small = {"data": {"init_args": {"path": path, "limit": 1152}}}
    made = {
        "tiny": Case(tiny, (4, 14)),
        "tiny-logs": Case(tiny, (4, 14), logs=True),
        "digits": Case(_plain("digits.yaml"), (2, 6)),
        "80sec": Case(merge(_plain("cifar10_80sec.yaml"), small), (1, 3)),
    }
    return {name: made[name] for name in given.nets}


def _plain(base: str) -> dict[str, Any]:
    content: dict[str, Any] = read_yaml(BASES / base)
    content["trainer"].pop("callbacks", None)
    return content


def measured(way: Callable[[Case, int], int], case: Case) -> tuple[float, float]:
    """Processor microseconds of a step, and seconds of a whole long trial."""
    taken, steps = [], []
    for epochs in case.epochs:
        gc.collect()  # what another way left behind
        begun = time.process_time()
        steps.append(way(case, epochs))
        taken.append(time.process_time() - begun)
    return 1e6 * (taken[1] - taken[0]) / (steps[1] - steps[0]), taken[1]


def main() -> None:
    names = ("tiny", "tiny-logs", "digits", "80sec")
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nets", nargs="+", choices=names, default=list(names))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--data", help="a packed folder of images of 32 pixels for 80sec")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    ways: dict[str, Callable[[Case, int], int]] = {
        "bare loop": bare,
        "barebones": lambda case, epochs: trainer(case, epochs, False),
        "self.log": lambda case, epochs: trainer(case, epochs, True),
        "ours": ours,
    }
    draws = np.random.default_rng(0)
    print(f"{given.rounds} rounds, torch {torch.__version__}")
    print(f"{'net':10} {'way':10} {'us a step':>10} {'to bare':>20} {'to barebones':>20} ", end="")
    print(f"{'trial, s':>9} {'to bare':>20} {'to barebones':>20}")
    with tempfile.TemporaryDirectory() as folder:
        for name, case in cases(given, Path(folder)).items():
            for way in ways.values():  # warm up
                measured(way, case)
            found = np.zeros((given.rounds, len(ways), 2))
            for taken in found:
                for at in draws.permutation(len(ways)):
                    taken[at] = measured(ways[WAYS[at]], case)
            for at, way_name in enumerate(WAYS):
                told = [f"{name:10} {way_name:10}"]
                for what, form in enumerate(("{:10.0f}", "{:9.2f}")):
                    own = found[:, at, what]
                    told.append(form.format(np.median(own)))
                    for other in (0, 1):
                        low, middle, high = np.quantile(
                            own / found[:, other, what], [0.25, 0.5, 0.75]
                        )
                        told.append(f"{middle:5.2f} ({low:.2f} to {high:.2f})".rjust(20))
                print(" ".join(told), flush=True)


if __name__ == "__main__":
    main()
