from functools import partial

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ablations.nets.build import build
from ablations.nets.norms import ContrastNorm, LocalResponseNorm, WithinMapNorm, _slices
from ablations.nets.spec import BatchNorm


def within():
    return WithinMapNorm(3, 1.0, 0.3, 0.75)


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


@pytest.mark.parametrize("make", [lambda: LocalResponseNorm(5, 1, 0.3, 0.75, 2), within])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_norm_keeps_the_layout(make, layout):
    x = torch.randn(2, 6, 3, 3).to(memory_format=layout)
    assert make()(x).is_contiguous(memory_format=layout)
    torch.testing.assert_close(make()(x), make()(x.contiguous()))


def test_within_map_norm_gradient():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(within(), (x,))


def test_lrn_does_not_reach_over_the_edge_of_a_column():
    x = 50 * torch.randn(2, 8, 3, 3)
    alone = LocalResponseNorm(5, 2.0, 1e-4, 0.75)
    both = torch.cat([alone(half) for half in x.chunk(2, dim=1)], dim=1)
    torch.testing.assert_close(LocalResponseNorm(5, 2.0, 1e-4, 0.75, columns=2)(x), both)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("size", "k", "alpha", "beta"), [(5, 2, 1e-4, 0.75), (4, 1, 3e-4, 0.5)])
def test_lrn_and_its_gradient_are_torchs_over_many_slices(layout, size, k, alpha, beta):
    x = (50 * torch.randn(5, 64, 40, 41)).to(memory_format=layout)
    assert len(_slices(x)) == 5
    ours, theirs = (x.clone().requires_grad_() for _ in range(2))
    out = LocalResponseNorm(size, k, alpha, beta)(ours)
    expected = F.local_response_norm(theirs, size, alpha * size, beta, k)
    given = torch.randn(5, 64, 40, 41)
    out.backward(given)
    expected.backward(given)
    assert out.is_contiguous(memory_format=layout)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5)


def test_lrn_keeps_only_its_input():
    x = torch.randn(2, 8, 3, 3, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        LocalResponseNorm(5, 2.0, 1e-4, 0.75)(x)
    assert [t.data_ptr() for t in kept] == [x.data_ptr()]


def test_lrn_has_a_second_derivative():
    x = torch.randn(2, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(LocalResponseNorm(4, 1.0, 0.3, 0.75), (x,))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_lrn_takes_bfloat16_as_it_comes_from_autocast(layout):
    x = (50 * torch.randn(2, 8, 3, 3)).bfloat16().to(memory_format=layout).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = LocalResponseNorm(5, 2.0, 1e-4, 0.75)(x)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert out.dtype == grad.dtype == torch.bfloat16
    wide = LocalResponseNorm(5, 2.0, 1e-4, 0.75)(x.detach().float())
    torch.testing.assert_close(out.float(), wide, rtol=1e-2, atol=0)


def test_autocast_leaves_sums_in_single_precision():
    x = (50 * torch.randn(2, 8, 3, 3)).to(memory_format=torch.channels_last)
    norm = LocalResponseNorm(5, 2.0, 1e-4, 0.75)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = norm(x)
    assert torch.equal(out, norm(x))


def test_lrn_of_half_precision_does_not_overflow():
    x = torch.full((1, 4, 1, 1), 1000.0, dtype=torch.float16)
    out = LocalResponseNorm(5, 2.0, 1e-4, 0.75)(x)
    assert out.dtype == torch.float16
    wide = LocalResponseNorm(5, 2.0, 1e-4, 0.75)(x.float())
    torch.testing.assert_close(out.float(), wide, rtol=1e-3, atol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("size", "columns"), [(5, 1), (4, 2), (9, 2)])
def test_a_compiled_lrn_is_one_graph_and_the_same(layout, size, columns):
    norm = LocalResponseNorm(size, 2.0, 1e-4, 0.75, columns)
    x, given = ((50 * torch.randn(3, 8, 4, 5)).to(memory_format=layout) for _ in range(2))
    found = []
    for each in (norm, torch.compile(norm, backend="aot_eager", fullgraph=True)):
        leaf = x.clone().requires_grad_()
        out = each(leaf)
        out.backward(given)
        found.append((out, leaf.grad))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


def within_map(x, size, k, alpha, beta):
    """cuda-convnet's rnorm, unit by unit."""
    out, half = torch.empty_like(x), size // 2
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            square = x[:, :, max(0, i - half) : i + half + 1, max(0, j - half) : j + half + 1]
            sums = (square**2).sum((2, 3))
            out[:, :, i, j] = x[:, :, i, j] / (k + alpha * sums) ** beta
    return out


@pytest.mark.parametrize(("side", "size"), [(6, 5), (2, 5), (5, 3), (1, 3)])
def test_within_map_norm_is_cuda_convnets(side, size):
    x = 50 * torch.randn(2, 3, side, side, dtype=torch.float64)
    ours = WithinMapNorm(size, 1.0, 4e-5, 0.75)(x)
    torch.testing.assert_close(ours, within_map(x, size, 1.0, 4e-5, 0.75))


def contrast(x, size):
    """Jarrett et al. (2009), section 2.1, unit by unit."""
    batch, maps, height, width = x.shape
    offsets = range(-(size // 2), size // 2 + 1)
    weigh = {
        (p, q): torch.tensor(-(p * p + q * q) / (2 * (size / 4) ** 2), dtype=x.dtype).exp()
        for p in offsets
        for q in offsets
    }
    total = maps * sum(weigh.values())

    def window(values, j, k):
        return sum(
            weigh[p, q] / total * values[:, :, j + p, k + q].sum(1)
            for p, q in weigh
            if 0 <= j + p < height and 0 <= k + q < width
        )

    v, sigma = torch.empty_like(x), torch.empty(batch, height, width, dtype=x.dtype)
    for j in range(height):
        for k in range(width):
            v[:, :, j, k] = x[:, :, j, k] - window(x, j, k)[:, None]
    for j in range(height):
        for k in range(width):
            sigma[:, j, k] = window(v**2, j, k).sqrt()
    floor = sigma.mean((1, 2))
    return v / torch.maximum(sigma, floor[:, None, None])[:, None]


def test_contrast_norm_is_the_printed_formula():
    x = 50 * torch.randn(2, 3, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(ContrastNorm(3)(x), contrast(x, 3))


def test_contrast_norm_forgets_the_scale_and_keeps_to_its_column():
    x = torch.randn(2, 4, 5, 5)
    norm = ContrastNorm(9, columns=2)
    torch.testing.assert_close(norm(100 * x), norm(x))
    both = torch.cat([ContrastNorm(9)(half) for half in x.chunk(2, 1)], 1)
    torch.testing.assert_close(norm(x), both)


def test_contrast_norm_of_nothing_is_nothing():
    x = torch.zeros(1, 2, 4, 4, requires_grad=True)
    out = ContrastNorm(3)(x)
    out.sum().backward()
    assert not out.any()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    "norm",
    [WithinMapNorm(3, 1.0, 0.3, 0.75), ContrastNorm(3), ContrastNorm(3, columns=2)],
)
def test_gradients(norm):
    x = torch.randn(2, 4, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm.double(), (x,))


def test_batch_norm_is_the_published_formula():
    """Ioffe and Szegedy (2015), algorithm 1: over examples and places, with eps in the root."""
    norm = build((BatchNorm("lrn1"),), (4, 5, 3), 0).double()
    x = 50 * torch.randn(3, 4, 5, 3, dtype=torch.float64, requires_grad=True)
    mean, variance = (f((0, 2, 3), keepdim=True) for f in (x.mean, partial(x.var, correction=0)))
    torch.testing.assert_close(norm(x), (x - mean) / (variance + 1e-5).sqrt())
    assert torch.autograd.gradcheck(norm, (x,))


def test_windows_need_a_middle():
    with pytest.raises(ValueError, match="no middle"):
        WithinMapNorm(4, 1.0, 0.1, 0.75)
    with pytest.raises(ValueError, match="no middle"):
        ContrastNorm(4)


def test_half_precision_does_not_overflow():
    x = torch.full((1, 4, 3, 3), 1000.0, dtype=torch.float16)
    for norm in (WithinMapNorm(3, 1.0, 1e-4, 0.75), ContrastNorm(3)):
        out = norm(x)
        assert out.dtype == torch.float16
        assert out.isfinite().all()


@pytest.mark.parametrize(
    "norm", [LocalResponseNorm(5, 2.0, 1e-4, 0.75, columns=2), WithinMapNorm(3, 1.0, 1e-4, 0.75)]
)
def test_the_denominator_is_what_units_are_divided_by(norm):
    x = 50 * torch.randn(2, 8, 3, 3)
    torch.testing.assert_close(x / norm.denominator(x), norm(x))


def test_constants_of_the_paper_do_nothing_to_inputs_of_unit_variance():
    norm = LocalResponseNorm(5, 2.0, 1e-4, 0.75)
    x = torch.randn(4, 32, 8, 8)
    unit, pixels = norm.denominator(x), norm.denominator(60 * x)
    assert unit.min() > 1.681
    assert unit.max() < 1.685  # 2 ** 0.75 = 1.682
    assert pixels.quantile(0.95) / pixels.quantile(0.05) > 1.5


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_no_flops_are_counted_whatever_the_layout(layout):
    x = torch.randn(2, 6, 3, 3).to(memory_format=layout)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        LocalResponseNorm(5, 1, 0.3, 0.75, 2)(x)
    assert counter.get_total_flops() == 0
