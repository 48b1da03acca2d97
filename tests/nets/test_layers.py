import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ablations.nets.layers import ColumnLinear, KeyedDropout, LocalResponseNorm


def printed(x, size, k, alpha, beta):
    """Section 3.3 of the paper, one channel at a time."""
    out = torch.empty_like(x)
    for i in range(x.shape[1]):
        low, high = max(0, i - size // 2), min(x.shape[1], i + size // 2 + 1)
        out[:, i] = x[:, i] / (k + alpha * (x[:, low:high] ** 2).sum(1)) ** beta
    return out


@pytest.mark.parametrize(("channels", "size"), [(7, 5), (3, 5), (1, 3), (12, 9)])
def test_lrn_is_the_printed_formula(channels, size):
    x = 50 * torch.randn(2, channels, 4, 3, dtype=torch.float64)
    ours = LocalResponseNorm(size, 2.0, 1e-4, 0.75)(x)
    torch.testing.assert_close(ours, printed(x, size, 2.0, 1e-4, 0.75))


@pytest.mark.parametrize("size", [4, 5])
def test_lrn_is_torchs_with_alpha_times_size(size):
    x = 50 * torch.randn(2, 8, 5, 5)
    theirs = F.local_response_norm(x, size, 1e-4 * size, 0.75, 2.0)
    torch.testing.assert_close(LocalResponseNorm(size, 2.0, 1e-4, 0.75)(x), theirs)


@pytest.mark.parametrize(("size", "columns"), [(5, 1), (4, 1), (5, 2)])
def test_lrn_gradient(size, columns):
    x = torch.randn(2, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LocalResponseNorm(size, 1.0, 0.3, 0.75, columns), (x,))


def test_lrn_does_not_reach_over_the_edge_of_a_column():
    x = 50 * torch.randn(2, 8, 3, 3)
    alone = LocalResponseNorm(5, 2.0, 1e-4, 0.75)
    both = torch.cat([alone(half) for half in x.chunk(2, dim=1)], dim=1)
    torch.testing.assert_close(LocalResponseNorm(5, 2.0, 1e-4, 0.75, columns=2)(x), both)


def test_lrn_of_half_precision_does_not_overflow():
    x = torch.full((1, 4, 1, 1), 1000.0, dtype=torch.float16)
    out = LocalResponseNorm(5, 2.0, 1e-4, 0.75)(x)
    assert out.dtype == torch.float16
    wide = LocalResponseNorm(5, 2.0, 1e-4, 0.75)(x.float())
    torch.testing.assert_close(out.float(), wide, rtol=1e-3, atol=0)


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
