import pytest
import pytorch_lightning as pl
import torch

from ablations.nets import CudaConvnet, DanNet
from ablations.nets.spec import LRN, Dropout

TINY = {"image_size": 8, "channels": 1, "width": 0.125}


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    [
        ("80sec", 32, 145_578),
        ("fig1", 32, 145_578),
        ("18pct", 32, 89_578),
        ("13pct", 24, 1_116_490),
        ("11pct", 24, 2_112_970),
    ],
)
def test_cuda_convnets_nets(name, size, parameters):
    net = CudaConvnet(name)
    assert net.example_input_array.shape == (1, 3, size, size)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert net(torch.zeros(2, 3, size, size)).shape == (2, 10)


def test_dan_net():
    net = DanNet()
    assert sum(p.numel() for p in net.parameters()) == 244_410
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    for name, parameter in net.named_parameters():
        if name.endswith("weight"):
            assert 0.045 < parameter.abs().max() <= 0.05
            assert parameter.std().item() == pytest.approx(0.05 / 3**0.5, rel=0.05)


def test_schedules_and_rates_are_the_documented_ones():
    net = CudaConvnet("13pct", **TINY)
    assert (net.schedule, net.milestones, net.learning_rate) == ("fixed", [140, 150], 0.001)
    assert CudaConvnet("80sec", **TINY, milestones=[3]).milestones == [3]
    assert (DanNet().momentum, DanNet().weight_decay) == (0.0, 0.0)


def initial(name, **switches):
    torch.manual_seed(6)
    return dict(CudaConvnet(name, **TINY, **switches).network.named_parameters())


@pytest.mark.parametrize("name", ["11pct", "18pct"])
@pytest.mark.parametrize("lrn", [False, "channel", "within-map", "contrast"])
def test_normalisation_leaves_the_initial_weights(name, lrn):
    net, other = initial(name), initial(name, lrn=lrn)
    assert list(net) == list(other)
    assert all(torch.equal(net[key], other[key]) for key in net)


def test_11pct_without_normalisation_is_not_13pct():
    plain = CudaConvnet("11pct", lrn=False)
    assert not any(isinstance(layer, LRN) for layer in plain.net)
    assert sum(p.numel() for p in plain.parameters()) == 2_112_970


def test_other_switches():
    net = CudaConvnet("80sec", activation="tanh", pooling="plain", dropout=0.5, without=["conv3"])
    shapes = {row.name: row.gives for row in net.layer_table()}
    assert [shapes[f"pool{i}"][1] for i in (1, 2, 3)] == [16, 8, 4]
    assert isinstance(net.net[-2], Dropout)
    assert not {"conv3", "relu3"} & set(shapes)
    assert net(net.example_input_array).shape == (1, 10)


def test_an_unknown_name_is_told():
    with pytest.raises(ValueError, match="'10pct' is none of 80sec, 18pct"):
        CudaConvnet("10pct")


@pytest.mark.parametrize("kind", [CudaConvnet, DanNet])
def test_a_checkpoint_loads_with_weights_only(kind, tmp_path):
    net = kind(width=0.0625, lrn="channel")
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(net)
    trainer.save_checkpoint(tmp_path / "net.ckpt")
    loaded = kind.load_from_checkpoint(tmp_path / "net.ckpt", weights_only=True)
    assert loaded.net == net.net
    for name, value in net.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])
