"""AlexNet and its kin, as Lightning modules to be named in a config by class path."""

from ablations.nets.alexnet import AlexNet
from ablations.nets.cifar import CudaConvnet, DanNet
from ablations.nets.timing import StepTime

__all__ = ["AlexNet", "CudaConvnet", "DanNet", "StepTime"]
