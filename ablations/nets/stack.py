"""K nets of one architecture as one: grouped convolutions and batched matrix products."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from graphlib import TopologicalSorter
from itertools import groupby, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablations.nets.classifier import Batch, Classifier
from ablations.nets.layers import ColumnLinear, KeyedDropout, LocallyConnected, ScaledTanh
from ablations.nets.norms import ContrastNorm, LocalResponseNorm, WithinMapNorm
from ablations.nets.ranges import Ranges
from ablations.nets.spec import BatchNorm, Weighted

# What does the same to (B, K x C, H, W) or (K, B, N) as to each of the K alone.
_ALIKE = (nn.ReLU, nn.Tanh, nn.Sigmoid, ScaledTanh, nn.MaxPool2d, nn.AvgPool2d, nn.ZeroPad2d)


class StackedClassifier(Classifier):
    """Classifiers with weights of the same shapes that learn alike, trained as one net.

    They may differ in their seeds, and in layers without weights: one that only some of them have,
    or with other constants. What is the same in neighbours is done at once, so give them by arm.
    A training batch is a tuple of one batch for each; images to be judged are the same for all.
    Each weight sees the gradient of its own loss alone, so that one whose loss is not finite leaves
    the others as they are. What the k-th would log as NAME is logged as ``k/NAME``; `test_step`
    returns a list of what each would.
    """

    def __init__(self, members: Sequence[Classifier]) -> None:
        """Copy the weights of ``members`` into one net.

        Raises:
            ValueError: They cannot be trained together; says why.
        """
        first = members[0]
        if first.schedule != "fixed":
            raise ValueError("a plateau lowers each seed's learning rate at a time of its own")
        if any(member.network._compiled_call_impl is not None for member in members):
            raise ValueError("the net is compiled")
        network = stacked([member.network for member in members])
        if any(_learning(member) != _learning(first) for member in members):
            raise ValueError("they learn at different rates")
        super().__init__(
            first.net,
            first.shape,
            learning_rate=first.learning_rate,
            momentum=first.momentum,
            weight_decay=first.weight_decay,
            schedule="fixed",
            milestones=first.milestones,
            channels_last=first.channels_last,
            fused_optimizer=True,  # K nets' weights do not stay in a cache from pass to pass
        )
        self.count = len(members)
        self.network = network
        if first.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._dropouts = [m for m in network.modules() if isinstance(m, _Dropouts)]  # type: ignore[misc]
        self.pca_colour = [getattr(member, "pca_colour", False) for member in members]

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, K x C, H, W), or (B, C, H, W) for all, to logits (K, B, classes)."""
        if images.shape[1] == self.shape[0]:
            images = images.repeat(1, self.count, 1, 1)
        return super().forward(images)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images = torch.cat([images for images, _ in batch], 1)
        labels = torch.stack([labels for _, labels in batch])
        return super().training_step((images, labels), batch_idx).sum()

    def test_step(self, batch: Batch, batch_idx: int) -> Any:
        told = super().test_step(batch, batch_idx)
        told["targets"] = told["targets"].expand(self.count, -1)
        return [{name: each[k] for name, each in told.items()} for k in range(self.count)]

    def on_test_epoch_start(self) -> None:
        self._ranges = Ranges(self.network, self.count)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        labels = labels.expand(logits.shape[:2])
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        return losses.view_as(labels).mean(1)

    def _tell(self, values: dict[str, Tensor]) -> None:
        told = {f"{k}/{name}": each[k] for name, each in values.items() for k in range(self.count)}
        self.log_dict(told)


def _learning(member: Classifier) -> list[Any]:
    names = "shape learning_rate momentum weight_decay schedule milestones channels_last"
    weighted = [layer for layer in member.net if isinstance(layer, Weighted | BatchNorm)]
    return [getattr(member, name) for name in names.split()] + [
        (layer.name, layer.learning) for layer in weighted
    ]


def stacked(networks: Sequence[nn.Module]) -> nn.Sequential:
    """One network of K, its layers named as theirs: (B, K x C, H, W) to (K, B, outputs).

    Raises:
        ValueError: A layer has no counterpart, or their layers come in different orders.
    """
    if not all(isinstance(network, nn.Sequential) for network in networks):
        raise ValueError("the net is on two devices")
    layers = [dict(network.named_children()) for network in networks]
    order = TopologicalSorter[str]()
    for own in layers:
        for before, name in pairwise(own):
            order.add(name, before)
    made = nn.Sequential()
    for name in order.static_order():
        made.add_module(name, _joined(name, [own.get(name) for own in layers]))
    return made.train(networks[0].training)


def _values(module: nn.Module | None) -> Hashable:
    """What layers have in common that are done at once."""
    if module is None:
        return None
    ours = ("training", "name", "seed", "step")
    values = {k: v for k, v in vars(module).items() if not k.startswith("_") and k not in ours}
    return type(module), str(values), *(parameter.shape for parameter in module.parameters())


def _joined(name: str, modules: list[Any], begin: int = 0) -> nn.Module:
    """The layers as one, of the nets from number ``begin`` on."""
    first, count = modules[0], len(modules)
    if len({_values(module) for module in modules}) > 1:
        if any(module is not None and list(module.parameters()) for module in modules):
            raise ValueError(f"{name} is not the same in each")
        return _Apart(name, modules)
    members = range(begin, begin + count)
    match first:
        case None:
            return nn.Identity()
        case nn.Conv2d():
            made = nn.Conv2d(
                first.in_channels * count,
                first.out_channels * count,
                first.kernel_size,  # type: ignore[arg-type]
                first.stride,  # type: ignore[arg-type]
                first.padding,  # type: ignore[arg-type]
                groups=first.groups * count,
                device="meta",
            ).to_empty(device="cpu")
            for leaf, parameter in made.named_parameters():
                parameter.data = torch.cat([m.get_parameter(leaf).detach() for m in modules])
            return made
        case nn.Linear() | ColumnLinear():
            return _Linears(modules)
        case LocallyConnected():
            return _Locals(modules)
        case LocalResponseNorm():
            constants = first.size, first.k, first.alpha, first.beta
            return _known(LocalResponseNorm(*constants, first.columns * count), members)
        case ContrastNorm():
            return ContrastNorm(first.size, first.columns * count)
        case WithinMapNorm():
            return _known(WithinMapNorm(first.size, first.k, first.alpha, first.beta), members)
        case KeyedDropout():
            return _Dropouts(modules)
        case nn.Flatten():
            return _Flatten(count)
        case nn.Module() if type(first) in _ALIKE:
            return first
    raise ValueError(f"{name} is a {type(first).__name__}, of which there is no stack")


def _known(norm: Any, members: range) -> nn.Module:
    """The layer, which tells `ranges.Ranges` whose it is."""
    norm.members = members
    made: nn.Module = norm
    return made


class _Apart(nn.Module):
    """K layers without weights that are not all alike: as many of them at once as are."""

    def __init__(self, name: str, modules: Sequence[nn.Module | None]) -> None:
        super().__init__()
        runs = [list(run) for _, run in groupby(modules, _values)]
        self.counts = [len(run) for run in runs]
        begins = [sum(self.counts[:at]) for at in range(len(runs))]
        joined = [_joined(name, run, begin) for run, begin in zip(runs, begins, strict=True)]
        self.parts = nn.ModuleList(joined)

    def forward(self, x: Tensor) -> Tensor:
        axis = 0 if x.ndim == 3 else 1
        each = x.shape[axis] // sum(self.counts)
        shares = torch.split(x, [each * count for count in self.counts], axis)
        return torch.cat([p(share) for p, share in zip(self.parts, shares, strict=True)], axis)


class _Linears(nn.Module):
    """K linear layers, of columns or not: (K, B, inputs) to (K, B, outputs)."""

    def __init__(self, layers: Sequence[nn.Linear | ColumnLinear]) -> None:
        super().__init__()
        self.count, self.columns = len(layers), getattr(layers[0], "columns", 1)
        weight = torch.cat([layer.weight.detach() for layer in layers])
        weight = weight.view(self.count * self.columns, -1, weight.shape[1]).transpose(1, 2)
        # (K x columns, inputs, outputs): the gradient then comes in the same layout
        self.weight = nn.Parameter(weight.contiguous())
        bias = torch.cat([layer.bias.detach() for layer in layers])
        self.bias = nn.Parameter(bias.view(len(weight), 1, -1))

    def forward(self, x: Tensor) -> Tensor:
        if self.columns == 1:
            return torch.baddbmm(self.bias, x, self.weight)
        shares = x.reshape(*x.shape[:2], self.columns, -1).transpose(1, 2).flatten(0, 1)
        out = torch.baddbmm(self.bias, shares, self.weight)
        return out.view(self.count, self.columns, *out.shape[1:]).transpose(1, 2).flatten(2)


class _Locals(nn.Module):
    """K locally connected layers: (B, K x C, H, W) to (B, K x outputs, H', W')."""

    def __init__(self, layers: Sequence[LocallyConnected]) -> None:
        super().__init__()
        self.like, self.count = layers[0], len(layers)
        self.weight = nn.Parameter(torch.cat([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.cat([layer.bias.detach() for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:
        one = self.like
        patches = F.unfold(x, one.kernel, padding=one.padding, stride=one.stride)
        patches = patches.view(len(x), self.count, -1, patches.shape[2]).permute(1, 3, 0, 2)
        units = torch.baddbmm(self.bias[:, None], patches.flatten(0, 1), self.weight.mT)
        units = units.view(*patches.shape[:3], -1).permute(2, 0, 3, 1)
        return units.reshape(len(x), -1, *one.gives[1:])


class _Dropouts(nn.Module):
    """K dropouts, each with the masks that it has alone."""

    def __init__(self, dropouts: Sequence[KeyedDropout]) -> None:
        super().__init__()
        self.dropouts = dropouts
        self.step: tuple[int, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        shares = x.unbind(0) if x.ndim == 3 else x.chunk(len(self.dropouts), 1)
        probability = self.dropouts[0].probability
        if not self.training:
            return x * (1 - probability)
        draws = [d.draws(one, self.step) for d, one in zip(self.dropouts, shares, strict=True)]
        joined = torch.stack(draws) if x.ndim == 3 else torch.cat(draws, 1)
        return x * joined.ge_(probability).to(x.dtype)


class _Flatten(nn.Module):
    """(B, K x C, H, W) to (K, B, C x H x W)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), self.count, -1, *x.shape[2:]).transpose(0, 1).flatten(2)
