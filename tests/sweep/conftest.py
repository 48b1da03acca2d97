"""Studies over the toy project, and a module of it that misbehaves when told to."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablations.study import Study, load_study
from ablations.sweep.job import Order
from ablations.sweep.orders import order_for
from tests.toy import edit_base, module_name, write_project

_UNRULY = f"""\
import errno
import os
import signal
import sys
import time
from pathlib import Path

import torch
from {module_name("pytorch_lightning")} import TwoClasses


class Unruly(TwoClasses):
    num_classes = 2

    def __init__(self, act: str = "", at: int = 6, once: str = "", rank: int = -1, **kwargs):
        super().__init__(**kwargs)
        self.act, self.at, self.once, self.rank = act, at, once, rank

    def on_train_batch_start(self, batch, batch_idx):
        if self.act == "slow":
            time.sleep(0.25)
        if self.global_step != self.at or (self.once and Path(self.once).exists()):
            return
        if self.rank not in (-1, self.global_rank):
            return
        if self.once:
            Path(self.once).touch()
        if self.act == "raise":
            raise ValueError("too bad\\nand more")
        if self.act == "exit":
            sys.exit(3)
        if self.act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.act == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        if self.act == "preempt":
            os.kill(os.getpid(), signal.SIGTERM)
        if self.act == "hang":
            time.sleep(600)
        if self.act == "memory":
            bytearray(1 << 60)
        if self.act == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.act == "nan":
            self.scale = float("nan")
        if self.act == "print":
            print("printed by python")
            os.system("echo printed by another program")
        if self.act == "switch":
            torch.set_num_threads(3)
            torch.use_deterministic_algorithms(True)
            torch.set_default_dtype(torch.float64)
            torch.set_anomaly_enabled(True)

    def on_train_epoch_end(self):
        if self.act in ("guess", "learn"):
            self.log("train/top1_error", 37.0 if self.act == "guess" else 36.0)
        self.trainer.should_stop |= self.act == "stop"
        self.log("threads", float(torch.get_num_threads()))
        self.log("process", float(os.getpid()))
"""


def write_unruly(folder: Path, **base: Any) -> Study:
    """A study whose model is the misbehaving one; :func:`order` tells it what to do."""
    file = write_project(folder)
    (folder / "unruly_classes.py").write_text(_UNRULY)
    edit_base(folder, {"model.class_path": "unruly_classes.Unruly", **base})
    return load_study(file)


def order(study: Study, folder: Path, arm: str = "full", seed: int = 0, **init_args: Any) -> Order:
    """An order for an arm, with further arguments for its model."""
    made = order_for(study, arm, seed, f"{arm}-{seed}", folder, 1)
    overrides = dict(made.recipe.overrides)
    model = dict(overrides.get("model", {}))
    arguments = {**model.get("init_args", {}), **init_args}
    overrides |= {"model": {**model, "init_args": arguments}} if arguments else {}
    return replace(made, recipe=replace(made.recipe, overrides=overrides))


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return load_study(write_project(tmp_path_factory.mktemp("toy")))


@pytest.fixture(scope="session")
def unruly(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_unruly(tmp_path_factory.mktemp("unruly"))
