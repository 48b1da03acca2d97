"""The least time that a training step of the 2012 net can take on a GPU, by its two roofs.

    python -m benchmarks.roofline --device h100 --batch 128

A layer takes the longer of its arithmetic at the peak rate and its traffic at the memory's. Nothing
is run: layers, parameters and FLOPs are those of ``ablate plan``. docs/performance.md says what the
counts leave out. Peaks are NVIDIA's data sheets': dense bfloat16, memory bandwidth.
"""

import argparse
from dataclasses import dataclass
from math import prod

from ablations.nets import AlexNet
from ablations.nets.spec import Traced

HALF, WHOLE = 2, 4  # bytes of bfloat16 and float32


@dataclass(frozen=True)
class Device:
    """Peaks: FLOP/s of dense bfloat16, bytes/s of memory."""

    name: str
    arithmetic: float
    bandwidth: float


DEVICES = {
    "h100": Device("H100 SXM", 989e12, 3.35e12),
    "h200": Device("H200 SXM", 989e12, 4.8e12),
    "a100": Device("A100 80GB SXM", 312e12, 2.04e12),
    "rtx4090": Device("RTX 4090", 165e12, 1.01e12),
}


def flops(row: Traced, first: bool, batch: int) -> float:
    """Forward and backward; nobody asks for the gradient of the images."""
    return batch * row.flops * (2 if first else 3)


def activation_bytes(row: Traced, first: bool, batch: int) -> float:
    """Forward reads and writes; backward reads both gradient and input, writes the other."""
    reads, gives = prod(row.reads), prod(row.gives)
    return HALF * batch * (reads * (2 if first else 3) + gives * 2)


def weight_bytes(row: Traced) -> float:
    """Cast from float32 once a step, read twice, their gradient written."""
    return row.parameters * (WHOLE + HALF + 2 * HALF + HALF)


def optimizer_bytes(row: Traced) -> float:
    """SGD with momentum in float32: weight, gradient and momentum read, two of them written."""
    return row.parameters * 5 * WHOLE


def table(rows: tuple[Traced, ...], batch: int, device: Device) -> list[str]:
    """A line for each layer, for the optimizer and for the whole."""
    lines = [f"{'layer':<8}{'GFLOP':>9}{'MB':>9}{'us':>9}  bound by"]
    total = [0.0, 0.0, 0.0]
    for at, row in enumerate(rows):
        work = flops(row, at == 0, batch)
        moved = activation_bytes(row, at == 0, batch) + weight_bytes(row)
        times = {"arithmetic": work / device.arithmetic, "memory": moved / device.bandwidth}
        bound, seconds = max(times.items(), key=lambda item: item[1])
        total = [a + b for a, b in zip(total, (work, moved, seconds), strict=True)]
        lines.append(_line(row.name, work, moved, seconds, bound))
    moved = sum(optimizer_bytes(row) for row in rows)
    seconds = moved / device.bandwidth
    lines.append(_line("update", 0.0, moved, seconds, "memory"))
    total = [a + b for a, b in zip(total, (0.0, moved, seconds), strict=True)]
    lines.append(_line("step", total[0], total[1], total[2], ""))
    lines.append(
        f"{batch / total[2]:,.0f} images/s at most, {total[0] / total[2] / 1e12:,.0f} TFLOP/s "
        f"of {device.arithmetic / 1e12:,.0f}; by arithmetic alone "
        f"{batch * device.arithmetic / total[0]:,.0f} images/s"
    )
    side = rows[0].reads[1]
    lines.append(
        f"the loader then has to bring {batch / total[2] * 3 * side**2 / 1e9:,.1f} GB/s of bytes"
    )
    return lines


def _line(name: str, work: float, moved: float, seconds: float, bound: str) -> str:
    return f"{name:<8}{work / 1e9:>9.1f}{moved / 1e6:>9.1f}{seconds * 1e6:>9.1f}  {bound}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=DEVICES, default="h100")
    parser.add_argument("--batch", type=int, default=128)
    given = parser.parse_args()
    device = DEVICES[given.device]
    print(f"{device.name}, batch {given.batch}, bfloat16, 224x224")
    print("\n".join(table(AlexNet().layer_table(), given.batch, device)))


if __name__ == "__main__":
    main()
