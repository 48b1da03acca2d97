"""What a net is: a tuple of named layer specifications, and what follows from them by arithmetic.

A spec is data. It knows no torch, so that parameters, sizes and differences between nets can be
computed, printed and tested without building anything. Layers go by their names: random streams
are keyed by them, and an ablation that removes one layer renames none of the others.

In a net of several *columns* the channels of a map are split into equal consecutive shares, one
for each column (the paper's two GPUs). A layer with ``columns=2`` keeps its shares apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

Shape = tuple[int, ...]
"""The shape of one example: (channels, height, width), or (features,) after a Linear layer."""

Function = Literal["relu", "tanh", "sigmoid"]


@dataclass(frozen=True)
class Conv:
    """A 2-D convolution with biases, its weights drawn from N(0, std)."""

    name: str
    channels: int
    kernel: int
    stride: int = 1
    padding: int | tuple[int, int, int, int] = 0  # pixels; four: left, right, top, bottom
    columns: int = 1
    std: float = 0.01
    bias: float = 0.0


@dataclass(frozen=True)
class Linear:
    """A fully connected layer with biases; maps are flattened before it."""

    name: str
    features: int
    columns: int = 1
    std: float = 0.01
    bias: float = 0.0


@dataclass(frozen=True)
class Activation:
    """A nonlinearity on every unit."""

    name: str
    function: Function = "relu"


@dataclass(frozen=True)
class LRN:
    """Local response normalisation across channels: x / (k + a * sum of size squares) ** beta.

    ``a`` is alpha in the formula as printed in the paper (section 3.3), alpha / size in the one
    that the authors' code ran. The sum does not reach over a column's edge.
    """

    name: str
    size: int = 5
    k: float = 2.0
    alpha: float = 1e-4
    beta: float = 0.75
    formula: Literal["printed", "as-run"] = "printed"
    columns: int = 1


@dataclass(frozen=True)
class Pool:
    """Max-pooling. ``ceil`` keeps the windows that hang over the right and bottom edge."""

    name: str
    kernel: int = 3
    stride: int = 2
    ceil: bool = True


@dataclass(frozen=True)
class Dropout:
    """Zeros for units drawn with ``probability`` in training, outputs times the rest in testing."""

    name: str
    probability: float = 0.5


Layer = Conv | Linear | Activation | LRN | Pool | Dropout
Net = tuple[Layer, ...]


@dataclass(frozen=True)
class Traced:
    """A layer where it stands: what it reads and gives, for one example.

    ``fan_in`` is the number of inputs of one unit, ``parameters`` counts weights and biases,
    ``macs`` multiply-accumulates of the forward pass; all 0 for a layer without weights.
    """

    layer: Layer
    reads: Shape
    gives: Shape
    fan_in: int = 0
    parameters: int = 0
    macs: int = 0


def trace(net: Net, shape: Shape) -> tuple[Traced, ...]:
    """Follow one example of ``shape`` through the net.

    Raises:
        ValueError: a window does not fit its maps, or channels do not divide into columns.
    """
    rows: list[Traced] = []
    for layer in net:
        rows.append(_traced(layer, shape))
        shape = rows[-1].gives
    return tuple(rows)


def parameters(net: Net, shape: Shape) -> int:
    """The number of weights and biases of the net that reads examples of ``shape``."""
    return sum(row.parameters for row in trace(net, shape))


def _traced(layer: Layer, shape: Shape) -> Traced:
    match layer:
        case Conv():
            channels = _share(layer.name, shape[0], layer.columns)
            _share(layer.name, layer.channels, layer.columns)
            left, right, top, bottom = sides(layer.padding)
            height = _size(layer, shape[1] + top + bottom, ceil=False)
            width = _size(layer, shape[2] + left + right, ceil=False)
            gives: Shape = (layer.channels, height, width)
            fan_in = channels * layer.kernel**2
            macs = fan_in * prod(gives)
            return Traced(layer, shape, gives, fan_in, layer.channels * (fan_in + 1), macs)
        case Linear():
            fan_in = _share(layer.name, prod(shape), layer.columns)
            _share(layer.name, layer.features, layer.columns)
            count, macs = layer.features * (fan_in + 1), layer.features * fan_in
            return Traced(layer, shape, (layer.features,), fan_in, count, macs)
        case Pool():
            gives = (shape[0], *(_size(layer, side, ceil=layer.ceil) for side in shape[1:]))
            return Traced(layer, shape, gives)
        case LRN():
            _share(layer.name, shape[0], layer.columns)
            return Traced(layer, shape, shape)
        case Activation() | Dropout():
            return Traced(layer, shape, shape)


def sides(padding: int | tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Padding as pixels on the left, right, top and bottom."""
    return (padding,) * 4 if isinstance(padding, int) else padding


def _size(layer: Conv | Pool, side: int, *, ceil: bool) -> int:
    room = side - layer.kernel
    if room < (1 - layer.stride if ceil else 0):
        raise ValueError(f"{layer.name}: a window of {layer.kernel} does not fit maps of {side}")
    return (-(-room // layer.stride) if ceil else room // layer.stride) + 1


def _share(name: str, channels: int, columns: int) -> int:
    if channels % columns:
        raise ValueError(f"{name}: {channels} channels do not divide into {columns} columns")
    return channels // columns
