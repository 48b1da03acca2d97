"""A disk that fills up stops a sweep in one line; with space again it goes on."""

import contextlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.soak.command import ablate, start, table, training, wait_for
from tests.soak.whole import assert_whole

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]


@pytest.fixture
def disk(project: Path) -> Iterator[Path]:
    """A file system of 8 MB, mounted where the workspace will be."""
    folder = project / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(ballast: Path, left: int) -> None:
    """Take all space but ``left`` bytes."""
    block = b"x" * 4096
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while file.write(block) == len(block):
            pass
    os.truncate(ballast, max(0, ballast.stat().st_size - left))


def test_a_full_disk(project: Path, disk: Path, undisturbed: dict[str, Any]) -> None:
    root, ballast, draws = disk / "runs", disk / "ballast", random.Random(8)
    command = ("run", "toy.yaml", "--workspace", "disk/runs", "--no-report")
    for _ in range(3):
        done = len(list(root.glob("trials/*/result.json")))
        process = start(project, *command, ABLATIONS_PAUSE="0.01")
        wait_for(lambda: training(root))
        fill(ballast, 4096 * draws.randrange(12))
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 2, output
        (told,) = [line for line in output.splitlines() if line.startswith("error: ")]
        assert told.startswith("error: disk/runs: no space is left on its disk; make some")
        assert "Traceback" not in output
        assert "failed" not in output
        assert len(list(root.glob("trials/*/result.json"))) >= done
        ballast.unlink()
    ablate(project, *command)
    assert table(project, "toy.yaml", "disk/runs") == undisturbed
    assert_whole(root)
