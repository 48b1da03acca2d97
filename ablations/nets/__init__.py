"""AlexNet and its kin, as Lightning modules to be named in a config by class path."""

from ablations.nets.alexnet import AlexNet

__all__ = ["AlexNet"]
