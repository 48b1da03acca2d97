"""Whole trials of several seeds, trained one by one and as one (`ablate run --fuse`).

    python -m benchmarks.fused --rounds 5
    python -m benchmarks.fused --bases digits cifar10_80sec --epochs 3 --seeds 6

Both ways run in turn in one process on one thread, from a trial's order to its result.json. Printed
are the processor seconds of both, and of the ratios alone / fused of the same round the median with
the quartiles; beside it the largest difference of a seed's test error. Results stand in
docs/performance.md.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ablations.study import load_study
from ablations.study.yamlfile import merge
from ablations.sweep.fused import run_fused
from ablations.sweep.job import Order, Outcome
from ablations.sweep.orders import order_for
from ablations.sweep.trial import run_trial
from ablations.workspace import read_json

STUDIES = {"digits": "quickstart", "cifar10_80sec": "cifar10-pooling"}


def orders_of(
    base: str, seeds: int, epochs: int, data: dict[str, Any], folder: Path
) -> list[Order]:
    """The trials of a base's first arm with fewer epochs and images."""
    study = load_study(STUDIES[base])
    short = {"trainer": {"max_epochs": epochs, "callbacks": None, "accelerator": "cpu"}}
    made = []
    for seed in range(seeds):
        order = order_for(study, study.baseline, seed, f"seed-{seed}", folder / str(seed), 1)
        overrides = merge(merge(dict(order.recipe.overrides), short), data)
        made.append(replace(order, recipe=replace(order.recipe, overrides=overrides)))
    return made


def one_by_one(orders: list[Order]) -> list[Outcome]:
    return [run_trial(order) for order in orders]


def measured(way: Callable[[list[Order]], list[Outcome]], orders: list[Order]) -> float:
    begun = time.process_time()
    outcomes = way(orders)
    taken = time.process_time() - begun
    troubles = {each.error or each.alone for each in outcomes} - {None, ""}
    assert not troubles, troubles
    return taken


def errors(orders: list[Order]) -> np.ndarray:
    results = [read_json(order.folder / "result.json") for order in orders]
    return np.array([result["metrics"]["test/top1_error"] for result in results if result])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bases", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--limit", type=int, help="training images; all of the base's by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cifar10", help="the packed images; data/cifar10 by default")
    given = parser.parse_args()
    print(f"{given.seeds} seeds, {given.epochs} epochs, {given.rounds} rounds")
    print(f"{'base':14} {'alone, s':>9} {'fused, s':>9} {'ratio':>6}  quartiles      differ by")
    for base in given.bases:
        seconds, differ = [], 0.0
        told = {"limit": given.limit, "path": given.cifar10 if base != "digits" else None}
        given_too = {key: value for key, value in told.items() if value is not None}
        data = {"data": {"init_args": given_too}}
        for number in range(given.rounds + 1):
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder)
                both = [
                    orders_of(base, given.seeds, given.epochs, data, place / way)
                    for way in ("alone", "fused")
                ]
                took = [measured(one_by_one, both[0]), measured(run_fused, both[1])]
                difference = errors(both[0]) - errors(both[1])
            if number:  # the first round warms up
                seconds.append(took)
                differ = max(differ, float(np.abs(difference).max()))
        alone, fused = np.array(seconds).T
        low, middle, high = np.quantile(alone / fused, [0.25, 0.5, 0.75])
        print(
            f"{base:14} {np.median(alone):9.1f} {np.median(fused):9.1f} {middle:6.2f}  "
            f"{low:.2f} to {high:.2f}  {differ:9.3g}"
        )


if __name__ == "__main__":
    main()
