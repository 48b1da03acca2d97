"""Weights from elsewhere: another trial's checkpoint, or torchvision's released AlexNet."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

import torch
from torch import Tensor, nn

from ablations.nets.spec import Net

TORCHVISION = {
    "features.0": "conv1",
    "features.3": "conv2",
    "features.6": "conv3",
    "features.8": "conv4",
    "features.10": "conv5",
    "classifier.1": "fc6",
    "classifier.4": "fc7",
    "classifier.6": "fc8",
}
"""The layers of torchvision's AlexNet, by the names that they have here."""


def load_into(
    network: nn.Module, net: Net, path: str | PathLike[str], *, except_head: bool = True
) -> None:
    """Copy weights from a file into a network built from ``net``.

    Args:
        network: takes the weights.
        net: its layers; the last one is the head.
        path: a Lightning checkpoint of a `Classifier`, or a saved state dict of one or of its
            network. It is read with ``weights_only``.
        except_head: leave the head as it was initialised.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: but for the head, a name or shape in the file is not that of the network.
    """
    saved = torch.load(path, map_location="cpu", weights_only=True)
    saved = {key.removeprefix("network."): v for key, v in saved.get("state_dict", saved).items()}
    wanted = network.state_dict()
    head = f"{net[-1].name}."
    if except_head:
        saved = {key: value for key, value in saved.items() if not key.startswith(head)}
        saved |= {key: value for key, value in wanted.items() if key.startswith(head)}
    differ = [
        f"{key} is {'x'.join(map(str, saved[key].shape))} there, "
        f"{'x'.join(map(str, wanted[key].shape))} here"
        for key in wanted.keys() & saved.keys()
        if saved[key].shape != wanted[key].shape
    ]
    differ += [f"{key} is missing there" for key in wanted.keys() - saved.keys()]
    differ += [f"{key} is not in this net" for key in saved.keys() - wanted.keys()]
    if differ:
        raise ValueError(f"{path} does not fit: {'; '.join(sorted(differ))}")
    network.load_state_dict(saved)


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of torchvision's AlexNet with the names of a network built here.

    Raises:
        KeyError: a name is not of that net.
    """
    renamed = {}
    for key, value in state.items():
        layer, _, leaf = key.rpartition(".")
        renamed[f"{TORCHVISION[layer]}.{leaf}"] = value
    return renamed
