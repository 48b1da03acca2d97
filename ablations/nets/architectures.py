"""Nets as data: each is a list of layers, and a new net is a new list."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from ablations.nets.spec import (
    LRN,
    Activation,
    Conv,
    Dropout,
    Layer,
    Learning,
    Linear,
    Net,
    Pool,
    Weighted,
)


@dataclass(frozen=True)
class Stem:
    """How AlexNet's first two layers meet an image of a given size.

    Attributes:
        largest: the largest image, in pixels a side, that this stem is for.
        conv1: kernel, stride and padding of the first layer.
        conv2: kernel and padding of the second.
        plain_padding: paddings by layer name that go with 2x2 pooling whose last window may hang
            over the edge; empty where plain pooling drops that window and needs no other padding.
    """

    largest: int
    conv1: tuple[int, int, int | tuple[int, int, int, int]]
    conv2: tuple[int, int] = (5, 2)
    plain_padding: dict[str, int] = field(default_factory=dict)


_NET_147 = {"conv2": 1, "conv5": 0}

STEMS = (
    Stem(15, conv1=(3, 1, 1), conv2=(3, 1)),
    Stem(47, conv1=(5, 1, 2)),
    Stem(111, conv1=(7, 2, 3)),
    Stem(223, conv1=(11, 4, 0)),
    # 224 pixels give the printed 55x55 maps only with three more on the right and bottom
    Stem(224, conv1=(11, 4, (0, 3, 0, 3)), plain_padding=_NET_147),
    Stem(227, conv1=(11, 4, 0), plain_padding=_NET_147),
    Stem(1_000_000, conv1=(11, 4, 0)),
)


def stem_for(image_size: int) -> Stem:
    """The stem for square images of ``image_size`` pixels a side."""
    return next(stem for stem in STEMS if image_size <= stem.largest)


def alexnet(num_classes: int, stem: Stem) -> Net:
    """AlexNet on two columns as printed (Krizhevsky et al. 2012, sections 3.5 and 5)."""
    kernel1, stride1, padding1 = stem.conv1
    kernel2, padding2 = stem.conv2
    return (
        Conv("conv1", 96, kernel1, stride=stride1, padding=padding1),
        Activation("relu1"),
        LRN("lrn1", columns=2),
        Pool("pool1"),
        Conv("conv2", 256, kernel2, padding=padding2, columns=2, bias=1.0),
        Activation("relu2"),
        LRN("lrn2", columns=2),
        Pool("pool2"),
        Conv("conv3", 384, 3, padding=1),
        Activation("relu3"),
        Conv("conv4", 384, 3, padding=1, columns=2, bias=1.0),
        Activation("relu4"),
        Conv("conv5", 256, 3, padding=1, columns=2, bias=1.0),
        Activation("relu5"),
        Pool("pool5"),
        Linear("fc6", 4096, bias=1.0),
        Activation("relu6"),
        Dropout("drop6"),
        Linear("fc7", 4096, bias=1.0),
        Activation("relu7"),
        Dropout("drop7"),
        Linear("fc8", num_classes),
    )


def with_sixth_conv(net: Net) -> Net:
    """AlexNet with a sixth convolution over the last pooling layer (net 146, section 6)."""
    place = [layer.name for layer in net].index("fc6")
    sixth = (Conv("conv6", 256, 3, padding=1, bias=1.0), Activation("relu_conv6"))
    return (*net[:place], *sixth, *net[place:])


def as_run(net: Net) -> Net:
    """The printed AlexNet as the authors' code had it (layer files 145 and 146).

    - initial weights of conv3 to conv6 with an SD of 0.03
    - the ReLUs of conv1 and conv5 on the pooled maps: LRN sees conv1 before its ReLU
    - LRN with alpha / n, and another normalisation, within the map, after that of conv2
    - biases at twice the rate of the weights, without weight decay and without the drops
    """
    learning = Learning(bias_rate=2.0, bias_decay=0.0, bias_drops=False)

    def ran(layer: Layer) -> Layer:
        if isinstance(layer, Weighted):
            wide = layer.name in ("conv3", "conv4", "conv5", "conv6")
            return replace(layer, std=0.03 if wide else layer.std, learning=learning)
        return replace(layer, formula="as-run") if isinstance(layer, LRN) else layer

    late = {layer.name: layer for layer in net if layer.name in ("relu1", "relu5")}
    layers: list[Layer] = []
    for layer in map(ran, net):
        if layer.name not in late:
            layers.append(layer)
        if layer.name in ("pool1", "pool5"):
            layers.append(late[f"relu{layer.name[-1]}"])
        if layer.name == "lrn2":
            layers.append(LRN("cnorm2", 5, 1.0, 1e-3, 0.75, "as-run", 2, "map"))
    return tuple(layers)


CudaConvnetName = Literal["80sec", "18pct", "13pct", "11pct", "fig1"]


@dataclass(frozen=True)
class Training:
    """How long and on what one of cuda-convnet's nets was trained.

    Attributes:
        image_size: pixels a side of what it reads; 24 are crops of CIFAR-10's 32.
        epochs: all of them.
        milestones: epochs after which the rate is divided by 10.
    """

    image_size: int
    epochs: int
    milestones: tuple[int, ...]


TRAINING: dict[CudaConvnetName, Training] = {
    # its file names the drop; two epochs more are what Caffe's cifar10_quick made of it
    "80sec": Training(32, 10, (8,)),
    "18pct": Training(32, 140, (120, 130)),
    "13pct": Training(24, 160, (140, 150)),
    "11pct": Training(24, 520, (500, 510)),
    "fig1": Training(32, 10, ()),
}


def cuda_convnet(name: CudaConvnetName, num_classes: int = 10) -> Net:
    """One of cuda-convnet's nets for CIFAR-10, named by its error or time (its example-layers).

    Decay factors are for a weight decay of 0.004. fig1 stands in for the paper's Figure 1, of
    which it says no more than four layers and no regularisation: 80sec without weight decay.
    """
    if name in ("13pct", "11pct"):
        return _local_net(num_classes, normalised=name == "11pct")
    plain = Learning(bias_rate=2.0, bias_decay=0.0, decay=float(name != "fig1"))
    layers: tuple[Layer, ...] = (
        Conv("conv1", 32, 5, padding=2, std=1e-4, learning=plain),
        Pool("pool1"),
        Activation("relu1"),
        Conv("conv2", 32, 5, padding=2, learning=plain),
        Activation("relu2"),
        Pool("pool2", mode="average"),
        Conv("conv3", 64, 5, padding=2, learning=plain),
        Activation("relu3"),
        Pool("pool3", mode="average"),
    )
    if name == "18pct":
        last = Linear("fc10", num_classes, learning=replace(plain, decay=250.0))
        first = LRN("lrn1", 3, 1.0, 5e-5, 0.75, "as-run", window="map")
        return (*layers[:3], first, *layers[3:6], replace(first, name="lrn2"), *layers[6:], last)
    full = replace(plain, decay=7.5 * plain.decay)
    return (
        *layers,
        Linear("fc64", 64, std=0.1, learning=full),
        Activation("relu64"),
        Linear("fc10", num_classes, std=0.1, learning=full),
    )


def _local_net(num_classes: int, *, normalised: bool) -> Net:
    """13pct, or with normalisation 11pct, whose first local layer is wider."""
    conv = Learning(bias_rate=2.0, bias_decay=0.0, bias_drops=False, decay=0.0)
    own = replace(conv, decay=1.0)
    local = Conv("local4", 32, 3, padding=1, std=0.04, learning=own, shared=False)
    lrn1 = LRN("lrn1", 9, 1.0, 1e-3, 0.75, "as-run")
    net: Net = (
        Conv("conv1", 64, 5, padding=2, std=1e-4, learning=conv),
        Activation("relu1"),
        Pool("pool1"),
        lrn1,
        Conv("conv2", 64, 5, padding=2, learning=conv),
        Activation("relu2"),
        replace(lrn1, name="lrn2"),
        Pool("pool2"),
        replace(local, name="local3", channels=64 if normalised else 32),
        Activation("relu3"),
        local,
        Activation("relu4"),
        Linear("fc10", num_classes, learning=replace(conv, decay=2.5 if normalised else 1.0)),
    )
    return net if normalised else tuple(layer for layer in net if not isinstance(layer, LRN))


def dan_net(num_classes: int = 10) -> Net:
    """Dan-net (Ciresan et al. 2011, arXiv:1102.0183) for CIFAR-10, its 100-map variant."""
    spread = 0.05 / 3**0.5  # the SD of U(-0.05, 0.05)
    convs: list[Layer] = []
    for number, side in ((1, 3), (2, 2), (3, 2)):
        convs += [
            Conv(f"conv{number}", 100, 3, std=spread, draw="uniform"),
            Activation(f"tanh{number}", "scaled-tanh"),
            Pool(f"pool{number}", side, side, ceil=False),
        ]
    return (
        *convs,
        Linear("fc4", 300, std=spread, draw="uniform"),
        Activation("tanh4", "scaled-tanh"),
        Linear("fc5", 100, std=spread, draw="uniform"),
        Activation("tanh5", "scaled-tanh"),
        Linear("fc6", num_classes, std=spread, draw="uniform"),
    )
