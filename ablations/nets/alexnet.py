"""AlexNet with a switch for each feature that its paper argues for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ablations.nets import switches
from ablations.nets.architectures import AS_RUN_STDS, Stem, alexnet, stem_for
from ablations.nets.classifier import Classifier
from ablations.nets.spec import Function, Net


def spec(
    num_classes: int,
    image_size: int,
    channels: int = 3,
    width: float = 1.0,
    activation: Function = "relu",
    lrn: bool = True,
    pooling: Literal["overlapping", "plain"] = "overlapping",
    dropout: float = 0.5,
    connectivity: switches.Connectivity = "two-column",
    without: Sequence[str] = (),
    biases_of_one: bool = True,
    init: Literal["printed", "as-run"] = "printed",
) -> Net:
    """The layers of `AlexNet` with the same arguments.

    Raises:
        ValueError: an argument is out of range, or the layers do not fit each other.
    """

    def switched(stem: Stem) -> Net:
        net = switches.connect(alexnet(num_classes, stem), connectivity)
        net = switches.with_activation(net, activation)
        net = switches.with_dropout(net, dropout)
        if init == "as-run":
            net = switches.with_stds(net, AS_RUN_STDS)
        if not biases_of_one:
            net = switches.with_zero_biases(net)
        if not lrn:
            net = switches.without_lrn(net)
        if pooling == "plain":
            net = switches.plain_pooling(net, stem.plain_padding)
        return switches.without(net, without)

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
        activation: Literal["relu", "tanh", "sigmoid"] = "relu",
        lrn: bool = True,
        pooling: Literal["overlapping", "plain"] = "overlapping",
        dropout: float = 0.5,
        pca_colour: bool = True,
        connectivity: Literal["two-column", "independent", "dense", "half"] = "two-column",
        without: Sequence[str] = (),
        biases_of_one: bool = True,
        init: Literal["printed", "as-run"] = "printed",
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 0.0005,
        schedule: Literal["plateau", "fixed"] = "plateau",
        patience: int = 5,
        milestones: Sequence[int] = (),
    ) -> None:
        """Build the net.

        Args:
            num_classes: outputs of the last layer.
            image_size: pixels a side.
            channels: 3 for colour, 1 for grey.
            width: factor on the channels and features of every layer but the last.
            activation: the nonlinearity of every layer but the last (section 3.1).
            lrn: local response normalisation after the first two layers (section 3.3).
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
            init: SD of the initial weights: 0.01 as printed, or as run by the authors' code, with
                0.03 in conv3 to conv5. The printed one takes thousands of steps to get going.
            learning_rate: the first one; a schedule divides it by 10.
            momentum: of SGD.
            weight_decay: of SGD, on weights and biases, times the learning rate.
            schedule: plateau divides the rate by 10, at most three times, when the validation
                error stops improving; fixed divides it at the milestones.
            patience: epochs without a better validation error before plateau acts.
            milestones: epochs at which fixed acts; none leaves the rate as it is.
        """
        net = spec(
            num_classes,
            image_size,
            channels,
            width,
            activation,
            lrn,
            pooling,
            dropout,
            connectivity,
            without,
            biases_of_one,
            init,
        )
        super().__init__(
            net,
            (channels, image_size, image_size),
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            schedule=schedule,
            patience=patience,
            milestones=milestones,
        )
        self.save_hyperparameters()
        self.pca_colour = pca_colour
