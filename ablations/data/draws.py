"""Random draws by counter: a draw depends on its key alone, not on what was drawn before it.

The generator is SplitMix64 (Steele, Lea and Flood 2014, DOI 10.1145/2660193.2660195), whose n-th
output is a hash of seed and n. In int64 arithmetic it gives the same bits on every device, so that
an image's draws do not depend on batch size, workers, ranks or device.
"""

import math

import torch
from torch import Tensor

from ablations.seeds import stream_seed

_STEP = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Logical right shift (that of int64 tensors copies the sign)."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def bits(seed: int, counters: Tensor) -> Tensor:
    """64 random bits for each counter: output number ``counter`` of SplitMix64 from ``seed``.

    Args:
        seed: A number from 0 to 2**63 - 1.
        counters: int64, any shape.
    """
    z = counters * _STEP + seed
    z = (z ^ _shifted(z, 30)) * _MIX_1
    z = (z ^ _shifted(z, 27)) * _MIX_2
    return z ^ _shifted(z, 31)


def _sample_bits(seed: int, epoch: int, samples: Tensor, draw: str, count: int) -> Tensor:
    """Random bits (B, count) of the draw of that name, for each sample in this epoch."""
    columns = torch.arange(1, count + 1, device=samples.device)
    return bits(stream_seed(seed, draw, epoch), samples[:, None] * count + columns)


def uniforms(seed: int, epoch: int, samples: Tensor, draw: str, count: int = 1) -> Tensor:
    """float32 numbers (B, count), uniform on [0, 1) in steps of 2**-24.

    Args:
        seed: The trial's seed.
        epoch: Which presentation of the samples.
        samples: int64 (B,), the samples' indices in their data set.
        draw: The draw's name; draws of different names are independent.
        count: How many numbers each sample gets.
    """
    return _shifted(_sample_bits(seed, epoch, samples, draw, count), 40).float() * 2.0**-24


def normals(seed: int, epoch: int, samples: Tensor, draw: str, count: int = 1) -> Tensor:
    """float32 standard normal numbers (B, count), of at most 5.4; arguments as in `uniforms`."""
    centred = _shifted(_sample_bits(seed, epoch, samples, draw, count), 40) - 2**23
    # in float64, so that the last bit does not depend on the device or the place in the batch
    return (torch.erfinv((centred.double() + 0.5) * 2.0**-23) * math.sqrt(2)).float()


def integers(seed: int, epoch: int, samples: Tensor, draw: str, below: int) -> Tensor:
    """int64 numbers (B,), uniform on 0 .. below - 1; arguments as in `uniforms`."""
    return (_shifted(_sample_bits(seed, epoch, samples, draw, 1)[:, 0], 32) * below) >> 32


def shuffle(samples: Tensor, *key: int | str) -> Tensor:
    """Positions (N,) that put samples (N,) in the random order of that key.

    Two samples keep their relative order whatever other samples are there.
    """
    return bits(stream_seed(*key), samples + 1).argsort(stable=True)
