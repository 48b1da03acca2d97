"""What a sweep costs beside its trainings: ours against a bare loop, Hydra and Ray Tune.

    python -m benchmarks.sweep --trials 30 --epochs 18 --rounds 3

trains the digits base with and without normalisation, half of the trials each, by

- a bare PyTorch loop in one process, on one thread, and the same dealt out to two processes, which
  is what two cores of the machine can give;
- `ablate run` with one worker, with two, and with seeds fused: rehearsal, Optuna's record, MLflow
  and table included;
- Hydra's multirun with its joblib launcher, and Ray Tune, both with Lightning and two workers.

Each is a command in a process of its own, timed from start to end. All train the same nets on the
same batches; the test errors are compared (fused nets round otherwise). Contenders take turns;
printed are the medians over rounds with their extremes, and the same of the ratios to the loop of
the same round: of the wall time, and of the processor time of all processes, which other work on
the machine moves less (Ray's daemon waits for its workers unseen, so there is none of Ray Tune).
Results stand in docs/performance.md.
"""

import argparse
import contextlib
import ctypes
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from ablations.study import shipped_configs
from benchmarks.peers import TEST

ROOT = Path(__file__).parents[1]
# Command, workers, and the module without which it cannot run.
CONTENDERS: dict[str, tuple[str, int, str]] = {
    "loop": ("loop", 1, "torch"),
    "loop-2": ("loop", 2, "torch"),
    "ablate-1": ("ablate", 1, "torch"),
    "ablate-2": ("ablate", 2, "torch"),
    "ablate-2-fused": ("ablate", 2, "torch"),
    "hydra-2": ("hydra", 2, "hydra_plugins.hydra_joblib_launcher"),
    "tune-2": ("tune", 2, "ray.tune"),
}
LABELS = {
    "loop": "bare PyTorch loop",
    "loop-2": "bare PyTorch loop, in two processes",
    "ablate-1": "ablate run",
    "ablate-2": "ablate run",
    "ablate-2-fused": "ablate run --fuse 8",
    "hydra-2": "Hydra, joblib launcher, Lightning",
    "tune-2": "Ray Tune, Lightning",
}
ARMS = {"lrn": {}, "no-lrn": {"lrn": False}}


def installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def specification(trials: int, epochs: int) -> dict[str, Any]:
    """What is trained: the base, the arms and the seeds."""
    base = yaml.safe_load((shipped_configs() / "bases" / "digits.yaml").read_text())
    trainer = {key: value for key, value in base["trainer"].items() if key != "max_epochs"}
    return {
        "trainer": trainer,
        "model": base["model"]["init_args"],
        "data": base["data"]["init_args"],
        "arms": ARMS,
        "seeds": list(range(trials // len(ARMS))),
        "epochs": epochs,
    }


def write_study(spec: dict[str, Any], folder: Path) -> Path:
    arms = {
        arm: {"trainer.max_epochs": spec["epochs"]}
        | {f"model.init_args.{key}": value for key, value in changed.items()}
        for arm, changed in spec["arms"].items()
    }
    study = {
        "question": "What does a sweep cost?",
        "base": "bases/digits.yaml",
        "metric": TEST,
        "baseline": "lrn",
        "arms": arms,
        "seeds": len(spec["seeds"]),
    }
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump(study, sort_keys=False))
    return file


def adopt_orphans() -> None:
    """Have what a contender leaves behind counted and waited for here."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER, of Linux


def spent() -> float:
    """Processor seconds of every child that has ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def reap() -> None:
    """Wait for whatever was left behind."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def run(
    contender: str, spec: dict[str, Any], folder: Path
) -> tuple[tuple[float, float], list[float]]:
    """Seconds from start to end and of the processors, and the test error of every training."""
    kind, workers, _ = CONTENDERS[contender]
    file = folder / "spec.json"
    file.write_text(json.dumps({**spec, "folder": str(folder), "workers": workers}))
    command = [sys.executable, "-m", "benchmarks.peers", kind, str(file)]
    if kind == "ablate":
        study = write_study(spec, folder)
        command = [sys.executable, "-m", "ablations", "run", str(study), "--no-report"]
        command += ["--workers", str(workers), "--workspace", str(folder / "runs")]
        command += ["--fuse", "8" if contender.endswith("fused") else "1"]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    alike = {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    with (folder / "log.txt").open("w") as log:
        before, start = spent(), time.perf_counter()
        done = subprocess.run(
            command, cwd=folder, env=os.environ | alike, stdout=log, stderr=log, check=False
        )
        seconds = time.perf_counter() - start
        reap()
    left = "runs/trials/*/result.json" if kind == "ablate" else "* *.json"
    told = [json.loads(result.read_text()) for result in folder.glob(left)]
    errors = [result.get("metrics", result)[TEST] for result in told]
    if done.returncode or len(errors) != len(spec["arms"]) * len(spec["seeds"]):
        raise SystemExit(f"{contender} failed:\n{(folder / 'log.txt').read_text()[-2000:]}")
    return (seconds, spent() - before), sorted(errors)


def spread(values: list[float], digits: int) -> str:
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    asked = parser.parse_args()
    if asked.trials < 2 or asked.trials % 2:
        parser.error("--trials: expected an even number of at least 2, for two arms")
    names = [name for name in CONTENDERS if name in asked.only]
    for name in list(names):
        if not installed(CONTENDERS[name][2]):
            print(f"skipped: {name} needs pip install 'ablations[bench]'")
            names.remove(name)
    if not names or asked.rounds < 1:
        return
    spec = specification(asked.trials, asked.epochs)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    errors: dict[str, list[float]] = {}
    loads = []
    adopt_orphans()
    for number in range(asked.rounds):
        turned = names[number % len(names) :] + names[: number % len(names)]
        for name in turned:
            with tempfile.TemporaryDirectory(prefix="ablations-") as folder:
                seconds, errors[name] = run(name, spec, Path(folder))
            taken[name].append(seconds)
            loads.append(os.getloadavg()[0])
            print(f"round {number + 1}: {name} {seconds[0]:.1f} s, {seconds[1]:.1f} s", flush=True)
    print(f"\n{asked.trials} trials of {asked.epochs} epochs, {asked.rounds} rounds, ", end="")
    print(f"load {min(loads):.1f} to {max(loads):.1f}\n")
    print("| | workers | s | to the loop | processor s | to the loop | mean test error |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in names:
        shown = [LABELS[name], str(CONTENDERS[name][1])]
        for at in range(2):
            if at == 1 and name == "tune-2":
                shown += ["–", "–"]
                continue
            ours = [seconds[at] for seconds in taken[name]]
            loop = [seconds[at] for seconds in taken.get("loop", [])]
            ratios = [a / b for a, b in zip(ours, loop, strict=False)]
            shown += [spread(ours, 1), spread(ratios, 2) if ratios else "–"]
        shown += [f"{statistics.fmean(errors[name]):.3f}"]
        print(f"| {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
