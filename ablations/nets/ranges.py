"""Whether local response normalisation does anything: the range of what it divides by."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ablations.nets.norms import LocalResponseNorm, WithinMapNorm
from ablations.seeds import stream_seed

SAMPLE = 1024
"""Denominators taken of each layer and batch, at places drawn at random."""


class Ranges:
    """The 5% and 95% quantiles of each layer's denominator, (k + a * sum) ** beta.

    A layer whose quantiles are alike only divides by a constant. Counting goes on from
    construction to `closed`.

    Args:
        network: Whose layers.
        count: How many nets are stacked in it (see `stack.StackedClassifier`).
    """

    def __init__(self, network: nn.Module, count: int = 1) -> None:
        self._count = count
        self._samples: dict[tuple[int, str], list[Tensor]] = {}
        self._hooks = [
            module.register_forward_pre_hook(partial(self._take, name.split(".")[0]))
            for name, module in network.named_modules()
            if isinstance(module, LocalResponseNorm | WithinMapNorm)
        ]

    def _take(self, name: str, module: Any, inputs: tuple[Tensor, ...]) -> None:
        members = getattr(module, "members", range(1))
        denominators = module.denominator(inputs[0].float())
        denominators = denominators.unflatten(1, (len(members), -1)).transpose(0, 1).flatten(1)
        batch = len(self._samples.get((members[0], name), ()))
        generator = torch.Generator().manual_seed(stream_seed("range", name, batch))
        places = torch.randint(denominators.shape[1], (SAMPLE,), generator=generator)
        taken = denominators[:, places.to(denominators.device)].cpu()
        for k, own in zip(members, taken, strict=True):
            self._samples.setdefault((k, name), []).append(own)

    def closed(self) -> dict[str, float]:
        """``lrn/NAME_low`` and ``lrn/NAME_high`` of each layer that was run, and an end to it.

        Of several nets, the names of the k-th begin with ``k/``.
        """
        for hook in self._hooks:
            hook.remove()
        found: dict[str, float] = {}
        for (k, name), samples in self._samples.items():
            low, high = torch.cat(samples).quantile(torch.tensor([0.05, 0.95])).tolist()
            begin = f"{k}/lrn/{name}" if self._count > 1 else f"lrn/{name}"
            found |= {f"{begin}_low": low, f"{begin}_high": high}
        return found
