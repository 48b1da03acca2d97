"""Ablations as small pure functions from net to net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from math import sqrt
from typing import Literal, get_args

from ablations.nets.spec import (
    LRN,
    Activation,
    Conv,
    Dropout,
    Function,
    Layer,
    Linear,
    Net,
    Pool,
    Shape,
    trace,
)

Connectivity = Literal["two-column", "independent", "dense", "half"]


def with_activation(net: Net, function: Function) -> Net:
    """The net with another nonlinearity everywhere (section 3.1)."""
    if function not in get_args(Function):
        raise ValueError(f"activation: {function!r} is none of {', '.join(get_args(Function))}")
    return tuple(
        replace(layer, function=function) if isinstance(layer, Activation) else layer
        for layer in net
    )


def with_stds(net: Net, stds: Mapping[str, float]) -> Net:
    """The net with other SDs of initial weights in the layers named."""
    return tuple(
        replace(layer, std=stds[layer.name])
        if isinstance(layer, Conv | Linear) and layer.name in stds
        else layer
        for layer in net
    )


def with_zero_biases(net: Net) -> Net:
    """The net without the initial biases of one, which give ReLUs positive inputs (section 5)."""
    return tuple(
        replace(layer, bias=0.0) if isinstance(layer, Conv | Linear) else layer for layer in net
    )


def without_lrn(net: Net) -> Net:
    """The net without local response normalisation (section 3.3)."""
    return tuple(layer for layer in net if not isinstance(layer, LRN))


def with_dropout(net: Net, probability: float) -> Net:
    """The net with another dropout probability; 0 takes the layers out (section 4.2).

    Raises:
        ValueError: the probability is not in [0, 1).
    """
    if not 0 <= probability < 1:
        raise ValueError(f"dropout: a probability of {probability} is not in [0, 1)")
    return tuple(
        replace(layer, probability=probability) if isinstance(layer, Dropout) else layer
        for layer in net
        if probability or not isinstance(layer, Dropout)
    )


def plain_pooling(net: Net, padding: Mapping[str, int]) -> Net:
    """The net with 2x2 windows that do not overlap, on maps of the same sizes (section 3.4).

    ``padding`` gives new paddings by layer name, as the authors' net 147 had them; its windows
    may hang over the edge. With none, an odd last row and column are dropped instead, which
    gives exactly the sizes of 3x3 windows that may hang over.
    """

    def plain(layer: Layer) -> Layer:
        if isinstance(layer, Pool):
            return replace(layer, kernel=2, stride=2, ceil=bool(padding))
        if isinstance(layer, Conv) and layer.name in padding:
            return replace(layer, padding=padding[layer.name])
        return layer

    return tuple(plain(layer) for layer in net)


def connect(net: Net, connectivity: Connectivity) -> Net:
    """The two-column net with its columns wired in another way (sections 3.2 and 3.5).

    - two-column: as given, columns meet where the paper lets them
    - independent: columns share the image and meet again in the last layer only
    - dense: no columns, every layer reads all maps
    - half: one column's maps on one device; the last convolution and the fully connected layers
      keep their widths, as in the paper's one-GPU net
    """
    if connectivity == "two-column":
        return net
    if connectivity == "independent":
        first, *middle, last = net
        return (first, *(_in_columns(layer, 2) for layer in middle), last)
    dense = tuple(_in_columns(layer, 1) for layer in net)
    if connectivity == "dense":
        return dense
    if connectivity != "half":
        raise ValueError(
            f"connectivity: {connectivity!r} is none of {', '.join(get_args(Connectivity))}"
        )
    halved = [layer.name for layer in net if isinstance(layer, Conv)][:-1]
    return tuple(
        replace(layer, channels=layer.channels // 2)
        if isinstance(layer, Conv) and layer.name in halved
        else layer
        for layer in dense
    )


def _in_columns(layer: Layer, columns: int) -> Layer:
    if isinstance(layer, Conv | Linear | LRN):
        return replace(layer, columns=columns)
    return layer


def without(net: Net, names: Sequence[str]) -> Net:
    """The net without the named layers (section 7 removes middle ones).

    A layer with weights takes the activation and dropout that follow it along; pooling and
    normalisation stay, so that the maps keep their sizes.

    Raises:
        ValueError: a name is not in the net, or is its last layer.
    """
    known = [layer.name for layer in net]
    for name in names:
        if name not in known[:-1]:
            near = get_close_matches(name, known[:-1], n=1)
            hint = f' (did you mean "{near[0]}"?)' if near else ""
            reason = "is the output layer" if name == known[-1] else "is no layer of this net"
            raise ValueError(f"without: {name} {reason}{hint}")
    kept: list[Layer] = []
    dropping = False
    for layer in net:
        dropping = (dropping and isinstance(layer, Activation | Dropout)) or (
            layer.name in names and isinstance(layer, Conv | Linear)
        )
        if not dropping and layer.name not in names:
            kept.append(layer)
    return tuple(kept)


def widened(net: Net, width: float) -> Net:
    """The net with ``width`` times the channels and features in all layers but the last.

    Widths are rounded to a multiple of two, for the columns.

    Raises:
        ValueError: the width is not above 0.
    """
    if width <= 0:
        raise ValueError(f"width: {width} is not above 0")

    def wide(units: int) -> int:
        return 2 * max(1, round(units * width / 2))

    def widen(layer: Layer) -> Layer:
        match layer:
            case Conv():
                return replace(layer, channels=wide(layer.channels))
            case Linear():
                return replace(layer, features=wide(layer.features))
            case _:
                return layer

    return (*(widen(layer) for layer in net[:-1]), net[-1])


def with_scaled_init(net: Net, shape: Shape, full: Net, full_shape: Shape) -> Net:
    """The net with each SD of its initial weights times sqrt(fan-in in ``full`` / its own).

    The printed 0.01 holds for the printed sizes: a narrow net with small weights passes on no
    signal and does not train. ``full`` has layers of the same names.
    """
    fans = {row.layer.name: row.fan_in for row in trace(full, full_shape)}
    return tuple(
        replace(row.layer, std=row.layer.std * sqrt(fans[row.layer.name] / row.fan_in))
        if isinstance(row.layer, Conv | Linear)
        else row.layer
        for row in trace(net, shape)
    )
