"""Local response normalisation: ours against torch's, the layer alone and in a step of AlexNet.

    python -m benchmarks.lrn --threads 2

Both run in turn in one process, forward and backward; printed are the medians, and of the ratios
between neighbours in time the median with the quartiles. Results stand in docs/performance.md.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablations.nets import AlexNet
from ablations.nets.norms import LocalResponseNorm

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
    seconds = np.empty((rounds + 1, len(steps)))
    for row in seconds:
        for at, step in enumerate(steps):
            start = time.perf_counter()
            step()
            if device != "cpu":
                torch.cuda.synchronize()
            row[at] = time.perf_counter() - start
    return seconds[1:]


def told(name: str, seconds: np.ndarray) -> str:
    theirs, ours = np.median(seconds, axis=0) * 1e3
    low, middle, high = np.quantile(seconds[:, 0] / seconds[:, 1], [0.25, 0.5, 0.75])
    return f"{name:24} {theirs:9.1f} {ours:9.1f} {middle:8.2f} ({low:.2f} to {high:.2f})"


def layer(shape: tuple[int, ...], batch: int, device: str, dtype: torch.dtype) -> list:
    x = (30 * torch.randn(batch, *shape, device=device)).to(dtype).requires_grad_()
    given = torch.randn(batch, *shape, device=device).to(dtype)
    ours = LocalResponseNorm(SIZE, K, ALPHA, BETA)
    return [lambda norm=norm: norm(x).backward(given) for norm in (TorchNorm(ours), ours)]


def alexnet(batch: int, device: str) -> list:
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
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(
        f"torch {torch.__version__}, {asked.device}, {asked.threads} threads, batch {asked.batch}"
    )
    print(f"{'':24} {'torch ms':>9} {'ours ms':>9} {'ratio':>8} (quartiles)")
    for name, shape in SHAPES.items():
        steps = layer(shape, asked.batch, asked.device, torch.float32)
        print(told(f"{name}, fp32", interleaved(steps, asked.rounds, asked.device)))
    steps = alexnet(asked.batch, asked.device)
    print(told("AlexNet step at 224", interleaved(steps, asked.rounds, asked.device)))


if __name__ == "__main__":
    main()
