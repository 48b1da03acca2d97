"""A plain two-class LightningCLI project, as somebody who never heard of us would write it."""

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import yaml

NAMESPACES = ("pytorch_lightning", "lightning.pytorch")

_MODULE = '''\
from typing import Literal

import torch
from {namespace} import LightningDataModule, LightningModule
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class TwoClasses(LightningModule):
    """A net with one hidden layer.

    Args:
        hidden: Units of the hidden layer.
        activation: What follows the hidden layer.
        dropout: Share of hidden units that are dropped.
        bias: Whether the layers have biases.
        scale: Multiplies the loss.
    """

    def __init__(
        self,
        hidden: int = 16,
        activation: Literal["relu", "tanh"] = "relu",
        dropout: float = 0.25,
        bias: bool = True,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        act = nn.ReLU() if activation == "relu" else nn.Tanh()
        drop = nn.Dropout(dropout) if dropout else nn.Identity()
        self.net = nn.Sequential(
            nn.Linear(2, hidden, bias=bias), act, drop, nn.Linear(hidden, 2, bias=bias)
        )

    def _step(self, batch, name):
        points, labels = batch
        scores = self.net(points)
        loss = F.cross_entropy(scores, labels) * self.scale
        error = 100 * (scores.argmax(1) != labels).float().mean()
        logged = {{f"{{name}}/loss": loss, f"{{name}}/error": error}}
        self.log_dict(logged, on_epoch=True, on_step=False)
        return loss, scores

    def training_step(self, batch, batch_idx):
        return self._step(batch, "train")[0]

    def validation_step(self, batch, batch_idx):
        self._step(batch, "val")

    def test_step(self, batch, batch_idx):
        _, scores = self._step(batch, "test")
        return {{"probabilities": scores.softmax(1), "targets": batch[1]}}


class Points(LightningDataModule):
    """Points inside and outside a circle.

    Args:
        size: Training points.
        noise: Deviation of the points' places.
        batch_size: Points in a batch.
        num_workers: Loader processes.
    """

    def __init__(
        self, size: int = 128, noise: float = 0.1, batch_size: int = 32, num_workers: int = 0
    ) -> None:
        super().__init__()
        self.size, self.noise = size, noise
        self.batch_size, self.num_workers = batch_size, num_workers

    def _loader(self, size, seed, shuffle=False):
        draws = torch.Generator().manual_seed(seed)
        points = torch.randn(size, 2, generator=draws)
        labels = (points.norm(dim=1) > 1.18).long()
        points = points + self.noise * torch.randn(size, 2, generator=draws)
        return DataLoader(
            TensorDataset(points, labels),
            batch_size=self.batch_size,
            shuffle=shuffle,
            num_workers=self.num_workers,
        )

    def train_dataloader(self):
        return self._loader(self.size, 1, shuffle=True)

    def val_dataloader(self):
        return self._loader(64, 2)

    def test_dataloader(self):
        return self._loader(64, 3)
'''

_STUDY = """\
question: Do dropout and biases lower the test error?
base: base.yaml
metric: test/error
baseline: full
arms:
  full: {}
  no-dropout: {model.init_args.dropout: 0.0}
  no-bias: {model.init_args.bias: false}
seeds: 3
margin: 5.0
"""


def module_name(namespace: str) -> str:
    """The same text always has the same name, so that one process may read many projects."""
    return f"two_classes_{namespace.partition('.')[0]}"


def base_config(namespace: str = "pytorch_lightning") -> dict[str, Any]:
    module = module_name(namespace)
    return {
        "trainer": {"accelerator": "cpu", "devices": 1, "max_epochs": 3},
        "model": {"class_path": f"{module}.TwoClasses", "init_args": {"dropout": 0.25}},
        "data": {"class_path": f"{module}.Points", "init_args": {"batch_size": 32}},
        "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.3}},
    }


def write_project(folder: Path, namespace: str = "pytorch_lightning", **study: Any) -> Path:
    """Module, base.yaml and toy.yaml in a folder; a trial takes about 0.1 s.

    Args:
        namespace: ``pytorch_lightning`` or ``lightning.pytorch``.
        **study: Keys of the study file to replace; None removes one.

    Returns:
        The study file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = _MODULE.format(namespace=namespace)
    (folder / f"{module_name(namespace)}.py").write_text(source)
    write_yaml(folder / "base.yaml", base_config(namespace))
    file = folder / "toy.yaml"
    file.write_text(_STUDY)
    if study:
        content = yaml.safe_load(_STUDY) | study
        write_yaml(file, {key: value for key, value in content.items() if value is not None})
    return file


def edit_base(folder: Path, changes: Mapping[str, Any]) -> None:
    """Set dotted keys in base.yaml; None removes one."""
    content = yaml.safe_load((folder / "base.yaml").read_text())
    for dotted, value in changes.items():
        *parents, leaf = dotted.split(".")
        place = content
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            place.pop(leaf, None)
        else:
            place[leaf] = value
    write_yaml(folder / "base.yaml", content)


def write_yaml(file: Path, content: Any) -> None:
    file.write_text(yaml.safe_dump(content, sort_keys=False))


class InlineExecutor:
    """Runs jobs in this process, one at a time, instead of in workers."""

    capacity = abreast = 1

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def submit(self, job: Any) -> "Future[Any]":
        from ablations.sweep.executors import run_job

        future: Future[Any] = Future()
        try:
            future.set_result(run_job(job))
        except BaseException as error:
            future.set_exception(error)
        return future

    def stop(self, *, kill: bool = False) -> None:
        pass
