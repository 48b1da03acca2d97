import pytest
import torch
from torch import nn

from ablations.nets.alexnet import spec
from ablations.nets.build import build
from ablations.nets.spec import Pool, parameters

SHAPE = (3, 32, 32)


def weights(seed=5, **switches):
    net = build(spec(10, 32, width=0.0625, **switches), SHAPE, seed)
    return dict(net.named_parameters())


@pytest.mark.parametrize(
    ("switches", "differ"),
    [
        ({"lrn": False}, set()),
        ({"lrn": "contrast"}, set()),
        ({"dropout": 0.0}, set()),
        ({"pooling": "plain"}, set()),
        ({"activation": "tanh"}, set()),
        ({"recipe": "as-run"}, {"conv3", "conv4", "conv5"}),
        ({"without": ["conv4"]}, {"conv4"}),
        ({"without": ["fc7"]}, {"fc7"}),
        ({"without": ["conv3"]}, {"conv3", "conv4"}),  # conv4 reads other maps
        ({"connectivity": "dense"}, {"conv2", "conv4", "conv5"}),
    ],
)
def test_a_switch_leaves_the_initial_weights_that_it_does_not_reshape(switches, differ):
    full, other = weights(), weights(**switches)
    same = {name for name in full if name in other and torch.equal(full[name], other[name])}
    assert {name.split(".")[0] for name in set(full) - same} == differ


def test_seed_and_name_choose_the_weights():
    assert not torch.equal(weights(5)["conv1.weight"], weights(6)["conv1.weight"])
    assert not torch.equal(weights()["fc6.bias"], weights()["fc6.weight"][:, 0])
    kinds = [nn.Linear, nn.Conv2d]
    net = build(spec(10, 32, width=0.0625), SHAPE, 5)
    assert sum(type(module) in kinds for module in net) == 8


def test_weights_have_the_spread_and_biases_the_value_of_the_spec():
    layers = {layer.name: layer for layer in spec(10, 32, width=0.0625)}
    drawn = weights()
    for name in ("conv3", "conv5", "fc6", "fc7"):
        weight = drawn[f"{name}.weight"]
        assert weight.std().item() == pytest.approx(layers[name].std, rel=0.05)
        assert drawn[f"{name}.bias"].unique().tolist() == [layers[name].bias]


def test_building_leaves_torchs_random_state():
    before = torch.random.get_rng_state()
    weights(connectivity="independent")
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("connectivity", ["two-column", "independent", "dense", "half"])
@pytest.mark.parametrize("size", [8, 32, 224])
def test_a_built_net_has_the_parameters_of_its_spec(connectivity, size):
    net, shape = spec(7, size, width=0.0625, connectivity=connectivity), (3, size, size)
    module = build(net, shape, 0).eval()
    assert sum(p.numel() for p in module.parameters()) == parameters(net, shape)
    assert module(torch.zeros(2, *shape)).shape == (2, 7)


def test_batch_normalisation_has_a_scale_and_a_shift_per_channel():
    net = spec(10, 32, width=0.0625, lrn="batch")
    module = build(net, SHAPE, 0)
    assert sum(p.numel() for p in module.parameters()) == parameters(net, SHAPE)
    assert module.lrn2.weight.shape == (16,)


def test_averages_are_those_of_the_units_inside_the_map():
    net = build((Pool("pool1", mode="average"),), (1, 4, 4), 0)
    out = net(torch.ones(1, 1, 4, 4))
    assert out.shape == (1, 1, 2, 2)
    assert out.unique().tolist() == [1.0]


def test_independent_columns_do_not_hear_each_other():
    net = build(spec(10, 32, width=0.0625, connectivity="independent"), SHAPE, 0).eval()
    x = 60 * torch.randn(2, *SHAPE)
    before = net[:-1](x)
    with torch.no_grad():
        net.conv1.weight[3:] += 1.0
    first, second = (net[:-1](x) == before).chunk(2, dim=1)
    assert first.all()
    assert not second.all()


def test_image_224_is_padded_on_the_right_and_bottom():
    net = build(spec(10, 224, width=0.0625), (3, 224, 224), 0).eval()
    wide = build(spec(10, 227, width=0.0625), (3, 227, 227), 0).eval()
    x = torch.randn(1, 3, 224, 224)
    padded = torch.zeros(1, 3, 227, 227)
    padded[:, :, :224, :224] = x
    torch.testing.assert_close(net(x), wide(padded))
