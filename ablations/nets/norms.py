"""Normalisations that torch has not, or not in this form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LocalResponseNorm(nn.Module):
    """x / (k + alpha * sum of squares over neighbouring channels) ** beta, see `spec.LRN`.

    The paper's constants suppose inputs on the scale of pixels from 0 to 255 less their mean.
    On images of unit variance the sum is far below k, and the layer only divides by k ** beta.

    Shape: (batch, channels, height, width), and the same out.
    """

    def __init__(self, size: int, k: float, alpha: float, beta: float, columns: int = 1) -> None:
        """``alpha`` multiplies the plain sum; the channels of a column are their own neighbours."""
        super().__init__()
        self.size, self.k, self.alpha, self.beta, self.columns = size, k, alpha, beta, columns

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = _Normalise.apply(  # type: ignore[no-untyped-call]
            _by_column(x, self.columns), self.size, self.k, self.alpha, self.beta
        )
        normed = normed.reshape(x.shape)
        # several columns come out contiguous, with which pooling takes ten times as long
        last = x.is_contiguous(memory_format=torch.channels_last)
        return normed.contiguous(memory_format=torch.channels_last) if last else normed

    def denominator(self, x: Tensor) -> Tensor:
        """What each unit of x is divided by."""
        wide = _by_column(x, self.columns)
        sums = _window_sums(wide * wide, self.size // 2, (self.size - 1) // 2)
        return (self.k + self.alpha * sums).pow(self.beta).reshape(x.shape)

    def extra_repr(self) -> str:
        return f"{_constants(self)}, columns={self.columns}"


class _Normalise(torch.autograd.Function):
    """The formula and its gradient, a few images at a time; only the input is kept.

    What lies between them then stays in a CPU's cache. Measured in docs/performance.md.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, k: float, alpha: float, beta: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.constants = size, k, alpha, beta
        normed = torch.empty_like(x)
        for some in _slices(x):
            wide = _wide(x[some])
            base = _base(wide, size, k, alpha)
            normed[some] = _power(base, beta)[0].mul_(wide)
        return normed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        size, k, alpha, beta = ctx.constants
        if torch.is_grad_enabled():  # a second derivative is wanted
            return _gradient(x, grads[0], size, k, alpha, beta), None, None, None, None
        grad = torch.empty_like(x)
        for some in _slices(x):
            wide, given = _wide(x[some]), _wide(grads[0][some])
            scale, inverse = _power(_base(wide, size, k, alpha), beta)
            direct = scale.mul_(given)
            # a channel's neighbours feel it through the mirrored window
            through = _window_sums(inverse.mul_(direct).mul_(wide), (size - 1) // 2, size // 2)
            grad[some] = direct.sub_(through.mul_(wide).mul_(2 * alpha * beta))
        return grad, None, None, None, None


def _gradient(x: Tensor, given: Tensor, size: int, k: float, alpha: float, beta: float) -> Tensor:
    """The same gradient by operations that autograd follows."""
    wide = _wide(x)
    base = _base(wide, size, k, alpha)
    direct = _wide(given) * base.pow(-beta)
    through = _window_sums(direct * wide / base, (size - 1) // 2, size // 2)
    return (direct - 2 * alpha * beta * wide * through).to(x.dtype)


_CACHED = 1 << 19
"""Bytes of float32 that are worked on at a time: half of a core's second-level cache."""


def _slices(x: Tensor) -> list[slice]:
    images = len(x) if x.is_cuda else max(1, _CACHED // max(4 * x[:1].numel(), 1))
    return [slice(first, first + images) for first in range(0, len(x), max(images, 1))]


def _wide(x: Tensor) -> Tensor:
    # squares of half-precision activations overflow
    return x if x.dtype == torch.float64 else x.float()


def _base(x: Tensor, size: int, k: float, alpha: float) -> Tensor:
    return _window_sums(x * x, size // 2, (size - 1) // 2).mul_(alpha).add_(k)


def _power(base: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """To the power of -beta, and the reciprocal; `base` is overwritten."""
    if beta != 0.75:
        return base.pow(-beta), base.reciprocal_()
    root = base.rsqrt_()
    scale = root.sqrt().mul_(root)
    return scale, root.mul_(root)


def _window_sums(x: Tensor, below: int, above: int) -> Tensor:
    """Each channel plus as many neighbours below and above, as far as there are any."""
    sums, channels = x.clone(), x.shape[1]
    for offset in range(1, min(below, channels - 1) + 1):
        sums[:, offset:] += x[:, :-offset]
    for offset in range(1, min(above, channels - 1) + 1):
        sums[:, :-offset] += x[:, offset:]
    return sums


class WithinMapNorm(nn.Module):
    """x / (k + alpha * sum of squares over a square of the same map) ** beta, see `spec.LRN`.

    The ``rnorm`` layer of cuda-convnet; squares reach over the edge, where there is nothing.

    Shape: (batch, channels, height, width), and the same out.
    """

    def __init__(self, size: int, k: float, alpha: float, beta: float) -> None:
        """``alpha`` multiplies the plain sum.

        Raises:
            ValueError: the square has no middle.
        """
        super().__init__()
        if size % 2 == 0:
            raise ValueError(f"a square of {size} within a map has no middle: take an odd size")
        self.size, self.k, self.alpha, self.beta = size, k, alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        wide = _wide(x)
        return (wide / self.denominator(wide)).to(x.dtype)

    def denominator(self, x: Tensor) -> Tensor:
        """What each unit of x is divided by."""
        sums: Tensor = F.avg_pool2d(x * x, self.size, 1, self.size // 2, divisor_override=1)
        return (self.k + self.alpha * sums).pow(self.beta)

    def extra_repr(self) -> str:
        return _constants(self)


class ContrastNorm(nn.Module):
    """Local contrast normalisation (Jarrett, Kavukcuoglu, Ranzato and LeCun, ICCV 2009, 2.1).

    Each unit loses the weighted mean v over a Gaussian window of all maps, then is divided by the
    weighted SD of v in the same window, or by that SD's mean over the example where it is larger.
    The paper gives the window's size, 9 by 9, not its SD: a quarter of the size here. The window
    reaches over the edge, where there is nothing.

    Shape: (batch, channels, height, width), and the same out.
    """

    window: Tensor

    def __init__(self, size: int, columns: int = 1) -> None:
        """The channels of a column are a set of maps of their own.

        Raises:
            ValueError: the window has no middle.
        """
        super().__init__()
        if size % 2 == 0:
            raise ValueError(f"a window of {size} has no middle: take an odd size")
        self.size, self.columns = size, columns
        offsets = torch.arange(size, dtype=torch.float64) - size // 2
        window = torch.exp(-0.5 * (offsets / (size / 4)) ** 2)
        # no part of the weights: a net without the layer has the same state
        self.register_buffer("window", window / window.sum(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        wide = _wide(x)
        maps = _by_column(wide, self.columns)
        centred = maps - self._blurred(maps)
        # a window of zeros has no SD, and its root no gradient
        spread = self._blurred(centred * centred).clamp_min(1e-12).sqrt()
        floor = spread.mean((1, 2, 3), keepdim=True)
        return (centred / torch.maximum(spread, floor)).reshape(x.shape).to(x.dtype)

    def _blurred(self, maps: Tensor) -> Tensor:
        window, half = self.window.to(maps.dtype), self.size // 2
        mean = maps.mean(1, keepdim=True)
        rows = F.conv2d(mean, window.view(1, 1, -1, 1), padding=(half, 0))
        return F.conv2d(rows, window.view(1, 1, 1, -1), padding=(0, half))

    def extra_repr(self) -> str:
        return f"size={self.size}, columns={self.columns}"


def _by_column(x: Tensor, columns: int) -> Tensor:
    return x.reshape(x.shape[0] * columns, x.shape[1] // columns, *x.shape[2:])


def _constants(norm: LocalResponseNorm | WithinMapNorm) -> str:
    return f"size={norm.size}, k={norm.k}, alpha={norm.alpha:g}, beta={norm.beta}"
