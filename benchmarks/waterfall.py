"""The time from `ablate run` to a table, with one means after the other to shorten it.

    python -m benchmarks.waterfall --rounds 2
    python -m benchmarks.waterfall --question cifar10 --images data/cifar10 --limit 1000 --epochs 2

asks what each factor of a base is worth, as precisely each time, two trials at once:

- every trial in a process of its own, twelve seeds an arm;
- workers that stay alive from trial to trial;
- seeds of an arm fused;
- six to twelve seeds, until the answer is clear;
- in place of one factor at a time, a fraction of the factorial design, whose every trial tells of
  each factor: as many seeds as give a main effect the variance that twelve pairs give a delta. It
  supposes that factors add up.

Each is a command of its own, timed from start to end, and they take turns. Printed are the median
wall and processor seconds over rounds with their extremes; drawn into docs/figures. Results stand
in docs/performance.md.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib
import yaml
from matplotlib.figure import Figure

from ablations.study import shipped_configs
from ablations.study.yamlfile import merge, read_yaml
from benchmarks.sweep import ROOT, adopt_orphans, reap, spent, spread

SEEDS = 12
FACTORS: dict[str, dict[str, Any]] = {
    "digits": {
        "lrn": {"lrn": {}, "no-lrn": {"model.init_args.lrn": False}},
        "pooling": {"overlapping": {}, "plain": {"model.init_args.pooling": "plain"}},
        "dropout": {"dropout": {}, "no-dropout": {"model.init_args.dropout": 0.0}},
        "columns": {"two": {}, "dense": {"model.init_args.connectivity": "dense"}},
        "conv4": {"conv4": {}, "no-conv4": {"model.init_args.without": ["conv4"]}},
    },
    "cifar10": {
        "activation": {"relu": {}, "tanh": {"model.init_args.activation": "tanh"}},
        "pooling": {"overlapping": {}, "plain": {"model.init_args.pooling": "plain"}},
        "decay": {"decay": {}, "no-decay": {"model.init_args.weight_decay": 0.0}},
    },
}
BASES = {"digits": "digits", "cifar10": "cifar10_80sec"}
CELLS = {"digits": 8, "cifar10": 4}
WAYS = (
    "a process for each trial",
    "workers that stay",
    "fused seeds",
    "seeds until clear",
    "fractional design",
)


def study_of(question: str, way: str) -> dict[str, Any]:
    """The study file of one way."""
    made = {
        "question": "What is each part worth?",
        "base": "base.yaml",
        "metric": "test/top1_error",
        "factors": FACTORS[question],
        "design": "leave-one-out",
        "seeds": SEEDS,
        "margin": 1.0,
    }
    if way == "seeds until clear":
        made["seeds"] = {"start": SEEDS // 2, "max": SEEDS, "step": SEEDS // 4}
    if way == "fractional design":
        # Var of an effect 4 s2 / (cells x seeds), of a delta of unpaired arms 2 s2 / SEEDS.
        cells = CELLS[question]
        made |= {"design": "fractional", "cells": cells, "seeds": 2 * SEEDS // cells}
    return made


def run(question: str, way: str, short: dict[str, Any]) -> tuple[float, float, int]:
    """Wall seconds, processor seconds and trials of one command."""
    with tempfile.TemporaryDirectory(prefix="ablations-") as name:
        folder = Path(name)
        base = read_yaml(shipped_configs() / "bases" / f"{BASES[question]}.yaml")
        (folder / "base.yaml").write_text(yaml.safe_dump(merge(base, short)))
        study = yaml.safe_dump(study_of(question, way), sort_keys=False)
        (folder / "asked.yaml").write_text(study)
        command = [sys.executable, "-m", "benchmarks.waterfall", "--as", way, "run", "asked.yaml"]
        command += ["--no-report", "--workers", "2", "--fuse", "1" if way in WAYS[:2] else "6"]
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with (folder / "log.txt").open("w") as log:
            before, start = spent(), time.perf_counter()
            done = subprocess.run(
                command,
                cwd=folder,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
                stdout=log,
                stderr=log,
                check=False,
            )
            seconds = time.perf_counter() - start
            reap()
        results = [json.loads(f.read_text()) for f in folder.glob("runs/trials/*/result.json")]
        if done.returncode:
            raise SystemExit(f"{way} failed:\n{(folder / 'log.txt').read_text()[-2000:]}")
        return seconds, spent() - before, len(results)


def fresh_processes() -> None:
    """Have every job of this process's executor run in a process of its own."""
    from ablations.sweep.executors import local

    def pool(slot: Any) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            1,
            multiprocessing.get_context("spawn"),
            initializer=local._start_worker,
            initargs=(slot,),
            max_tasks_per_child=1,
        )

    local._pool = pool
    local._warm_up = int  # type: ignore[assignment]


def draw(question: str, taken: dict[str, list[tuple[float, float, int]]]) -> Figure:
    figure = Figure(figsize=(7.6, 2.6), layout="constrained")
    axes = figure.subplots()
    slowest = statistics.median(wall for wall, _, _ in taken[WAYS[0]])
    for row, way in enumerate(WAYS):
        walls = [wall for wall, _, _ in taken[way]]
        middle = statistics.median(walls)
        axes.barh(row, middle, height=0.62, color="#0072B2" if row else "#999999")
        axes.plot([min(walls), max(walls)], [row, row], color="#222222", linewidth=1.5)
        told = f"{middle:.0f} s, {taken[way][0][2]} trials, ÷{slowest / middle:.1f}"
        axes.text(max(walls) + 0.01 * slowest, row, told, va="center", fontsize=9)
    names = [WAYS[0], *(f"+ {way}" for way in WAYS[1:-1]), f"{WAYS[-1]} instead"]
    axes.set_yticks(range(len(WAYS)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.32 * slowest)
    axes.set_xlabel(f"seconds to the table, {BASES[question]}: median and extremes")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    if sys.argv[1:2] == ["--as"]:
        from ablations import cli

        if sys.argv[2] == WAYS[0]:
            fresh_processes()
        sys.argv = ["ablate", *sys.argv[3:]]
        cli.main()
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--question", choices=FACTORS, default="digits")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="the base's by default")
    parser.add_argument("--images", type=Path, help="packed; the base's by default")
    parser.add_argument("--limit", type=int, help="training images; the base's by default")
    asked = parser.parse_args()
    data = {"path": asked.images and str(asked.images.resolve()), "limit": asked.limit}
    short = {
        "trainer": {} if asked.epochs is None else {"max_epochs": asked.epochs},
        "data": {"init_args": {key: value for key, value in data.items() if value is not None}},
    }
    adopt_orphans()
    taken: dict[str, list[tuple[float, float, int]]] = {way: [] for way in WAYS}
    for number in range(asked.rounds):
        for way in WAYS:
            taken[way].append(run(asked.question, way, short))
            wall, used, trials = taken[way][-1]
            told = f"{way}, {trials} trials: {wall:.1f} s, {used:.1f} s of the processors"
            print(f"round {number + 1}: {told}", flush=True)
    print("\n| | trials | wall, s | processor, s | as fast |\n|---|---:|---:|---:|---:|")
    for way in WAYS:
        walls = [wall for wall, _, _ in taken[way]]
        faster = [a / b for (a, _, _), b in zip(taken[WAYS[0]], walls, strict=True)]
        processors = [used for _, used, _ in taken[way]]
        cells = [way, str(taken[way][0][2]), spread(walls, 0), spread(processors, 0)]
        cells.append(spread(faster, 2))
        print(f"| {' | '.join(cells)} |")
    matplotlib.rcParams["svg.hashsalt"] = "waterfall"
    file = ROOT / "docs" / "figures" / f"time_to_table_{asked.question}.svg"
    draw(asked.question, taken).savefig(file, metadata={"Date": None})
    print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
