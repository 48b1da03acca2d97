"""Layers that torch has not, or not in this form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablations.seeds import stream_seed


class KeyedDropout(nn.Module):
    """Dropout as printed (section 4.2): zeros in training, outputs times 1 - p in testing.

    The mask of a step depends on (seed, name, step) alone: not on other layers, earlier steps or
    torch's global state. Set ``step`` before each forward pass in training.
    """

    def __init__(
        self, probability: float, name: str, seed: int, share: tuple[int, int] = (0, 1)
    ) -> None:
        """``share`` (i, n) is for the i-th of n equal parts of the units: its part of the mask."""
        super().__init__()
        self.probability, self.name, self.seed, self.share = probability, name, seed, share
        self.step: tuple[int, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x * (1 - self.probability)
        # a mask of x's own type: bools would be converted in either pass
        return x * self.draws(x, self.step).ge_(self.probability).to(x.dtype)

    def draws(self, x: Tensor, step: tuple[int, ...]) -> Tensor:
        """Uniform numbers of the shape of x; units with those below the probability are dropped."""
        generator = torch.Generator(device=x.device)
        generator.manual_seed(stream_seed(self.seed, "dropout", self.name, *step))
        part, parts = self.share
        whole = (x.shape[0], x.shape[1] * parts, *x.shape[2:])
        return torch.rand(whole, generator=generator, device=x.device).chunk(parts, 1)[part]

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


class LocallyConnected(nn.Module):
    """A convolution whose weights and biases are each place's own.

    Shape: (batch, channels, height, width) to (batch, outputs, height', width'). ``weight`` is
    (places, outputs, channels * kernel ** 2), ``bias`` (places, outputs), places row by row.
    """

    def __init__(
        self, reads: Sequence[int], gives: Sequence[int], kernel: int, stride: int, padding: int
    ) -> None:
        """``reads`` and ``gives`` are shapes (channels, height, width)."""
        super().__init__()
        self.gives = tuple(gives)
        self.kernel, self.stride, self.padding = kernel, stride, padding
        places = gives[1] * gives[2]
        self.weight = nn.Parameter(torch.empty(places, gives[0], reads[0] * kernel**2))
        self.bias = nn.Parameter(torch.empty(places, gives[0]))

    def forward(self, x: Tensor) -> Tensor:
        patches = F.unfold(x, self.kernel, padding=self.padding, stride=self.stride)
        units = torch.baddbmm(
            self.bias[:, None], patches.permute(2, 0, 1), self.weight.transpose(1, 2)
        )
        return units.permute(1, 2, 0).reshape(-1, *self.gives)

    def extra_repr(self) -> str:
        return f"{self.gives}, kernel={self.kernel}, stride={self.stride}, padding={self.padding}"


class ScaledTanh(nn.Module):
    """1.7159 tanh(0.6666 a), as Ciresan et al. (2011) have it."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(0.6666 * x)
