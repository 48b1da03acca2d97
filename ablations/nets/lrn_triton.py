"""Local response normalisation in one pass over a GPU's memory, and its gradient in another.

Imported where a tensor is on a GPU and Triton is there, which CUDA builds of torch bring along.
Neighbouring lanes touch neighbouring addresses in either layout. Where the places of a map lie side
by side, a lane stands at a place and walks over channels, holding its windows in registers; where
channels do, each lane has one of them. What lanes read twice comes out of the GPU's caches.
"""
# mypy: disable-error-code="assignment, no-untyped-call, no-untyped-def, untyped-decorator"
# ruff: noqa: RUF005
# Triton reads a kernel's annotations, and has none for a block of values; nor does it know stars.

from math import ceil, prod
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

LARGEST = 17
"""The widest window: a lane holds two of them."""


@triton.jit
def _lanes(total, channels, places, WALK, LAST, FAR, LANES):
    """Each lane's first channel and its address, the stride of channels, whether a lane has any."""
    program = tl.program_id(0).to(tl.int64) if FAR else tl.program_id(0)
    if LAST:
        lane = program * LANES + tl.arange(0, LANES)
        return lane % channels, lane, 1, lane < total
    walks = tl.cdiv(channels, WALK)  # programs in a row share the ends of their walks
    lane = program // walks * LANES + tl.arange(0, LANES)
    first = program % walks * WALK + tl.zeros_like(lane)
    at = lane // places * channels * places + lane % places + first * places
    return first, at, places, lane < total // channels


@triton.jit
def _rows(data, first, at, step, channels, there, LOW, HIGH):
    """The channels from first + LOW to first + HIGH - 1, zeros past the edges."""
    rows = ()
    for row in tl.static_range(LOW, HIGH):
        inside = there & (first + row >= 0) & (first + row < channels)
        rows = rows + (tl.load(data + at + row * step, mask=inside, other=0.0).to(tl.float32),)
    return rows


@triton.jit
def _window(rows, LOW, SIZE):
    sums = rows[LOW]
    for row in tl.static_range(LOW + 1, LOW + SIZE):
        sums += rows[row]
    return sums


@triton.jit
def _power(base, beta, ROOTS):
    """To the power of -beta, and the reciprocal."""
    if ROOTS:
        root = tl.rsqrt(base)
        return root * tl.sqrt(root), root * root
    return tl.exp2(-beta * tl.log2(base)), 1 / base


@triton.jit
def _forward(
    x, out, total, channels, places, k, alpha, beta,
    SIZE: tl.constexpr, ROOTS: tl.constexpr, WALK: tl.constexpr, LAST: tl.constexpr,
    FAR: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    first, at, step, there = _lanes(total, channels, places, WALK, LAST, FAR, LANES)
    BELOW: tl.constexpr = SIZE // 2
    xs = _rows(x, first, at, step, channels, there, -BELOW, WALK + SIZE - 1 - BELOW)
    squares = ()
    for row in tl.static_range(WALK + SIZE - 1):
        squares = squares + (xs[row] * xs[row],)
    for row in tl.static_range(WALK):
        scale, _ = _power(k + alpha * _window(squares, row, SIZE), beta, ROOTS)
        inside = there & (first + row < channels)
        tl.store(out + at + row * step, scale * xs[row + BELOW], mask=inside)


@triton.jit
def _backward(
    x, given, out, total, channels, places, k, alpha, beta,
    SIZE: tl.constexpr, ROOTS: tl.constexpr, WALK: tl.constexpr, LAST: tl.constexpr,
    FAR: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    first, at, step, there = _lanes(total, channels, places, WALK, LAST, FAR, LANES)
    BELOW: tl.constexpr = SIZE // 2
    ABOVE: tl.constexpr = SIZE - 1 - BELOW
    # a channel's neighbours feel it through the mirrored window, each through its own
    xs = _rows(x, first, at, step, channels, there, 1 - SIZE, WALK + SIZE - 1)
    grads = _rows(given, first, at, step, channels, there, -ABOVE, WALK + BELOW)
    squares = ()
    for row in tl.static_range(WALK + 2 * SIZE - 2):
        squares = squares + (xs[row] * xs[row],)
    direct = ()
    through = ()
    for row in tl.static_range(WALK + SIZE - 1):
        scale, inverse = _power(k + alpha * _window(squares, row, SIZE), beta, ROOTS)
        straight = scale * grads[row]
        inside = (first + row >= ABOVE) & (first + row < channels + ABOVE)
        # past the edge the base may be zero
        felt = tl.where(inside, inverse * straight * xs[row + BELOW], 0.0)
        direct = direct + (straight,)
        through = through + (felt,)
    for row in tl.static_range(WALK):
        felt = 2 * alpha * beta * xs[row + SIZE - 1] * _window(through, row, SIZE)
        inside = there & (first + row < channels)
        tl.store(out + at + row * step, direct[row + ABOVE] - felt, mask=inside)


@torch.library.custom_op("ablations::lrn", mutates_args=())
def normalise(x: Tensor, size: int, k: float, alpha: float, beta: float, columns: int) -> Tensor:
    """As `norms.LocalResponseNorm`, of numbers of at most 32 bits in either layout."""
    x = _dense(x)
    out = torch.empty_like(x)
    _launch(_forward, (x, out), size, k, alpha, beta, columns)
    return out


@torch.library.custom_op("ablations::lrn_gradient", mutates_args=())
def gradient(
    x: Tensor, given: Tensor, size: int, k: float, alpha: float, beta: float, columns: int
) -> Tensor:
    """That of x, where ``given`` is that of the normalised x."""
    x = _dense(x)
    out = torch.empty_like(x)
    given = given.contiguous(memory_format=_layout(x))
    _launch(_backward, (x, given, out), size, k, alpha, beta, columns)
    return out


normalise.register_fake(lambda x, *_: torch.empty_like(_dense(x)))
gradient.register_fake(lambda x, *_: torch.empty_like(_dense(x)))


def _layout(x: Tensor) -> torch.memory_format:
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _dense(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=_layout(x))


def _launch(
    kernel: Any,
    tensors: tuple[Tensor, ...],
    size: int,
    k: float,
    alpha: float,
    beta: float,
    columns: int,
) -> None:
    x = tensors[0]
    channels, places = x.shape[1] // columns, prod(x.shape[2:])
    last = _layout(x) == torch.channels_last
    walks = 1 if last else ceil(channels / 16)
    lanes, some = (x.numel(), 512) if last else (x.numel() // channels, 256)
    if not x.numel():
        return
    with torch.cuda.device_of(x):
        kernel[(triton.cdiv(lanes, some) * walks,)](
            *tensors, x.numel(), channels, places, k, alpha, beta,
            SIZE=size, ROOTS=beta == 0.75, WALK=1 if last else ceil(channels / walks), LAST=last,
            FAR=x.numel() >= 1 << 30, LANES=some, enable_fp_fusion=True,
        )  # fmt: skip
