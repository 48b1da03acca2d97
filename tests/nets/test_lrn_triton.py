"""Triton's kernels against the plain path: on a GPU, or step by step in Triton's interpreter."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from ablations.nets import norms
from ablations.nets.norms import LocalResponseNorm

pytest.importorskip("triton", reason="needs Triton: part of the dev extra on Linux")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LAYOUTS = [torch.contiguous_format, torch.channels_last]
on_a_gpu = pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")


@pytest.fixture(scope="module")
def kernels():
    with pytest.MonkeyPatch.context() as patch:
        if DEVICE == "cpu":  # read where kernels are defined
            patch.setenv("TRITON_INTERPRET", "1")
        from ablations.nets import lrn_triton
    return lrn_triton


def both(kernels, monkeypatch, x, given, *constants):
    """Output and gradient of the kernels, then of the plain path."""
    found = []
    for way in (kernels, None):
        monkeypatch.setattr(norms, "_kernels", lambda x, size, way=way: way)
        leaf = x.detach().to(DEVICE).requires_grad_()
        out = LocalResponseNorm(*constants)(leaf)
        out.backward(given.to(DEVICE))
        found += [out, leaf.grad]
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("shape", "columns"),
    [
        ((3, 34, 3, 2), 2),
        ((2, 24, 9, 11), 2),
        ((3, 6, 1, 1), 1),
        ((2, 1, 3, 3), 1),
    ],
)
@pytest.mark.parametrize(
    ("size", "k", "alpha", "beta"),
    [(5, 2, 1e-4, 0.75), (4, 1.0, 3e-4, 0.5), (1, 2.0, 1e-3, 0.75), (9, 1.0, 1e-4, 1.0)],
)
def test_kernels_compute_what_the_plain_path_does(
    kernels, monkeypatch, layout, shape, columns, size, k, alpha, beta
):
    x = (50 * torch.randn(shape)).to(memory_format=layout)
    given = torch.randn(shape)
    out, grad, plain, plain_grad = both(
        kernels, monkeypatch, x, given, size, k, alpha, beta, columns
    )
    torch.testing.assert_close(out, plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grad, plain_grad, rtol=1e-5, atol=1e-5)
    assert out.is_contiguous(memory_format=layout) and grad.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "near"), [(torch.bfloat16, 8e-3), (torch.float16, 1e-3)])
def test_kernels_sum_half_precision_in_single(kernels, monkeypatch, layout, dtype, near):
    x = (300 * torch.randn(2, 12, 4, 3)).to(dtype).to(memory_format=layout)
    given = torch.randn(2, 12, 4, 3).to(dtype)
    found = both(kernels, monkeypatch, x, given, 5, 2.0, 1e-4, 0.75)
    assert {each.dtype for each in found} == {dtype}
    torch.testing.assert_close(found[:2], found[2:], rtol=near, atol=near)


def test_kernels_take_any_strides_and_none_at_all(kernels, monkeypatch):
    x = 50 * torch.randn(2, 8, 3, 5).transpose(2, 3)
    for each, given in ((x, torch.ones(()).expand(x.shape)), (x[:0], torch.empty(0, 8, 5, 3))):
        found = both(kernels, monkeypatch, each, given, 5, 2.0, 1e-4, 0.75)
        torch.testing.assert_close(found[:2], found[2:], rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_zeros_past_an_edge_do_not_spread(kernels, monkeypatch):
    x = 1 + torch.rand(1, 6, 2, 2)
    x[:, 4:] = 0
    found = both(kernels, monkeypatch, x, torch.ones_like(x), 3, 0.0, 1.0, 0.75)
    torch.testing.assert_close(found[:2], found[2:], rtol=1e-5, atol=1e-5, equal_nan=True)
    assert found[1][:, :4].isfinite().all()


def test_a_second_derivative_is_the_plain_one(kernels, monkeypatch):
    found = []
    for way in (kernels, None):
        monkeypatch.setattr(norms, "_kernels", lambda x, size, way=way: way)
        x = torch.linspace(-3, 3, 48, device=DEVICE).view(1, 12, 2, 2).requires_grad_()
        out = LocalResponseNorm(5, 1.0, 0.3, 0.75)(x)
        (grad,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(grad.square().sum(), x))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_a_compiled_layer_is_one_graph(kernels, monkeypatch):
    monkeypatch.setattr(norms, "_kernels", lambda x, size: kernels)
    norm = LocalResponseNorm(5, 2.0, 1e-4, 0.75)
    compiled = torch.compile(norm, backend="aot_eager", fullgraph=True)
    x = (50 * torch.randn(2, 8, 3, 3, device=DEVICE)).to(memory_format=torch.channels_last)
    found = []
    for each in (norm, compiled):
        leaf = x.clone().requires_grad_()
        out = each(leaf)
        out.square().sum().backward()
        found.append((out, leaf.grad))
    torch.testing.assert_close(*found)
    assert found[1][0].is_contiguous(memory_format=torch.channels_last)


ASSEMBLE = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from ablations.nets.lrn_triton import _backward, _forward

whole = dict.fromkeys(("total", "channels", "places"), "i32")
types = whole | dict.fromkeys(("k", "alpha", "beta"), "fp32")
for kernel, dtype, walk, last in ((_backward, "*fp32", 16, False), (_forward, "*bf16", 4, True)):
    known = types | dict.fromkeys(("x", "given", "out"), dtype)
    constants = dict(SIZE=5, ROOTS=True, WALK=walk, LAST=last, FAR=False, LANES=128)
    signature = {name: known.get(name, "constexpr") for name in kernel.arg_names}
    made = compile(
        ASTSource(kernel, signature, constants),
        target=GPUTarget("cuda", 90, 32),
        options={"enable_fp_fusion": True},
    )
    print(len(made.asm["cubin"]) > 0)
"""


def test_kernels_assemble_for_a_gpu_that_is_not_there():
    made = subprocess.run([sys.executable, "-c", ASSEMBLE], capture_output=True, text=True)
    assert made.stdout.split("\n")[:-1] == 2 * ["True"], made.stderr


def test_a_gpu_takes_the_kernels_unless_numbers_are_double_or_windows_wide(kernels, monkeypatch):
    x = SimpleNamespace(is_cuda=True, dtype=torch.float32)  # all that is asked of it
    assert norms._kernels(x, (5, False)) is kernels
    assert norms._kernels(x, (kernels.LARGEST, False)) is kernels
    assert norms._kernels(x, (kernels.LARGEST + 1, False)) is None
    assert norms._kernels(x, (5, True)) is None
    assert norms._kernels(SimpleNamespace(is_cuda=True, dtype=torch.float64), (5, False)) is None
    assert norms._kernels(torch.ones(1, 4, 2, 2), (5, False)) is None
    monkeypatch.setattr(norms, "_TRITON", False)
    assert norms._kernels(x, (5, False)) is None


@on_a_gpu
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_cuda_graph_replays_forward_and_backward(layout, dtype):
    norm = LocalResponseNorm(5, 2.0, 1e-4, 0.75, columns=2)
    x = (50 * torch.randn(2, 96, 55, 55, device=DEVICE)).to(dtype).to(memory_format=layout)
    x.requires_grad_()
    step = torch.cuda.make_graphed_callables(norm, (x,))
    found = []
    for each in (step, norm):
        x.grad = None
        out = each(x)
        out.backward(torch.ones_like(out))
        found.append((out.clone(), x.grad.clone()))
    torch.testing.assert_close(*found)
