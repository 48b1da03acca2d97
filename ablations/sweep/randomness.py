"""Common random numbers for modules that know nothing of them, and a clean slate per trial."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler

from ablations.seeds import stream_seed
from ablations.sweep.process import keep_freed_memory


def reset_torch(threads: int) -> None:
    """Undo the global switches that an earlier trial of this process may have set."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_float32_matmul_precision("highest")
    torch.set_grad_enabled(True)
    torch.set_anomaly_enabled(False)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = False
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def reseed(*key: int | str) -> None:
    """Seed python, numpy and torch by a key."""
    seed = stream_seed(*key)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if _beside_the_cpu():
        torch.manual_seed(seed)
    else:  # which for devices not in use queues the seed with a stack trace: a millisecond and more
        torch.default_generator.manual_seed(seed)


def _beside_the_cpu() -> bool:
    """Whether this process uses a device that has random streams of its own."""
    if not torch.accelerator.is_available():
        return False
    module = torch.get_device_module(torch.accelerator.current_accelerator())
    return bool(getattr(module, "is_initialized", lambda: True)())


class EpochOrder(DistributedSampler[int]):
    """A random order of examples that depends on seed and epoch alone, dealt out among ranks.

    Being a DistributedSampler, it is what Lightning expects where there are several ranks.

    Args:
        length: Number of examples drawn in an epoch, without replacement.
        seed: The trial's seed.
        epoch: The epoch to start with.
        skip: This rank's examples of the first epoch that were seen before an interruption.
        rank: Which of the ranks this is.
        world: How many ranks there are; the last examples are the first again where they are short.
    """

    def __init__(
        self, length: int, seed: int, epoch: int = 0, skip: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        super().__init__(range(length), num_replicas=world, rank=rank, seed=seed)  # type: ignore[arg-type]
        self.length = length
        self.epoch = epoch
        self.skip = skip

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(stream_seed(self.seed, "order", self.epoch))
        order = torch.randperm(self.length, generator=generator).tolist()
        skip, self.skip = self.skip, 0
        order += order[: -self.length % self.num_replicas]
        yield from order[self.rank :: self.num_replicas][skip:]


def give_common_order(
    loader: Any, seed: int, epoch: int, batches_seen: int, rank: int = 0, world: int = 1
) -> None:
    """Make a shuffling DataLoader draw its order by seed and epoch.

    Loaders of another kind, and samplers with a logic of their own, are left alone.
    """
    if not isinstance(loader, DataLoader) or not isinstance(loader.batch_sampler, BatchSampler):
        return
    sampler = loader.batch_sampler.sampler
    if type(sampler) is not RandomSampler or sampler.replacement:
        return
    size = loader.batch_sampler.batch_size
    order = EpochOrder(len(sampler), seed, epoch, batches_seen * size, rank, world)
    loader.batch_sampler.sampler = order
    # A DataLoader forbids to set it; Lightning puts an order of its own in any other's place.
    loader.__dict__["sampler"] = order
    if loader.generator is None:
        # Without one, each epoch draws the workers' base seed from the global stream.
        loader.generator = torch.Generator().manual_seed(stream_seed(seed, "workers"))
