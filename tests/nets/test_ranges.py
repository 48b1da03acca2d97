import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

from ablations.data import PackedDataModule
from ablations.nets import CudaConvnet
from ablations.nets.norms import LocalResponseNorm, WithinMapNorm
from ablations.nets.ranges import Ranges


def test_quantiles_of_the_denominators():
    network = nn.Sequential()
    network.add_module("lrn1", LocalResponseNorm(1, 0.0, 1.0, 0.5))  # divides by |x|
    network.add_module("relu1", nn.ReLU())
    network.add_module("lrn2", WithinMapNorm(1, 2.0, 0.0, 0.75))  # divides by a constant
    ranges = Ranges(network)
    for batch in torch.linspace(-1, 1, 40_000).view(4, 10, 10, 10, 10):
        network(batch)
    found = ranges.closed()
    assert found["lrn/lrn1_low"] == pytest.approx(0.05, abs=0.02)
    assert found["lrn/lrn1_high"] == pytest.approx(0.95, abs=0.02)
    assert found["lrn/lrn2_low"] == found["lrn/lrn2_high"] == pytest.approx(2**0.75)
    network(batch)
    assert ranges.closed() == found


def test_lrn_of_the_whole_11pct_net_divides_by_one_at_first():
    torch.manual_seed(0)
    net = CudaConvnet("11pct").eval()
    ranges = Ranges(net.network)
    smooth = F.interpolate(80 * torch.randn(16, 3, 3, 3), 24)
    with torch.no_grad():
        net(smooth)
    found = ranges.closed()
    assert len(found) == 4
    assert list(found.values()) == [pytest.approx(1.0, abs=2e-5)] * 4


def test_lrn_of_the_11pct_net_does_nothing_at_first_and_something_once_trained():
    torch.manual_seed(0)
    net = CudaConvnet("11pct", image_size=8, channels=1, width=0.25, learning_rate=0.01)
    digits = PackedDataModule("digits", batch_size=32, limit=600)
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    fresh = trainer.test(net, digits, verbose=False)[0]
    ranges = {name: value for name, value in fresh.items() if name.startswith("lrn/")}
    assert set(ranges) == {f"lrn/lrn{i}_{end}" for i in (1, 2) for end in ("low", "high")}
    assert list(ranges.values()) == [pytest.approx(1.0, abs=2e-5)] * 4
    trainer.fit(net, digits)
    trained = trainer.test(net, digits, verbose=False)[0]
    assert trained["lrn/lrn1_high"] > 1.5 * trained["lrn/lrn1_low"]
    assert trained["lrn/lrn2_high"] > trained["lrn/lrn2_low"] + 1e-3
