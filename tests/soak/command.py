"""The ablate command as a user runs it: a process of its own, in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

ABLATE = [sys.executable, "-m", "ablations"]
MARK = "ABLATIONS_TEST_SESSION"
ENVIRONMENT = {
    **os.environ,
    MARK: uuid.uuid4().hex,
    "PYTHONPATH": str(Path(__file__).parents[2]),
    "ABLATIONS_CHECKPOINT_SECONDS": "0.3",
}


def start(folder: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*ABLATE, *arguments],
        cwd=folder,
        env=ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Where the tests run in the background of a shell, SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def ablate(folder: Path, *arguments: str, code: int = 0, **environment: str) -> str:
    process = start(folder, *arguments, **environment)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == code, output
    return output


def table(folder: Path, study: str, workspace: str) -> dict[str, Any]:
    """The JSON table without what no two runs share: seconds."""
    text = ablate(folder, "table", study, "--workspace", workspace, "--format", "json")
    content: dict[str, Any] = json.loads(text)
    for arm in content["arms"]:
        del arm["seconds"]
    return content


def wait_for(condition: Callable[[], Any], seconds: float = 240) -> Any:
    """The condition's value once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise TimeoutError


def training(workspace: Path, since: float = 0.0) -> list[int]:
    """Process ids of the workers that are in the middle of a trial, with a checkpoint."""
    found = []
    for file in workspace.glob("trials/*/checkpoint.ckpt"):
        attempt = json.loads((file.parent / "attempt.json").read_text())
        ended = (file.parent / "result.json").exists() or attempt["started"] < since
        if not ended and psutil.pid_exists(attempt["pid"]):
            found.append(attempt["pid"])
    return found


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)
