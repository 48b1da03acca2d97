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

Function = Literal["relu", "tanh", "sigmoid", "scaled-tanh"]
Draw = Literal["normal", "uniform"]
Formula = Literal["printed", "as-run"]


@dataclass(frozen=True)
class Learning:
    """How a layer's weights and biases learn: factors on the net's learning rate and weight decay.

    With ``bias_drops`` false, a schedule that lowers the rate leaves the biases at theirs.
    """

    rate: float = 1.0
    bias_rate: float = 1.0
    decay: float = 1.0
    bias_decay: float = 1.0
    bias_drops: bool = True


@dataclass(frozen=True)
class Conv:
    """A 2-D convolution with biases; its weights are drawn with mean 0 and SD ``std``.

    Without ``shared`` it is locally connected: each place has weights and biases of its own.
    """

    name: str
    channels: int
    kernel: int
    stride: int = 1
    padding: int | tuple[int, int, int, int] = 0  # pixels; four: left, right, top, bottom
    columns: int = 1
    std: float = 0.01
    bias: float = 0.0
    draw: Draw = "normal"
    learning: Learning = Learning()
    shared: bool = True


@dataclass(frozen=True)
class Linear:
    """A fully connected layer with biases; maps are flattened before it."""

    name: str
    features: int
    columns: int = 1
    std: float = 0.01
    bias: float = 0.0
    draw: Draw = "normal"
    learning: Learning = Learning()


@dataclass(frozen=True)
class Activation:
    """A nonlinearity on every unit; scaled-tanh is 1.7159 tanh(0.6666 a)."""

    name: str
    function: Function = "relu"


@dataclass(frozen=True)
class LRN:
    """Local response normalisation: x / (k + a * sum of squares over a window) ** beta.

    The window is ``size`` neighbouring channels, within the column, or ``size`` by ``size`` units
    of the same map; what lies outside counts as nothing. ``a`` is alpha in the formula as printed
    in the paper (section 3.3), alpha / (units in the window) in the one that its code ran.
    """

    name: str
    size: int = 5
    k: float = 2.0
    alpha: float = 1e-4
    beta: float = 0.75
    formula: Formula = "printed"
    columns: int = 1
    window: Literal["channels", "map"] = "channels"

    @property
    def a(self) -> float:
        """The factor on the plain sum of squares."""
        units = self.size if self.window == "channels" else self.size**2
        return self.alpha if self.formula == "printed" else self.alpha / units


@dataclass(frozen=True)
class Contrast:
    """Local contrast normalisation (Jarrett et al. 2009): subtractive, then divisive."""

    name: str
    size: int = 9
    columns: int = 1


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation with a scale and a shift per channel, which do not decay."""

    name: str
    learning: Learning = Learning(decay=0.0, bias_decay=0.0)


@dataclass(frozen=True)
class Pool:
    """Pooling. ``ceil`` keeps the windows that hang over the right and bottom edge.

    An average is that of the units inside the map.
    """

    name: str
    kernel: int = 3
    stride: int = 2
    ceil: bool = True
    mode: Literal["max", "average"] = "max"


@dataclass(frozen=True)
class Dropout:
    """Zeros for units drawn with ``probability`` in training, outputs times the rest in testing."""

    name: str
    probability: float = 0.5


Weighted = Conv | Linear
Norm = LRN | Contrast | BatchNorm
Layer = Weighted | Norm | Activation | Pool | Dropout
Net = tuple[Layer, ...]


@dataclass(frozen=True)
class Traced:
    """A layer where it stands: what it reads and gives, for one example.

    ``fan_in`` is the number of inputs of one unit, ``parameters`` counts weights and biases,
    ``macs`` multiply-accumulates of the forward pass; 0 for a layer without weights.
    """

    layer: Layer
    reads: Shape
    gives: Shape
    fan_in: int = 0
    parameters: int = 0
    macs: int = 0

    @property
    def name(self) -> str:
        """The layer's."""
        return self.layer.name

    @property
    def flops(self) -> int:
        """Of the forward pass, two for each multiply-accumulate."""
        return 2 * self.macs

    @property
    def neurons(self) -> int:
        """Units, as the paper counts them: the outputs of convolutions and linear layers."""
        return prod(self.gives) if self.fan_in else 0


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
            if layer.columns > 1 and not layer.shared:
                raise ValueError(f"{layer.name}: a locally connected layer has no columns")
            left, right, top, bottom = sides(layer.padding)
            height = _size(layer, shape[1] + top + bottom, ceil=False)
            width = _size(layer, shape[2] + left + right, ceil=False)
            gives: Shape = (layer.channels, height, width)
            fan_in = channels * layer.kernel**2
            units = layer.channels if layer.shared else prod(gives)
            return Traced(layer, shape, gives, fan_in, units * (fan_in + 1), fan_in * prod(gives))
        case Linear():
            fan_in = _share(layer.name, prod(shape), layer.columns)
            _share(layer.name, layer.features, layer.columns)
            count, macs = layer.features * (fan_in + 1), layer.features * fan_in
            return Traced(layer, shape, (layer.features,), fan_in, count, macs)
        case Pool():
            gives = (shape[0], *(_size(layer, side, ceil=layer.ceil) for side in shape[1:]))
            return Traced(layer, shape, gives)
        case LRN() | Contrast():
            _share(layer.name, shape[0], layer.columns)
            return Traced(layer, shape, shape)
        case BatchNorm():
            return Traced(layer, shape, shape, parameters=2 * shape[0])
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
