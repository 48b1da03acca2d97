"""Local response normalisation: ours against torch's, the layer alone and in a step of AlexNet.

    python -m benchmarks.lrn --threads 2
    python -m benchmarks.lrn --compile
    python -m benchmarks.lrn --device cuda --batch 128

Both run in turn in one process, forward and backward; printed are the medians, and of the ratios
between neighbours in time the median with the quartiles. On a CPU of one thread the clock is the
processor's own. On a GPU the last column is ours as a share of a copy: bytes that five tensors take
(two read and one written backward, one and one forward) a second, to those of a copy in the same
run. torch does not expose cuDNN's normalisation. Results stand in docs/performance.md.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablations.nets import AlexNet
from ablations.nets.norms import LocalResponseNorm
from ablations.sweep.process import keep_freed_memory

SHAPES = {"conv1": (96, 55, 55), "conv2": (256, 27, 27)}  # of AlexNet, one column
SIZE, K, ALPHA, BETA = 5, 2.0, 1e-4, 0.75


class TorchNorm(nn.Module):
    """F.local_response_norm of each column, in the layer's place."""

    def __init__(self, ours: LocalResponseNorm) -> None:
        super().__init__()
        self.ours = ours

    def forward(self, x: Tensor) -> Tensor:
        o = self.ours
        parts = [
            F.local_response_norm(part, o.size, o.alpha * o.size, o.beta, o.k)
            for part in x.chunk(o.columns, dim=1)
        ]
        return torch.cat(parts, dim=1)


def interleaved(steps: Sequence[Callable[[], object]], rounds: int, device: str) -> np.ndarray:
    """Seconds, (rounds, steps); one round first to warm up."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    if torch.get_num_threads() > 1:
        clock = time.perf_counter
    seconds = np.empty((rounds + 1, len(steps)))
    for row in seconds:
        for at, step in enumerate(steps):
            start = clock()
            step()
            if device != "cpu":
                torch.cuda.synchronize()
            row[at] = clock() - start
    return seconds[1:]


def told(name: str, seconds: np.ndarray) -> str:
    theirs, ours = np.median(seconds, axis=0)[:2] * 1e3
    low, middle, high = np.quantile(seconds[:, 0] / seconds[:, 1], [0.25, 0.5, 0.75])
    return f"{name:24} {theirs:9.1f} {ours:9.1f} {middle:8.2f} ({low:.2f} to {high:.2f})"


def layer(
    shape: tuple[int, ...],
    asked: argparse.Namespace,
    dtype: torch.dtype,
    layout: torch.memory_format,
) -> list[Callable[[], Any]]:
    """Torch's, ours, and a copy of the tensor."""
    to = {"device": asked.device, "dtype": dtype, "memory_format": layout}
    x, given = (30 * torch.randn(asked.batch, *shape) for _ in range(2))
    x, given, kept = x.to(**to).requires_grad_(), given.to(**to), torch.empty_like(x.to(**to))
    ours = LocalResponseNorm(SIZE, K, ALPHA, BETA)
    norms: list[Callable[[Tensor], Tensor]] = [TorchNorm(ours), ours]
    if asked.compile:
        norms = [torch.compile(norm) for norm in norms]
    steps = [lambda norm=norm: torch.autograd.grad(norm(x), x, given) for norm in norms]
    return [*steps, lambda: kept.copy_(x.detach())]


def alexnet(batch: int, device: str) -> list[Callable[[], Any]]:
    images = 60 * torch.randn(batch, 3, 224, 224, device=device)
    labels = torch.zeros(batch, dtype=torch.long, device=device)
    ours, theirs = (AlexNet(num_classes=1000).to(device) for _ in range(2))
    for name, module in list(theirs.named_modules()):
        if isinstance(module, LocalResponseNorm):
            parent = theirs.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], TorchNorm(module))

    def step(net: nn.Module) -> None:
        net.zero_grad()
        F.cross_entropy(net(images), labels).backward()

    return [partial(step, net) for net in (theirs, ours)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--compile", action="store_true", help="both layers compiled, no net")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    keep_freed_memory()  # as workers do
    print(
        f"torch {torch.__version__}, {asked.device}, {asked.threads} threads, batch {asked.batch}"
    )
    print(f"{'':24} {'torch ms':>9} {'ours ms':>9} {'ratio':>8} (quartiles)")
    # torch's has no bfloat16 on a CPU
    dtypes = [torch.float32] + [torch.bfloat16] * (asked.device != "cpu")
    layouts = {"": torch.contiguous_format, " last": torch.channels_last}
    for (name, shape), dtype, last in itertools.product(SHAPES.items(), dtypes, layouts):
        seconds = interleaved(layer(shape, asked, dtype, layouts[last]), asked.rounds, asked.device)
        _, ours, copy = np.median(seconds, axis=0)
        share = "" if asked.device == "cpu" else f" {5 / ours / (2 / copy):.0%} of a copy"
        print(told(f"{name}{last}, {dtype}".replace("torch.", ""), seconds) + share)
    if asked.compile:
        return
    steps = alexnet(asked.batch, asked.device)
    print(told("AlexNet step at 224", interleaved(steps, asked.rounds, asked.device)))


if __name__ == "__main__":
    main()
