"""How long the commands take that train nothing.

    python -m benchmarks.startup --rounds 7

Each command runs in a process of its own over a small finished workspace (three arms of six seeds);
``table`` prints what it remembers, unless made anew; ``plan`` is that of the quickstart, once whole
and once less the imports of its base's own modules in a process of their own. The commands run in
turn; printed are the medians with the quartiles of wall and processor time. Results stand in
docs/performance.md.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.results.fabricate import fabricate, write_study

ARMS = ("full", "no-a", "no-b")
COMMANDS = {
    "help": ("-m", "ablations", "--help"),
    "list": ("-m", "ablations", "list"),
    "status": ("-m", "ablations", "status", "known.yaml"),
    "table": ("-m", "ablations", "table", "known.yaml"),
    "table, anew": ("-m", "ablations", "table", "known.yaml"),
    "plan": ("-m", "ablations", "plan", "quickstart"),
    "the base's modules": ("-c", "import ablations.nets, ablations.data.module, sklearn.datasets"),
}


def seconds(folder: Path, name: str) -> tuple[float, float]:
    """Wall and processor time of a process."""
    if name == "table, anew":
        (folder / "runs/studies/known/printed.json").unlink(missing_ok=True)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    path = str(Path(__file__).parents[1])
    subprocess.run(
        [sys.executable, *COMMANDS[name]],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    given = parser.parse_args()
    draws = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        study = write_study(folder, ARMS, 6)
        values = {arm: (20 + draws.normal(size=6)).tolist() for arm in ARMS}
        fabricate(study, folder / "runs", values)
        for name in given.only:  # warm up: compiled Python, the file cache
            seconds(folder, name)
        taken = np.array(
            [[seconds(folder, name) for name in given.only] for _ in range(given.rounds)]
        )
    print(f"{'command':20} {'wall, s':>24} {'processor, s':>24}")
    for name, each in zip(given.only, taken.transpose(1, 2, 0), strict=True):
        told = [np.quantile(row, [0.5, 0.25, 0.75]) for row in each]
        shown = [f"{a:.2f} ({b:.2f} to {c:.2f})".rjust(24) for a, b, c in told]
        print(f"{name:20} {' '.join(shown)}")


if __name__ == "__main__":
    main()
