"""A net of two columns on two devices: the paper's two GPUs (section 3.2)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from ablations.nets.build import module_of
from ablations.nets.layers import KeyedDropout
from ablations.nets.spec import (
    LRN,
    BatchNorm,
    Contrast,
    Conv,
    Layer,
    Linear,
    Net,
    Shape,
    Traced,
    Weighted,
    trace,
)


class Exchange(nn.Module):
    """Where activations cross: each device gets the maps of both columns."""

    def __init__(self, devices: Sequence[torch.device]) -> None:
        super().__init__()
        self.devices = tuple(devices)

    def forward(self, *halves: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            torch.cat([half.to(device) for half in halves], dim=1) for device in self.devices
        )


class TwoDevices(nn.Module):
    """A network whose layers are split by column over two devices; its last is on the first.

    Both columns read the image. A layer with ``columns=2`` in the spec reads its own column, any
    other what an `Exchange` in front of it brings. The state dict is that of the network on one
    device, either way; parameters are halves, so that optimizer states are not interchangeable.
    """

    def __init__(
        self, network: nn.Sequential, net: Net, shape: Shape, devices: Sequence[str]
    ) -> None:
        """Split a network that was built from ``net`` for examples of ``shape``.

        Raises:
            ValueError: there are not two devices, or a layer cannot be split.
        """
        super().__init__()
        if len(devices) != 2:
            raise ValueError(f"columns: expected two devices, got {len(devices)}")
        self.devices = tuple(torch.device(device) for device in devices)
        rows = {row.layer.name: row for row in trace(net, shape)}
        for name, module in network.named_children():
            row = rows.get(name)
            if row and _crosses(row) and name != net[0].name:
                readers = self.devices[:1] if name == net[-1].name else self.devices
                self.add_module(f"{name}_exchange", Exchange(readers))
            if name != net[-1].name:
                module = nn.ModuleList(_half(module, row, part) for part in (0, 1))
            self.add_module(name, module)
        self._halved = {n for n, child in self.named_children() if isinstance(child, nn.ModuleList)}
        self.register_state_dict_post_hook(_join_halves)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(  # type: ignore[no-untyped-call]
            _split_halves
        )
        self.load_state_dict(network.state_dict())
        self._apply(lambda tensor: tensor)

    def forward(self, x: Tensor) -> Tensor:
        """Examples on any device to outputs on the same."""
        halves = tuple(x.to(device) for device in self.devices)
        for module in self.children():
            if isinstance(module, Exchange):
                halves = module(*halves)
            elif isinstance(module, nn.ModuleList):
                halves = tuple(half(h) for half, h in zip(module, halves, strict=True))
            else:
                halves = (module(halves[0]),)
        return halves[0].to(x.device)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        # whoever moves a model to one device, as a Trainer does, leaves the columns on theirs
        for name, module in self.named_children():
            parts = module.children() if name in self._halved else [module]
            for part, device in zip(parts, self.devices, strict=False):
                part._apply(partial(_moved, fn, device))  # type: ignore[no-untyped-call]
        return self


def _moved(fn: Any, device: torch.device, tensor: Tensor) -> Tensor:
    return tensor.to(device, fn(torch.empty(0, dtype=tensor.dtype)).dtype)


def _crosses(row: Traced) -> bool:
    """Whether a layer with weights reads both columns."""
    return isinstance(row.layer, Weighted) and getattr(row.layer, "columns", 1) == 1


def _half(module: nn.Module, row: Traced | None, part: int) -> nn.Module:
    """One column's share of a module, its weights still to be set."""
    layer = row.layer if row else None
    half: Layer
    match layer:
        case Conv():
            half = replace(layer, channels=layer.channels // 2, columns=1)
        case Linear():
            half = replace(layer, features=layer.features // 2, columns=1)
        case LRN(columns=2) | Contrast(columns=2):
            half = replace(layer, columns=1)
        case BatchNorm():
            half = layer
        case LRN() | Contrast():
            raise ValueError(f"columns: {layer.name} cannot be split over two devices")
        case _:
            same = copy.deepcopy(module)
            if isinstance(same, KeyedDropout):
                same.share = (part, 2)
            return same
    assert row is not None
    channels = row.reads[0] if _crosses(row) else row.reads[0] // 2
    return module_of(replace(row, layer=half, reads=(channels, *row.reads[1:])), seed=0)


def _join_halves(
    module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    assert isinstance(module, TwoDevices)
    for key in [key for key in state if key.startswith(prefix)]:
        name, part, *rest = key.removeprefix(prefix).split(".")
        if name in module._halved and part == "0":
            leaf = ".".join(rest)
            first, second = state.pop(key), state.pop(f"{prefix}{name}.1.{leaf}")
            whole = torch.cat([first, second.to(first.device)]) if first.ndim else first
            state[f"{prefix}{name}.{leaf}"] = whole


def _split_halves(module: nn.Module, state: dict[str, Any], prefix: str, *unused: Any) -> None:
    assert isinstance(module, TwoDevices)
    for key in [key for key in state if key.startswith(prefix)]:
        name, _, leaf = key.removeprefix(prefix).partition(".")
        if name in module._halved:
            value = state.pop(key)
            parts = value.chunk(2) if value.ndim else (value, value)
            for part, half in enumerate(parts):
                state[f"{prefix}{name}.{part}.{leaf}"] = half
