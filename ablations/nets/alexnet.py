"""AlexNet with a switch for each feature that its paper argues for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ablations.nets import switches
from ablations.nets.architectures import Stem, alexnet, as_run, stem_for, with_sixth_conv
from ablations.nets.classifier import Classifier
from ablations.nets.spec import Function, Net

LAB_NOTES = (25, 51, 79)
"""When the authors divided the rate of net 145 by 10, on ILSVRC-2012; they stopped at 91."""


def spec(
    num_classes: int,
    image_size: int,
    channels: int = 3,
    width: float = 1.0,
    activation: Function = "relu",
    lrn: bool | switches.Level = True,
    lrn_constants: switches.LRNConstants | None = None,
    pooling: switches.Pooling = "overlapping",
    dropout: float = 0.5,
    connectivity: switches.Connectivity = "two-column",
    without: Sequence[str] = (),
    biases_of_one: bool = True,
    sixth_conv: bool = False,
    recipe: Literal["printed", "as-run"] = "printed",
) -> Net:
    """The layers of `AlexNet` with the same arguments.

    Raises:
        ValueError: an argument is out of range, or the layers do not fit each other.
    """

    def switched(stem: Stem) -> Net:
        net = alexnet(num_classes, stem)
        if sixth_conv:
            net = with_sixth_conv(net)
        if recipe == "as-run":
            net = as_run(net)
        net = switches.connect(net, connectivity)
        if not biases_of_one:
            net = switches.with_zero_biases(net)
        padding = stem.plain_padding
        return switches.switched(
            net, activation, lrn, lrn_constants, pooling, dropout, without, padding
        )

    net = switches.widened(switched(stem_for(image_size)), width)
    full = switched(stem_for(224))
    shape = (channels, image_size, image_size)
    return switches.with_scaled_init(net, shape, full, (3, 224, 224))


class AlexNet(Classifier):
    """AlexNet (Krizhevsky, Sutskever and Hinton 2012), for images of any size.

    At 224 pixels and width 1 it is the printed net, 60,965,224 parameters with 1000 classes.
    Smaller images meet smaller kernels and strides in the first two layers; at less than full
    width or size the SD of a layer's initial weights grows by sqrt(full fan-in / fan-in).
    Pixels are expected from 0 to 255 less their training mean, the scale that the constants of
    local response normalisation suppose.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        image_size: int = 224,
        channels: int = 3,
        width: float = 1.0,
        activation: Function = "relu",
        lrn: bool | switches.Level = True,
        lrn_constants: switches.LRNConstants | None = None,
        pooling: switches.Pooling = "overlapping",
        dropout: float = 0.5,
        pca_colour: bool = True,
        connectivity: switches.Connectivity = "two-column",
        without: Sequence[str] = (),
        biases_of_one: bool = True,
        sixth_conv: bool = False,
        recipe: Literal["printed", "as-run"] = "printed",
        milestones: Sequence[int] | None = None,
        **training: Any,
    ) -> None:
        """Build the net.

        Args:
            num_classes: outputs of the last layer.
            image_size: pixels a side.
            channels: 3 for colour, 1 for grey.
            width: factor on the channels and features of every layer but the last.
            activation: the nonlinearity of every layer but the last (section 3.1).
            lrn: local response normalisation after the first two layers (section 3.3), or another
                normalisation in its place; see `switches.with_norm`.
            lrn_constants: constants of local response normalisation in place of the recipe's:
                formula, n, k, alpha, beta, across.
            pooling: 3x3 windows at stride 2, or 2x2 that do not overlap, on maps of the same
                sizes (section 3.4).
            dropout: the probability in the first two fully connected layers, 0 for none
                (section 4.2).
            pca_colour: shift the colours of training images along their principal components
                (section 4.1). The data module does it on whole batches and reads this switch as
                `trainer.lightning_module.pca_colour`; it stands here so that all the features
                of the paper are switches of one class. Grey images have no colour to shift.
            connectivity: two-column joins the columns where the paper does, independent only in
                the last layer, dense everywhere; half is the one-GPU net (sections 3.2, 3.5).
            without: names of layers to leave out, conv1 to conv5, fc6 and fc7, each with its
                activation and dropout (section 7); also single ones, such as lrn1.
            biases_of_one: initial biases of 1 in conv2, conv4, conv5, fc6 and fc7, else of 0.
                They give ReLUs positive inputs (section 5) and saturate the other activations.
            sixth_conv: another convolution over the last pooling layer, as in the nets that the
                paper pretrained (section 6).
            recipe: the net as the paper prints it, or as the authors' code ran it: other initial
                weights, normalisation and rates of biases; see `architectures.as_run`. The
                printed initial weights take thousands of steps to get going.
            milestones: epochs at which a fixed schedule divides the rate by 10; by default those
                of the authors' lab notes, 25, 51 and 79.
            **training: what `Classifier` takes.
        """
        net = spec(
            num_classes,
            image_size,
            channels,
            width,
            activation,
            lrn,
            lrn_constants,
            pooling,
            dropout,
            connectivity,
            without,
            biases_of_one,
            sixth_conv,
            recipe,
        )
        super().__init__(
            net,
            (channels, image_size, image_size),
            milestones=LAB_NOTES if milestones is None else milestones,
            **training,
        )
        # a checkpoint holds all weights: whoever loads it needs no other file
        self.save_hyperparameters(ignore=["init_from"])
        self.pca_colour = pca_colour
