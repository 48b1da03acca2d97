"""A training step of each small net, by every switch that could make it faster.

    python -m benchmarks.step --rounds 12
    python -m benchmarks.step --nets 80sec --compile

All ways of a net run in turn in one process, forward, backward and update; printed are the medians,
and of the ratios plain / way of the same round the median with the quartiles. On a CPU the clock is
the processor's own (one thread), so that other work beside it counts less. Results stand in
docs/performance.md.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ablations.nets import AlexNet, CudaConvnet
from ablations.nets.classifier import Classifier

NETS: dict[str, Callable[..., Classifier]] = {
    "80sec": lambda **how: CudaConvnet("80sec", **how),
    "11pct": lambda **how: CudaConvnet("11pct", **how),
    "alexnet-28": lambda **how: AlexNet(10, 28, width=0.125, recipe="as-run", **how),
    "alexnet-224": lambda **how: AlexNet(1000, **how),
    "digits": lambda **how: AlexNet(10, 8, 1, width=0.125, recipe="as-run", **how),
}
SMALL = [name for name in NETS if name != "alexnet-224"]
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "channels last": {"channels_last": True},
    "bf16": {"bf16": True},
    "channels last, bf16": {"channels_last": True, "bf16": True},
    "fused optimizer": {"fused_optimizer": True},
}
COMPILED: dict[str, dict[str, Any]] = {
    "compiled": {"compiled": "default"},
    "compiled, channels last": {"compiled": "default", "channels_last": True},
}


def step_of(net: str, way: dict[str, Any], batch: int, device: str) -> Callable[[], object]:
    """A training step of a net on one batch, in one of the ways."""
    switches = {key: value for key, value in way.items() if key != "bf16"}
    torch.manual_seed(0)
    model = NETS[net](schedule="fixed", learning_rate=1e-6, **switches).to(device).train()
    images = 60 * torch.randn(batch, *model.shape, device=device)
    labels = torch.randint(0, model.num_classes, (batch,), device=device)
    optimizer: Any = model.configure_optimizers()["optimizer"]  # type: ignore[index,call-overload]
    for dropout in model._dropouts:
        dropout.step = (0, 0, 0)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=way.get("bf16", False)):
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def seconds_of(step: Callable[[], object], device: str) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    step()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nets", nargs="+", choices=NETS, default=SMALL)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--compile", action="store_true", help="also compiled by torch")
    given = parser.parse_args()
    torch.set_num_threads(1)
    ways = WAYS | (COMPILED if given.compile else {})
    print(f"batch {given.batch}, {given.rounds} rounds, {given.device}, torch {torch.__version__}")
    print(f"{'net':12} {'way':26} {'ms':>8} {'ratio':>6}  quartiles")
    for net in given.nets:
        steps = [step_of(net, way, given.batch, given.device) for way in ways.values()]
        for step in steps * 2:  # warm up
            step()
        seconds = np.array(
            [[seconds_of(step, given.device) for step in steps] for _ in range(given.rounds)]
        )
        for at, way in enumerate(ways):
            low, middle, high = np.quantile(seconds[:, 0] / seconds[:, at], [0.25, 0.5, 0.75])
            middle_ms = 1e3 * np.median(seconds[:, at])
            print(f"{net:12} {way:26} {middle_ms:8.1f} {middle:6.2f}  {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
