"""Two processes that train together, over gloo, get what one process gets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ablations.data import PackedDataModule
from ablations.data.packed import Split, pack
from ablations.data.writing import write_packed

pytestmark = pytest.mark.soak

Stage = list[tuple[Tensor, Tensor]]
COUNTS = {"train": 96, "val": 24}


class Notes(pl.LightningModule):
    """A linear model; each rank writes down the batches that it is given."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.net = folder, nn.Linear(3 * 20 * 20, 10)
        nn.init.zeros_(self.net.weight)
        nn.init.zeros_(self.net.bias)
        self.given: dict[str, Stage] = {"train": [], "val": []}

    def _loss(self, batch: tuple[Tensor, Tensor], stage: str) -> Tensor:
        self.given[stage].append(batch)
        return nn.functional.cross_entropy(self.net(batch[0].flatten(1) / 255), batch[1])

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return self._loss(batch, "train")

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        self._loss(batch, "val")

    def on_fit_end(self) -> None:
        noted = {**self.given, "weight": self.net.weight.data}
        torch.save(noted, self.folder / str(self.global_rank))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.net.parameters(), lr=0.1)


def trained(data: Path, folder: Path, devices: int, **arguments: Any) -> list[dict[str, Any]]:
    """What each rank was given in two epochs."""
    folder.mkdir()
    torch.manual_seed(5)
    module = PackedDataModule(
        str(data), 12 // devices, crop=20, flip=True, pca_colour=True, validation=0.2, **arguments
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp_spawn" if devices > 1 else "auto",
        max_epochs=2,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Notes(folder)
    trainer.fit(model, module)
    return [torch.load(folder / str(rank)) for rank in range(devices)]


@pytest.mark.parametrize("how", [{}, {"resident_gib": 0.0, "num_workers": 2}], ids=str)
def test_two_processes_share_the_draws_and_batches_of_one(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (120, 24, 24, 3), np.uint8)
    labels = np.arange(120) % 10
    packed = pack("made", tuple("0123456789"), {"train": Split(images, labels)})
    write_packed(packed, tmp_path / "data")
    (alone,) = trained(tmp_path / "data", tmp_path / "one", 1, **how)
    ranks = trained(tmp_path / "data", tmp_path / "two", 2, **how)
    for stage, count in COUNTS.items():
        assert sum(len(y) for _, y in alone[stage]) == 2 * count
        for k, (images_, labels_) in enumerate(alone[stage]):
            for rank, given in enumerate(ranks):
                assert torch.equal(given[stage][k][0], images_[rank::2])
                assert torch.equal(given[stage][k][1], labels_[rank::2])
    assert torch.equal(ranks[0]["weight"], ranks[1]["weight"])
    assert torch.allclose(ranks[0]["weight"], alone["weight"], atol=1e-5)
