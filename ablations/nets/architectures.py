"""Nets as data: each is a list of layers, and a new net is a new list."""

from __future__ import annotations

from dataclasses import dataclass, field

from ablations.nets.spec import LRN, Activation, Conv, Dropout, Linear, Net, Pool


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

AS_RUN_STDS = {"conv3": 0.03, "conv4": 0.03, "conv5": 0.03}
"""Where the authors' code drew its initial weights from wider normals than the paper's 0.01."""


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
