"""What a sweep's parent costs: 1,000 trials that end at once, and 10,000 that have ended.

    python -m benchmarks.scale

runs a sweep whose executor leaves each trial's files without training it, so that all that is left
is the parent's own work: Optuna's journal, MLflow's mirror, the display. Then it asks for the
status and the table of a workspace of 10,000 finished trials, each command in a process of its own.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console

from ablations.study import Study, trials
from ablations.sweep.job import Job, Outcome
from ablations.sweep.ledger import Ledger
from ablations.sweep.scheduler import Budget, Sweep
from ablations.sweep.seeding import Part, Seeds
from ablations.sweep.tracking import Tracker
from ablations.workspace import Workspace
from tests.results.fabricate import leave_trial, write_study

ARMS = [f"arm-{number}" for number in range(20)]


def leave(workspace: Workspace, trial: str, seed: int, metric: str, value: float) -> None:
    more = {"epochs": 5, "commit": "abcdef1234", "dirty": False}
    leave_trial(workspace, trial, seed, metric, value, {}, more)


class Instant:
    """An executor whose trials end as they are submitted; it takes the parent's pulse meanwhile."""

    capacity = abreast = 2

    def __init__(self, workspace: Workspace, metric: str) -> None:
        self.workspace, self.metric = workspace, metric
        self.process = psutil.Process()
        self.pulse: list[tuple[float, float, int]] = []  # seconds of wall and processor, bytes

    def feel(self) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        self.pulse.append((wall, processor, self.process.memory_info().rss))

    def submit(self, job: Job) -> "Future[Any]":
        self.feel()
        future: Future[Any] = Future()
        outcomes = []
        for order in job.orders:
            leave(self.workspace, order.trial, order.seed, self.metric, 20.0 + order.seed)
            outcomes.append(Outcome(order.trial, "done"))
        future.set_result(outcomes)
        return future

    def stop(self, *, kill: bool = False) -> None:
        pass


def sweep(folder: Path, count: int) -> list[tuple[float, float, int]]:
    study = write_study(folder, ARMS, count // len(ARMS))
    workspace = Workspace(folder / "runs")
    workspace.create()
    with workspace.locked(), (folder / "told.txt").open("w") as told:
        workspace.record_study(study)
        executor = Instant(workspace, study.metric.name)
        tracker = Tracker(study, workspace, {arm: {"changes": {}} for arm in ARMS})
        wants = dict.fromkeys(ARMS, len(study.seeds))
        part = Part(study, Ledger(study, workspace), tracker, lambda: wants)
        seeds = Seeds([part], workspace, lambda line: None)
        swept = Sweep(workspace, executor, Console(file=told), Budget()).run(seeds, fail_fast=False)
        assert swept.done == count
        executor.feel()
        tracker.close("FINISHED")
        executor.feel()
    return executor.pulse


def finished(folder: Path, count: int) -> Study:
    study = write_study(folder, ARMS, count // len(ARMS))
    workspace = Workspace(folder / "runs")
    workspace.create()
    workspace.record_study(study)
    draws = np.random.default_rng(0)
    for trial in trials(study):
        value = 20 + draws.normal() + 0.1 * ARMS.index(trial.arm)
        leave(workspace, trial.id, trial.seed, study.metric.name, value)
    return study


def seconds(folder: Path, *command: str) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ablations", *command],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    return time.perf_counter() - start


def show(name: str, first: tuple[float, ...], last: tuple[float, ...], count: int) -> None:
    wall, processor = (1000 * (last[k] - first[k]) / count for k in (0, 1))
    print(f"{name} {wall:>15.1f} {processor:>20.1f} {last[2] / 1e6:>13.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--swept", type=int, default=1000)
    parser.add_argument("--finished", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pulse = sweep(Path(folder) / "sweep", asked.swept)
        step = asked.swept // 10
        print("trials   wall ms/trial   processor ms/trial   resident MB")
        for number in range(step, asked.swept + 1, step):
            show(f"{number:>6}", pulse[number - step], pulse[number], step)
        print(f"MLflow's mirror ends {pulse[-1][0] - pulse[-2][0]:.1f} s later")
        show("in all", pulse[0], pulse[-1], asked.swept)
        place = Path(folder) / "finished"
        study = finished(place, asked.finished)
        print()
        printed = place / "runs" / "studies" / study.name / "printed.json"
        for name in ("--help", "status", "table", "table, anew"):
            command = name.partition(",")[0]
            taken = []
            for _ in range(asked.rounds):
                if name != "table":
                    printed.unlink(missing_ok=True)
                named = () if command == "--help" else (study.file.name,)
                taken.append(seconds(place, command, *named))
            spread = f"{min(taken):.2f} to {max(taken):.2f}"
            print(f"ablate {name:<12} {statistics.median(taken):.2f} s ({spread})")


if __name__ == "__main__":
    main()
