"""Layers that torch has not, or not in this form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ablations.seeds import stream_seed


class LocalResponseNorm(nn.Module):
    """x / (k + a * sum of squares over neighbouring channels) ** beta, see `spec.LRN`.

    The paper's constants suppose inputs on the scale of pixels from 0 to 255 less their mean.
    On images of unit variance the sum is far below k, and the layer only divides by k ** beta.

    Shape: (batch, channels, height, width), and the same out.
    """

    def __init__(self, size: int, k: float, alpha: float, beta: float, columns: int = 1) -> None:
        """``alpha`` multiplies the plain sum; the channels of a column are their own neighbours."""
        super().__init__()
        self.size, self.k, self.alpha, self.beta, self.columns = size, k, alpha, beta, columns

    def forward(self, x: Tensor) -> Tensor:
        columns = x.reshape(x.shape[0] * self.columns, x.shape[1] // self.columns, *x.shape[2:])
        normed: Tensor = _Normalise.apply(  # type: ignore[no-untyped-call]
            columns, self.size, self.k, self.alpha, self.beta
        )
        return normed.reshape(x.shape)

    def extra_repr(self) -> str:
        return (
            f"size={self.size}, k={self.k}, alpha={self.alpha:g}, beta={self.beta}, "
            f"columns={self.columns}"
        )


class _Normalise(torch.autograd.Function):
    """The formula and its gradient, about six times as fast as torch's own on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, k: float, alpha: float, beta: float) -> Tensor:
        # squares of half-precision activations overflow
        wide = x if x.dtype == torch.float64 else x.float()
        base = _window_sums(wide * wide, size // 2, (size - 1) // 2).mul_(alpha).add_(k)
        scale = base.pow(-beta)
        ctx.save_for_backward(wide, base, scale)
        ctx.size, ctx.factor = size, 2 * alpha * beta
        return (wide * scale).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, base, scale = ctx.saved_tensors
        direct = grads[0] * scale
        # a channel's neighbours feel it through the mirrored window
        through = _window_sums(direct * x / base, (ctx.size - 1) // 2, ctx.size // 2)
        grad = direct.sub_(through.mul_(x).mul_(ctx.factor)).to(grads[0].dtype)
        return grad, None, None, None, None


def _window_sums(x: Tensor, below: int, above: int) -> Tensor:
    """Each channel plus as many neighbours below and above, as far as there are any."""
    sums, channels = x.clone(), x.shape[1]
    for offset in range(1, min(below, channels - 1) + 1):
        sums[:, offset:] += x[:, :-offset]
    for offset in range(1, min(above, channels - 1) + 1):
        sums[:, :-offset] += x[:, offset:]
    return sums


class KeyedDropout(nn.Module):
    """Dropout as printed (section 4.2): zeros in training, outputs times 1 - p in testing.

    The mask of a step depends on (seed, name, step) alone: not on other layers, earlier steps or
    torch's global state. Set ``step`` before each forward pass in training.
    """

    def __init__(self, probability: float, name: str, seed: int) -> None:
        super().__init__()
        self.probability, self.name, self.seed = probability, name, seed
        self.step: tuple[int, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x * (1 - self.probability)
        generator = torch.Generator(device=x.device)
        generator.manual_seed(stream_seed(self.seed, "dropout", self.name, *self.step))
        return x * (torch.rand(x.shape, generator=generator, device=x.device) >= self.probability)

    def extra_repr(self) -> str:
        return f"p={self.probability}"


class ColumnLinear(nn.Module):
    """A linear layer of columns: each share of the outputs reads its own share of the inputs.

    Shape: (batch, inputs) to (batch, outputs); both divide by the number of columns.
    """

    def __init__(self, inputs: int, outputs: int, columns: int) -> None:
        super().__init__()
        self.columns = columns
        self.weight = nn.Parameter(torch.empty(outputs, inputs // columns))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shares = x.reshape(x.shape[0], self.columns, -1)
        weight = self.weight.view(self.columns, -1, self.weight.shape[1])
        return torch.einsum("bci,coi->bco", shares, weight).flatten(1) + self.bias
