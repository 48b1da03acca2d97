"""Ablations as small pure functions from net to net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from math import sqrt
from typing import Any, Literal, TypedDict, get_args

from ablations.nets.spec import (
    LRN,
    Activation,
    BatchNorm,
    Contrast,
    Conv,
    Dropout,
    Formula,
    Function,
    Layer,
    Linear,
    Net,
    Norm,
    Pool,
    Shape,
    Weighted,
    trace,
)

Level = Literal["channel", "within-map", "contrast", "batch"]
Pooling = Literal["overlapping", "plain"]
Connectivity = Literal["two-column", "independent", "dense", "half"]


class LRNConstants(TypedDict, total=False):
    """Constants of local response normalisation, each in place of a net's own.

    ``formula`` is printed (alpha times the sum) or as-run (alpha / units in the window), ``n``
    the window's size, ``across`` whether the window reaches from one column into the other.
    """

    formula: Formula
    n: int
    k: float
    alpha: float
    beta: float
    across: bool


def switched(
    net: Net,
    activation: Function,
    lrn: bool | Level,
    lrn_constants: LRNConstants | None,
    pooling: Pooling,
    dropout: float,
    without_layers: Sequence[str],
    plain_padding: Mapping[str, int] | None = None,
) -> Net:
    """The net with the switches that every net here has.

    Raises:
        ValueError: an argument is out of range.
    """
    net = with_activation(net, activation)
    net = with_norm(with_dropout(net, dropout), lrn, lrn_constants)
    if pooling == "plain":
        net = plain_pooling(net, plain_padding or {})
    return without(net, without_layers)


def with_activation(net: Net, function: Function) -> Net:
    """The net with another nonlinearity everywhere (section 3.1)."""
    if function not in get_args(Function):
        raise ValueError(f"activation: {function!r} is none of {', '.join(get_args(Function))}")
    return tuple(
        replace(layer, function=function) if isinstance(layer, Activation) else layer
        for layer in net
    )


def with_zero_biases(net: Net) -> Net:
    """The net without the initial biases of one, which give ReLUs positive inputs (section 5)."""
    return tuple(
        replace(layer, bias=0.0) if isinstance(layer, Weighted) else layer for layer in net
    )


def with_norm(net: Net, lrn: bool | Level, constants: LRNConstants | None = None) -> Net:
    """The net with other normalisation, or none (section 3.3).

    True keeps the net's own layers, False takes them out. A level puts its layer in the place of
    each, of the first of several in a row; in a net without any, in front of its second and third
    layers with weights:

    - channel: local response normalisation, with the net's own constants or else AlexNet's
    - within-map: that of cuda-convnet within a map, with the net's own constants or else those
      of the authors' AlexNet (5 by 5, k 1, alpha 0.001 / 25, beta 0.75)
    - contrast: local contrast normalisation
    - batch: batch normalisation

    ``constants`` go to all layers of the kind that the first one is of.

    Raises:
        ValueError: there is nothing to take out, or nothing that takes constants.
    """
    if lrn is True:
        chosen = net
    elif lrn is False:
        chosen = tuple(layer for layer in net if not isinstance(layer, Norm))
        if chosen == net:
            raise ValueError("lrn: false takes nothing out of a net without normalisation")
    elif lrn in get_args(Level):
        chosen = _with_level(net, lrn)
    else:
        raise ValueError(f"lrn: {lrn!r} is neither a bool nor one of {', '.join(get_args(Level))}")
    if not constants:
        return chosen
    windows = [layer.window for layer in chosen if isinstance(layer, LRN)]
    if not windows:
        raise ValueError("lrn_constants: the net has no local response normalisation")
    fields: dict[str, Any] = {
        {"n": "size"}.get(key, key): value for key, value in constants.items() if key != "across"
    }
    if constants.get("across"):
        fields["columns"] = 1
    return tuple(
        replace(layer, **fields) if isinstance(layer, LRN) and layer.window == windows[0] else layer
        for layer in chosen
    )


def _with_level(net: Net, level: Level) -> Net:
    layers: list[Layer] = []
    for layer in net if any(isinstance(layer, Norm) for layer in net) else _with_places(net):
        if not isinstance(layer, Norm):
            layers.append(layer)
        elif not isinstance(layers[-1], Norm):
            layers.append(_norm_like(layer, level))
    return tuple(layers)


def _with_places(net: Net) -> Net:
    second, third = [i for i, layer in enumerate(net) if isinstance(layer, Weighted)][1:3]
    return (*net[:second], LRN("lrn1"), *net[second:third], LRN("lrn2"), *net[third:])


def _norm_like(own: Norm, level: Level) -> Norm:
    columns = 1 if isinstance(own, BatchNorm) else own.columns
    if level == "contrast":
        return Contrast(own.name, columns=columns)
    if level == "batch":
        return BatchNorm(own.name)
    window: Literal["channels", "map"] = "channels" if level == "channel" else "map"
    if isinstance(own, LRN) and own.window == window:
        return own
    if window == "channels":
        return LRN(own.name, columns=columns)
    return LRN(own.name, 5, 1.0, 1e-3, 0.75, "as-run", columns, window)


def with_dropout(net: Net, probability: float) -> Net:
    """The net with another dropout probability; 0 takes the layers out (section 4.2).

    A net that has none gets one layer, in front of its last.

    Raises:
        ValueError: the probability is not in [0, 1).
    """
    if not 0 <= probability < 1:
        raise ValueError(f"dropout: a probability of {probability} is not in [0, 1)")
    if probability and not any(isinstance(layer, Dropout) for layer in net):
        return (*net[:-1], Dropout("drop", probability), net[-1])
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
        if isinstance(layer, Pool) and layer.kernel > layer.stride:
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
    if isinstance(layer, Conv | Linear | LRN | Contrast):
        return replace(layer, columns=columns)
    return layer


def without(net: Net, names: Sequence[str]) -> Net:
    """The net without the named layers (section 7 removes middle ones).

    A layer with weights takes along the activation and dropout on its outputs; pooling and
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
        if isinstance(layer, Weighted):
            dropping = layer.name in names
        gone = dropping and isinstance(layer, Weighted | Activation | Dropout)
        if not gone and layer.name not in names:
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
        if isinstance(row.layer, Weighted)
        else row.layer
        for row in trace(net, shape)
    )
