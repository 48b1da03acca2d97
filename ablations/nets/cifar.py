"""AlexNet's kin of 2010 to 2012, for images of CIFAR-10's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ablations.nets import switches
from ablations.nets.architectures import TRAINING, CudaConvnetName, cuda_convnet, dan_net
from ablations.nets.classifier import Classifier
from ablations.nets.spec import Function, Net


class Kin(Classifier):
    """A net made for one size of image, with the switches that AlexNet has too."""

    def __init__(
        self,
        net: Net,
        full_size: int,
        *,
        image_size: int | None = None,
        channels: int = 3,
        width: float = 1.0,
        activation: Function = "relu",
        lrn: bool | switches.Level = True,
        lrn_constants: switches.LRNConstants | None = None,
        pooling: switches.Pooling = "overlapping",
        dropout: float = 0.0,
        without: Sequence[str] = (),
        **training: Any,
    ) -> None:
        """Switch the net and build it.

        Args:
            net: its layers as documented.
            full_size: pixels a side of the images that it was made for.
            image_size: pixels a side, where they are others.
            channels: 3 for colour, 1 for grey.
            width: factor on the channels and features of every layer but the last.
            activation: the nonlinearity of every layer but the last.
            lrn: the net's own normalisation, if it has any, or another one; see
                `switches.with_norm`.
            lrn_constants: constants of local response normalisation in place of the net's own:
                formula, n, k, alpha, beta, across.
            pooling: 3x3 windows at stride 2, or 2x2 that do not overlap.
            dropout: the probability before the last layer; these nets had none.
            without: names of layers to leave out, each with its activation and dropout.
            **training: what `Classifier` takes.

        Raises:
            ValueError: an argument is out of range, or the layers do not fit each other.
        """
        net = switches.switched(net, activation, lrn, lrn_constants, pooling, dropout, without)
        side = image_size or full_size
        full = (3, full_size, full_size)
        shape = (channels, side, side)
        scaled = switches.with_scaled_init(switches.widened(net, width), shape, net, full)
        super().__init__(scaled, shape, **training)


class CudaConvnet(Kin):
    """cuda-convnet's nets for CIFAR-10 (Krizhevsky 2011), each with its own recipe.

    Pixels are expected from 0 to 255 less their training mean. 13pct and 11pct read crops of 24
    pixels, mirrored at random in training and seen as ten views in testing.
    """

    def __init__(
        self,
        name: CudaConvnetName = "80sec",
        num_classes: int = 10,
        learning_rate: float = 0.001,
        weight_decay: float = 0.004,
        schedule: Literal["plateau", "fixed"] = "fixed",
        milestones: Sequence[int] | None = None,
        **switches: Any,
    ) -> None:
        """Build a net.

        Args:
            name: which one; fig1 stands in for the net of the paper's Figure 1.
            num_classes: outputs of the last layer.
            learning_rate: of the weights; biases learn at twice the rate.
            weight_decay: of the weights of convolutions in 80sec and 18pct, and of local layers;
                others have multiples of it, as documented, and biases have none.
            schedule: fixed divides the rate by 10 at the milestones, plateau at most three times,
                when the validation error stops improving.
            milestones: epochs at which fixed acts; by default those of the net.
            **switches: what `Kin` and `Classifier` take.

        Raises:
            ValueError: there is no net of that name.
        """
        if name not in TRAINING:
            raise ValueError(f"name: {name!r} is none of {', '.join(TRAINING)}")
        super().__init__(
            cuda_convnet(name, num_classes),
            TRAINING[name].image_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule=schedule,
            milestones=TRAINING[name].milestones if milestones is None else milestones,
            **switches,
        )
        self.save_hyperparameters(ignore=["init_from"])


class DanNet(Kin):
    """Dan-net (Ciresan et al. 2011, arXiv:1102.0183): 244,410 parameters for CIFAR-10.

    It was trained online, an image a step, without momentum or weight decay.
    """

    def __init__(
        self,
        num_classes: int = 10,
        activation: Function = "scaled-tanh",
        learning_rate: float = 0.001,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        **switches: Any,
    ) -> None:
        """Build the net; its arguments are those of `Kin` and `Classifier`, with other defaults."""
        super().__init__(
            dan_net(num_classes),
            32,
            activation=activation,
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            **switches,
        )
        self.save_hyperparameters(ignore=["init_from"])
