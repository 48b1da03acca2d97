"""Steps of K nets: one by one, and in the ways in which they can be one net.

    python -m benchmarks.ways --rounds 15
    python -m benchmarks.ways --nets alexnet-12 alexnet-16 --ways grouped

All ways take turns in one process on one thread. Printed are the processor milliseconds of a step
of K nets one by one, and for each way the median ratio to it over rounds, with the quartiles.
Results stand in docs/performance.md.
"""

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablations.nets import AlexNet, CudaConvnet
from ablations.nets.classifier import Classifier
from ablations.nets.stack import StackedClassifier

Step = Callable[[], None]
NETS = ("alexnet-8", "alexnet-12", "alexnet-16", "alexnet-28", "80sec")


class Products(nn.Module):
    """A grouped convolution as patches and one batched matrix product, of a group each."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        conv, groups = self.conv, self.conv.groups
        patches = F.unfold(x, conv.kernel_size, padding=conv.padding, stride=conv.stride)  # type: ignore[arg-type]
        patches = patches.view(len(x), groups, -1, patches.shape[2]).permute(1, 2, 0, 3)
        weight = conv.weight.reshape(groups, -1, patches.shape[1])
        bias = conv.bias.view(groups, -1, 1)  # type: ignore[union-attr]
        out = torch.baddbmm(bias, weight, patches.flatten(2)).view(groups, -1, *patches.shape[2:])
        side = (
            int((x.shape[2] + 2 * int(conv.padding[0]) - conv.kernel_size[0]) // conv.stride[0]) + 1
        )
        return out.permute(2, 0, 1, 3).reshape(len(x), -1, side, out.shape[3] // side)


class Branches(nn.Module):
    """K nets side by side: one backward pass, one update."""

    def __init__(self, members: Sequence[Classifier]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self._dropouts = [each for member in members for each in member._dropouts]

    def forward(self, images: Tensor) -> Tensor:
        shares = images.chunk(len(self.members), 1)
        return torch.stack([net(own) for net, own in zip(self.members, shares, strict=True)])

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")

    def configure_optimizers(self) -> dict[str, Any]:
        alike: dict[tuple[float, float], list[nn.Parameter]] = {}
        for member in self.members:
            for group in member._groups()[0]:  # type: ignore[operator]
                alike.setdefault((group["lr"], group["weight_decay"]), []).extend(group["params"])
        groups = [{"params": own, "lr": lr, "weight_decay": d} for (lr, d), own in alike.items()]
        return {"optimizer": torch.optim.SGD(groups, momentum=0.9, fused=True)}


def net_of(name: str, seed: int, channels_last: bool) -> Classifier:
    torch.manual_seed(seed)
    if name == "80sec":
        return CudaConvnet("80sec", channels_last=channels_last)
    side, told = int(name.split("-")[1]), {"channels_last": channels_last, "recipe": "as-run"}
    return AlexNet(10, side, 1, width=0.125, schedule="fixed", **told)  # type: ignore[arg-type]


def step_of(model: Any, images: Tensor, labels: Tensor) -> Step:
    """One step of training; the masks of dropout stay the same."""
    optimizer = model.configure_optimizers()["optimizer"]
    for dropout in model._dropouts:
        dropout.step = (0, 0, 0)

    def step() -> None:
        optimizer.zero_grad()
        model._loss(model(images), labels).sum().backward()
        optimizer.step()

    return step


def steps_of(net: str, count: int, batch: int) -> dict[str, list[Step]]:
    """The steps that each way takes for all nets."""
    last, plain = ([net_of(net, seed, own) for seed in range(count)] for own in (True, False))
    images = 60 * torch.randn(batch, count * last[0].shape[0], *last[0].shape[1:])
    labels = torch.randint(0, 10, (count, batch))
    products = StackedClassifier(plain)
    for name, layer in products.network.named_children():
        if isinstance(layer, nn.Conv2d):
            setattr(products.network, name, Products(layer))
    ways = {
        "grouped": StackedClassifier(last),
        "grouped, contiguous": StackedClassifier(plain),
        "products": products,
        "branches": Branches(copy.deepcopy(last)),
    }
    shares = [share.contiguous() for share in images.chunk(count, 1)]
    alone = [step_of(*each) for each in zip(last, shares, labels, strict=True)]
    return {"alone": alone} | {way: [step_of(m, images, labels)] for way, m in ways.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nets", nargs="+", choices=NETS, default=["alexnet-8", "80sec"])
    parser.add_argument("--ways", nargs="+", help="Names as they are printed; all by default.")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for net in given.nets:
        steps = steps_of(net, given.count, given.batch)
        ways = {way: own for way, own in steps.items() if way in ("alone", *(given.ways or steps))}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(given.rounds + 2):
            for way, own in ways.items():
                begun = time.process_time()
                for step in own:
                    step()
                if number >= 2:  # the first rounds warm up
                    seconds[way].append(time.process_time() - begun)
        alone = np.array(seconds.pop("alone"))
        flops = sum(row.flops for row in net_of(net, 0, True).layer_table())
        print(f"{net}: {flops / 1e6:.2f} MFLOP an image, alone {1e3 * np.median(alone):.1f} ms")
        for way, taken in seconds.items():
            low, middle, high = np.quantile(alone / np.array(taken), [0.25, 0.5, 0.75])
            print(f"  {way:20} {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
