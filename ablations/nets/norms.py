"""Normalisations that torch has not, or not in this form."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

_Window = tuple[int, bool]
"""How wide the window is, and whether it is a square within a map or across channels."""


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
            x, (self.size, False), self.k, self.alpha, self.beta, self.columns
        )
        return normed

    def denominator(self, x: Tensor) -> Tensor:
        """What each unit of x is divided by."""
        wide = _by_parts(_wide(x), self.columns)
        return _base(wide, (self.size, False), self.k, self.alpha).pow(self.beta).flatten(1, 2)

    def extra_repr(self) -> str:
        return f"{_constants(self)}, columns={self.columns}"


class _Normalise(torch.autograd.Function):
    """The formula and its gradient; only the input is kept.

    On a GPU each is one kernel. Elsewhere a few images are worked on at a time, so that what lies
    between them and the answer stays in a core's cache. Measured in docs/performance.md.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *constants: Any) -> Tensor:
        ctx.save_for_backward(x)
        ctx.constants = constants
        window, k, alpha, beta, columns = constants
        if kernels := _kernels(x, window):
            fused: Tensor = kernels.normalise(x, window[0], *constants[1:])
            return fused
        normed = torch.empty_like(x)
        for some in _slices(x):
            wide = _by_parts(_wide(x[some]), columns)
            scale, _ = _power(_base(wide, window, k, alpha), beta)
            _put(normed[some], columns, torch.mul, scale, wide)
        return normed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x,), none = ctx.saved_tensors, (None,) * 5
        window, k, alpha, beta, columns = ctx.constants
        if torch.is_grad_enabled():  # a second derivative is wanted
            return _gradient(x, grads[0], window, k, alpha, beta, columns), *none
        if kernels := _kernels(x, window):
            return kernels.gradient(x, grads[0], window[0], *ctx.constants[1:]), *none
        grad = torch.empty_like(x)
        for some in _slices(x):
            wide, given = (_by_parts(_wide(each[some]), columns) for each in (x, grads[0]))
            scale, inverse = _power(_base(wide, window, k, alpha), beta)
            direct = scale.mul_(given)
            # a unit's neighbours feel it through the mirrored window
            through = _sums(inverse.mul_(direct).mul_(wide), window, mirrored=True)
            share = through.mul_(wide)
            _put(grad[some], columns, torch.sub, direct, share, alpha=2 * alpha * beta)
        return grad, *none


def _put(x: Tensor, columns: int, operation: Any, *values: Tensor, **how: float) -> None:
    """In one pass, which the compiler sees to by itself and refuses to be told."""
    parts = _by_parts(x, columns)
    if torch.compiler.is_compiling():
        parts.copy_(operation(*values, **how))
    else:
        operation(*values, **how, out=parts)


def _gradient(
    x: Tensor, given: Tensor, window: _Window, k: float, alpha: float, beta: float, columns: int
) -> Tensor:
    """The same gradient by operations that autograd follows."""
    wide = _by_parts(_wide(x), columns)
    base = _base(wide, window, k, alpha)
    direct = _by_parts(_wide(given), columns) * base.pow(-beta)
    through = _sums(direct * wide / base, window, mirrored=True)
    return (direct - 2 * alpha * beta * wide * through).flatten(1, 2).to(x.dtype)


_TRITON = find_spec("triton") is not None  # CUDA builds of torch bring it


def _kernels(x: Tensor, window: _Window) -> Any:
    """Triton's, where there are any for x."""
    size, within_map = window
    if within_map or not (_TRITON and x.is_cuda) or x.dtype == torch.float64:
        return None
    from ablations.nets import lrn_triton

    return lrn_triton if size <= lrn_triton.LARGEST else None


_SHORT = 64
"""Up to as many channels side by side a product is faster than sums of slices."""
_CACHED = 1 << 19
"""Bytes of float32 that are worked on at a time: half of a core's second-level cache."""


def _slices(x: Tensor) -> list[slice]:
    whole = x.is_cuda or torch.compiler.is_compiling()
    images = len(x) if whole else max(1, _CACHED // max(4 * x[:1].numel(), 1))
    return [slice(first, first + images) for first in range(0, len(x), max(images, 1))]


def _wide(x: Tensor) -> Tensor:
    # squares of half-precision activations overflow
    return x if x.dtype == torch.float64 else x.float()


def _by_parts(x: Tensor, columns: int) -> Tensor:
    """A view of (batch, columns, channels of each, ...)."""
    return x.view(len(x), columns, x.shape[1] // columns, *x.shape[2:])


def _base(x: Tensor, window: _Window, k: float, alpha: float) -> Tensor:
    sums = _sums(x * x, window)
    again = None if sums.requires_grad or torch.compiler.is_compiling() else sums
    return torch.add(x.new_full((), k), sums, alpha=alpha, out=again)


def _power(base: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """To the power of -beta, and the reciprocal; `base` is overwritten."""
    if beta != 0.75:
        return base.pow(-beta), base.reciprocal_()
    root = base.rsqrt_()
    scale = root.sqrt().mul_(root)
    return scale, root.mul_(root)


def _sums(x: Tensor, window: _Window, mirrored: bool = False) -> Tensor:
    size, within_map = window
    if within_map:
        maps = x.flatten(1, 2)
        summed: Tensor = F.avg_pool2d(maps, size, 1, size // 2, divisor_override=1)
        return summed.view_as(x)
    below, above = size // 2, (size - 1) // 2
    return _window_sums(x, above, below) if mirrored else _window_sums(x, below, above)


def _window_sums(x: Tensor, below: int, above: int) -> Tensor:
    """Each channel of a column plus as many neighbours below and above, as far as there are any."""
    channels = x.shape[2]
    if torch.compiler.is_compiling():  # one loop, where slices in place would be one each
        padded = F.pad(x, (0, 0) * (x.dim() - 3) + (below, above))
        shifts = [padded.narrow(2, at, channels) for at in range(below + above + 1)]
        return sum(shifts[1:], shifts[0])
    rows = x.movedim((1, 2), (-2, -1))
    short = channels <= _SHORT and x.device.type == "cpu" and not x.requires_grad
    # a product would be counted among the FLOPs of a net, and on a GPU there is none
    if short and rows.is_contiguous() and not is_in_torch_dispatch_mode():
        band = torch.ones(channels, channels, dtype=x.dtype).triu_(-above).tril_(below)
        product = torch.empty_like(rows)
        # autocast lets a product alone that is written where it is told to
        torch.mm(rows.view(-1, channels), band, out=product.view(-1, channels))
        return product.movedim((-2, -1), (1, 2))
    sums = x.clone()
    for offset in range(1, min(below, channels - 1) + 1):
        sums[:, :, offset:] += x[:, :, :-offset]
    for offset in range(1, min(above, channels - 1) + 1):
        sums[:, :, :-offset] += x[:, :, offset:]
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
        normed: Tensor = _Normalise.apply(  # type: ignore[no-untyped-call]
            x, (self.size, True), self.k, self.alpha, self.beta, 1
        )
        return normed

    def denominator(self, x: Tensor) -> Tensor:
        """What each unit of x is divided by."""
        wide = _by_parts(_wide(x), 1)
        return _base(wide, (self.size, True), self.k, self.alpha).pow(self.beta).flatten(1, 2)

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
