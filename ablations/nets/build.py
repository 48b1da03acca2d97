"""From spec to torch: one module, its initial weights keyed by seed and layer name."""

from __future__ import annotations

from collections import OrderedDict
from math import sqrt

import torch
from torch import nn

from ablations.nets.layers import ColumnLinear, KeyedDropout, LocallyConnected, ScaledTanh
from ablations.nets.norms import ContrastNorm, LocalResponseNorm, WithinMapNorm
from ablations.nets.spec import (
    LRN,
    Activation,
    BatchNorm,
    Contrast,
    Conv,
    Dropout,
    Linear,
    Net,
    Pool,
    Shape,
    Traced,
    Weighted,
    sides,
    trace,
)
from ablations.seeds import stream_seed

FUNCTIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "scaled-tanh": ScaledTanh,
}


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
        module = module_of(row, seed)
        if isinstance(row.layer, Weighted):
            _initialise(module, row.layer, seed)
        modules[row.layer.name] = module
    return nn.Sequential(modules)


def module_of(row: Traced, seed: int) -> nn.Module:
    """The layer as a module; weights of a layer that draws them are not set yet."""
    match row.layer:
        case Conv() as conv:
            padding = conv.padding if isinstance(conv.padding, int) else 0
            if not conv.shared:
                return LocallyConnected(row.reads, row.gives, conv.kernel, conv.stride, padding)
            # torch's own draws on the meta device cost nothing and move no random state
            module: nn.Module = nn.Conv2d(
                row.reads[0],
                conv.channels,
                conv.kernel,
                stride=conv.stride,
                padding=padding,
                groups=conv.columns,
                device="meta",
            )
            return module.to_empty(device="cpu")
        case Linear(columns=1) as linear:
            module = nn.Linear(row.fan_in, linear.features, device="meta")
            return module.to_empty(device="cpu")
        case Linear() as linear:
            return ColumnLinear(row.fan_in * linear.columns, linear.features, linear.columns)
        case Activation():
            return FUNCTIONS[row.layer.function]()
        case LRN(window="channels") as lrn:
            return LocalResponseNorm(lrn.size, lrn.k, lrn.a, lrn.beta, lrn.columns)
        case LRN() as lrn:
            return WithinMapNorm(lrn.size, lrn.k, lrn.a, lrn.beta)
        case Contrast() as contrast:
            return ContrastNorm(contrast.size, contrast.columns)
        case BatchNorm():
            return nn.BatchNorm2d(row.reads[0])
        case Pool(mode="max") as pool:
            return nn.MaxPool2d(pool.kernel, pool.stride, ceil_mode=pool.ceil)
        case Pool() as pool:
            return nn.AvgPool2d(pool.kernel, pool.stride, ceil_mode=pool.ceil)
        case Dropout() as dropout:
            return KeyedDropout(dropout.probability, dropout.name, seed)


def _initialise(module: nn.Module, layer: Weighted, seed: int) -> None:
    generator = torch.Generator().manual_seed(stream_seed(seed, "init", layer.name))
    weight, bias = module.get_parameter("weight"), module.get_parameter("bias")
    if layer.draw == "normal":
        nn.init.normal_(weight, 0.0, layer.std, generator=generator)
    else:
        bound = sqrt(3) * layer.std
        nn.init.uniform_(weight, -bound, bound, generator=generator)
    nn.init.constant_(bias, layer.bias)
