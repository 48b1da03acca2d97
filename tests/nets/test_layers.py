import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ablations.nets.layers import ColumnLinear, KeyedDropout, LocallyConnected, ScaledTanh


def mask(layer, *step, shape=(64, 32)):
    layer.step = step
    return layer(torch.ones(shape))


def test_dropout_masks_follow_from_seed_name_and_step_alone():
    first = mask(KeyedDropout(0.5, "drop6", 7), 3, 1)
    torch.manual_seed(99)
    layer = KeyedDropout(0.5, "drop6", 7)
    mask(layer, 0, 0)
    assert torch.equal(first, mask(layer, 3, 1))
    for other in (
        mask(layer, 3, 2),
        mask(KeyedDropout(0.5, "drop7", 7), 3, 1),
        mask(KeyedDropout(0.5, "drop6", 8), 3, 1),
    ):
        assert 0.4 < (first == other).float().mean() < 0.6


def test_dropout_leaves_torchs_random_state():
    before = torch.random.get_rng_state()
    mask(KeyedDropout(0.5, "drop6", 7), 1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_dropout_zeroes_in_training_and_scales_in_testing():
    layer = KeyedDropout(0.25, "drop6", 0)
    out = mask(layer, 0, shape=(100, 100))
    assert set(out.unique().tolist()) == {0.0, 1.0}
    assert abs(out.mean() - 0.75) < 0.02
    assert torch.equal(layer.eval()(torch.ones(3)), torch.full((3,), 0.75))


def test_column_linear_is_a_linear_layer_for_each_column():
    layer = ColumnLinear(6, 8, columns=2)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(5, 6)
    halves = zip(x.chunk(2, 1), layer.weight.chunk(2), layer.bias.chunk(2), strict=True)
    both = torch.cat([F.linear(*half) for half in halves], dim=1)
    torch.testing.assert_close(layer(x), both)


def test_shares_of_dropout_make_up_the_whole_mask():
    whole = mask(KeyedDropout(0.5, "drop6", 7), 3, 1)
    shares = [mask(KeyedDropout(0.5, "drop6", 7, (i, 2)), 3, 1, shape=(64, 16)) for i in (0, 1)]
    assert torch.equal(torch.cat(shares, 1), whole)


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (1, 0), (2, 1)])
def test_a_locally_connected_layer_with_the_same_weights_everywhere_convolves(stride, padding):
    conv = nn.Conv2d(3, 4, 3, stride, padding).double()
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    expected = conv(x)
    local = LocallyConnected((3, 6, 5), expected.shape[1:], 3, stride, padding).double()
    with torch.no_grad():
        local.weight[:] = conv.weight.flatten(1)
        local.bias[:] = conv.bias
    torch.testing.assert_close(local(x), expected)


def test_places_of_a_locally_connected_layer_have_their_own_weights():
    local = LocallyConnected((1, 2, 2), (1, 2, 2), 1, 1, 0)
    with torch.no_grad():
        local.weight[:] = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1)
        local.bias[:] = torch.tensor([0.0, 0.0, 0.0, 0.5]).view(4, 1)
    out = local(torch.tensor([[[[1.0, 1.0], [1.0, 10.0]]]]))
    assert out.tolist() == [[[[1.0, 2.0], [3.0, 40.5]]]]


def test_locally_connected_gradient():
    local = LocallyConnected((2, 3, 3), (2, 3, 3), 3, 1, 1).double()
    for parameter in local.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(local, (x,))


def test_scaled_tanh():
    x = torch.tensor([-30.0, 0.0, 1.0])
    assert ScaledTanh()(x).tolist() == pytest.approx([-1.7159, 0.0, 1.0], abs=2e-4)
