"""From spec to torch: one module, its initial weights keyed by seed and layer name."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from ablations.nets.layers import ColumnLinear, KeyedDropout, LocalResponseNorm
from ablations.nets.spec import (
    LRN,
    Activation,
    Conv,
    Dropout,
    Linear,
    Net,
    Pool,
    Shape,
    Traced,
    sides,
    trace,
)
from ablations.seeds import stream_seed

FUNCTIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def build(net: Net, shape: Shape, seed: int) -> nn.Sequential:
    """The net for examples of ``shape``, as a Sequential that keeps the layers' names.

    Weights are drawn from a stream of their own for each layer, keyed (seed, "init", name): a
    layer that keeps its name, shape and SD keeps its weights bit for bit, whatever else changes.
    torch's global random state is neither read nor moved.

    Raises:
        ValueError: the net does not fit the shape (see `spec.trace`).
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for row in trace(net, shape):
        if isinstance(row.layer, Linear) and len(row.reads) > 1:
            modules["flatten"] = nn.Flatten()
        if isinstance(row.layer, Conv) and not isinstance(row.layer.padding, int):
            modules[f"{row.layer.name}_pad"] = nn.ZeroPad2d(sides(row.layer.padding))
        modules[row.layer.name] = _module(row, seed)
    return nn.Sequential(modules)


def _module(row: Traced, seed: int) -> nn.Module:
    match row.layer:
        case Conv() as conv:
            module: nn.Module = nn.Conv2d(
                row.reads[0],
                conv.channels,
                conv.kernel,
                stride=conv.stride,
                padding=conv.padding if isinstance(conv.padding, int) else 0,
                groups=conv.columns,
                device="meta",
            )
            return _initialised(module, conv, seed)
        case Linear(columns=1) as linear:
            module = nn.Linear(row.fan_in, linear.features, device="meta")
            return _initialised(module, linear, seed)
        case Linear() as linear:
            inputs = row.fan_in * linear.columns
            module = ColumnLinear(inputs, linear.features, linear.columns)
            return _initialised(module, linear, seed)
        case Activation():
            return FUNCTIONS[row.layer.function]()
        case LRN() as lrn:
            alpha = lrn.alpha if lrn.formula == "printed" else lrn.alpha / lrn.size
            return LocalResponseNorm(lrn.size, lrn.k, alpha, lrn.beta, lrn.columns)
        case Pool() as pool:
            return nn.MaxPool2d(pool.kernel, pool.stride, ceil_mode=pool.ceil)
        case Dropout():
            return KeyedDropout(row.layer.probability, row.layer.name, seed)


def _initialised(module: nn.Module, layer: Conv | Linear, seed: int) -> nn.Module:
    # torch's own draws never happened: on the meta device they cost nothing and move no state
    module.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(stream_seed(seed, "init", layer.name))
    weight, bias = module.get_parameter("weight"), module.get_parameter("bias")
    nn.init.normal_(weight, 0.0, layer.std, generator=generator)
    nn.init.constant_(bias, layer.bias)
    return module
