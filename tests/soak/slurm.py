"""SLURM's programs as far as a sweep uses them, with this machine as the only node.

Installed under their names by :func:`install`; what they know of jobs is in files beside them.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

NAMES = ("sbatch", "srun", "sacct", "scancel", "scontrol")


def install(folder: Path) -> Path:
    """Put the programs into a folder."""
    folder.mkdir()
    text = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {__file__} "$0" "$@"\n'
    for name in NAMES:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def sbatch(home: Path, script: str) -> None:
    number = len(list(home.glob("*.sh"))) + 1
    kept = home / f"{number}.sh"
    kept.write_text(Path(script).read_text())
    array = re.search(r"--array=0-(\d+)", kept.read_text())
    tasks = [f"{number}_{task}" for task in range(int(array[1]) + 1)] if array else [str(number)]
    for job in tasks:
        (home / f"{job}.state").write_text("PENDING")
        subprocess.Popen(
            [sys.executable, __file__, str(home / "node"), job],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    print(f"Submitted batch job {number}")


def node(home: Path, job: str) -> None:
    """Run a job, again and again while it asks for that."""
    number, _, task = job.partition("_")
    environment = {
        **os.environ,
        "SLURM_JOB_ID": job,
        "SLURM_JOB_NAME": "ablate",
        "SLURM_JOB_NODELIST": "here",
        **dict.fromkeys(("SLURM_NTASKS", "SLURM_JOB_NUM_NODES"), "1"),
        **dict.fromkeys(("SLURM_NODEID", "SLURM_PROCID", "SLURM_LOCALID"), "0"),
    }
    if task:
        environment |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": task}
    state, queued = home / f"{job}.state", home / f"{job}.queued"
    while True:
        queued.unlink(missing_ok=True)
        batch = subprocess.Popen(
            ["bash", str(home / f"{number}.sh")], env=environment, start_new_session=True
        )
        (home / f"{job}.group").write_text(str(batch.pid))
        state.write_text("RUNNING")
        code = batch.wait()
        if queued.exists():
            continue
        if state.read_text() == "RUNNING":
            state.write_text("FAILED" if code else "COMPLETED")
        return


def srun(_: Path, *arguments: str) -> None:
    rest = list(arguments)
    while rest[0].startswith("--"):
        option = rest.pop(0)
        if option in ("--output", "--error"):
            job = os.environ["SLURM_JOB_ID"].split("_")
            name = rest.pop(0).replace("%A", job[0]).replace("%a", job[-1])
            name = name.replace("%j", job[0]).replace("%t", "0")
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(file, 1 if option == "--output" else 2)
    os.execvp(rest[0], rest)


def sacct(home: Path, *_: str) -> None:
    print("JobID|State|NodeList")
    for file in home.glob("*.state"):
        print(f"{file.stem}|{file.read_text()}|here")


def scancel(home: Path, *jobs: str) -> None:
    for job in jobs:
        for state in (*home.glob(f"{job}.state"), *home.glob(f"{job}_*.state")):
            if state.read_text() in ("PENDING", "RUNNING"):
                state.write_text("CANCELLED")
                os.killpg(int(state.with_suffix(".group").read_text()), signal.SIGKILL)


def scontrol(home: Path, requeue: str, job: str) -> None:
    assert requeue == "requeue"
    (home / f"{job}.queued").touch()


if __name__ == "__main__":
    program = Path(sys.argv[1])
    globals()[program.name](program.parent, *sys.argv[2:])
