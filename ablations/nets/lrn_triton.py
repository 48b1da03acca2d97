"""Local response normalisation in one pass over a GPU's memory, and its gradient in another.

Imported where a tensor is on a GPU and Triton is there, which CUDA builds of torch bring along.
A lane stands at a place and walks over channels, holding their windows in registers: over up to 16
where the places of a map lie side by side, so that neighbouring lanes touch neighbouring addresses,
over four where channels do, which are one address. What is read twice comes from the GPU's caches.
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
def _program(FAR):
    return tl.program_id(0).to(tl.int64) if FAR else tl.program_id(0)


@triton.jit
def _lanes(total, channels, places, WALK, LAST, FAR, LANES):
    """Each lane's first channel and its address, the stride of channels, whether a lane has any."""
    walks = (channels + WALK - 1) // WALK
    if LAST:
        lane = _program(FAR) * LANES + tl.arange(0, LANES)
        return lane % walks * WALK, lane * WALK, 1, lane < total // WALK
    lane = _program(FAR) // walks * LANES + tl.arange(0, LANES)
    # programs in a row share the ends of their walks
    first = _program(FAR) % walks * WALK + tl.full([LANES], 0, tl.int32)
    at = lane // places * channels * places + lane % places + first * places
    return first, at, places, lane < total // channels


@triton.jit
def _quads(total, channels, FAR, LANES):
    """As lanes, for each of four channels a lane."""
    at = _program(FAR) * LANES * 4 + tl.arange(0, LANES * 4)
    return at // 4 % (channels // 4) * 4, at, at < total


@triton.jit
def _rows(data, total, channels, places, LOW, HIGH, WALK, LAST, FAR, LANES):
    """The channels from a lane's first + LOW to first + HIGH - 1, zeros past the edges."""
    rows = ()
    if LAST and WALK == 4:
        first, at, there = _quads(total, channels, FAR, LANES)
        for quad in tl.static_range(LOW // 4 * 4, HIGH, 4):
            inside = there & (first + quad >= 0) & (first + quad < channels)
            four = tl.load(data + at + quad, mask=inside, other=0.0).to(tl.float32)
            even, odd = tl.split(four.reshape(LANES, 2, 2))
            zero, two = tl.split(even)
            one, three = tl.split(odd)
            four_rows = (zero, one, two, three)
            for row in tl.static_range(4):
                if quad + row >= LOW and quad + row < HIGH:
                    rows = rows + (four_rows[row],)
    else:
        first, at, step, there = _lanes(total, channels, places, WALK, LAST, FAR, LANES)
        for row in tl.static_range(LOW, HIGH):
            inside = there & (first + row >= 0) & (first + row < channels)
            rows = rows + (tl.load(data + at + row * step, mask=inside, other=0.0).to(tl.float32),)
    return rows


@triton.jit
def _store(out, rows, total, channels, places, WALK, LAST, FAR, LANES):
    if LAST and WALK == 4:
        _, at, there = _quads(total, channels, FAR, LANES)
        four = tl.join(tl.join(rows[0], rows[2]), tl.join(rows[1], rows[3])).reshape(LANES * 4)
        tl.store(out + at, four, mask=there)
    else:
        first, at, step, there = _lanes(total, channels, places, WALK, LAST, FAR, LANES)
        for row in tl.static_range(WALK):
            tl.store(out + at + row * step, rows[row], mask=there & (first + row < channels))


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
    BELOW: tl.constexpr = SIZE // 2
    HIGH: tl.constexpr = WALK + SIZE - 1 - BELOW
    xs = _rows(x, total, channels, places, -BELOW, HIGH, WALK, LAST, FAR, LANES)
    squares = ()
    for row in tl.static_range(WALK + SIZE - 1):
        squares = squares + (xs[row] * xs[row],)
    normed = ()
    for row in tl.static_range(WALK):
        scale, _ = _power(k + alpha * _window(squares, row, SIZE), beta, ROOTS)
        normed = normed + (scale * xs[row + BELOW],)
    _store(out, normed, total, channels, places, WALK, LAST, FAR, LANES)


@triton.jit
def _backward(
    x, given, out, total, channels, places, k, alpha, beta,
    SIZE: tl.constexpr, ROOTS: tl.constexpr, WALK: tl.constexpr, LAST: tl.constexpr,
    FAR: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    BELOW: tl.constexpr = SIZE // 2
    ABOVE: tl.constexpr = SIZE - 1 - BELOW
    # a channel's neighbours feel it through the mirrored window, each through its own
    xs = _rows(x, total, channels, places, 1 - SIZE, WALK + SIZE - 1, WALK, LAST, FAR, LANES)
    grads = _rows(given, total, channels, places, -ABOVE, WALK + BELOW, WALK, LAST, FAR, LANES)
    squares = ()
    for row in tl.static_range(WALK + 2 * SIZE - 2):
        squares = squares + (xs[row] * xs[row],)
    first, _, _, _ = _lanes(total, channels, places, WALK, LAST, FAR, LANES)
    direct = ()
    felt = ()
    for row in tl.static_range(WALK + SIZE - 1):
        scale, inverse = _power(k + alpha * _window(squares, row, SIZE), beta, ROOTS)
        straight = scale * grads[row]
        inside = (first + row >= ABOVE) & (first + row < channels + ABOVE)
        direct = direct + (straight,)
        # past the edge the base may be zero
        felt = felt + (tl.where(inside, inverse * straight * xs[row + BELOW], 0.0),)
    grad = ()
    for row in tl.static_range(WALK):
        through = 2 * alpha * beta * xs[row + SIZE - 1] * _window(felt, row, SIZE)
        grad = grad + (direct[row + ABOVE] - through,)
    _store(out, grad, total, channels, places, WALK, LAST, FAR, LANES)


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
    if not x.numel():
        return
    last = _layout(x) == torch.channels_last
    walks = ceil(channels / 16)
    walk = 4 >> 2 * (channels % 4 > 0) if last else ceil(channels / walks)
    lanes, some = (x.numel() // walk, 128) if last else (x.numel() // channels, 256)
    programs = triton.cdiv(lanes, some) * (1 if last else walks)
    with torch.cuda.device_of(x):
        kernel[(programs,)](
            *tensors, x.numel(), channels, places, k, alpha, beta,
            SIZE=size, ROOTS=beta == 0.75, WALK=walk, LAST=last,
            FAR=x.numel() >= 1 << 30, LANES=some, enable_fp_fusion=True,
        )  # fmt: skip
