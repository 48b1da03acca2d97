"""Preempted, hanging and greedy trials: the sweep ends with the undisturbed run's table."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.soak.command import ablate, table
from tests.soak.conftest import ARMS, SEEDS
from tests.soak.whole import assert_whole

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
RUN = ("run", "toy.yaml", "--workspace", "faults", "--no-report", "--timeout", "10s")


@pytest.fixture(scope="module")
def group() -> Iterator[Path | None]:
    """A control group of 256 MB, beyond which the kernel kills; None where it cannot be made."""
    for root, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        made = root / f"ablations-test-{os.getpid()}"
        try:
            made.mkdir()
            (made / limit).write_text(str(1 << 28))
            if (made / "memory.swap.max").exists():
                (made / "memory.swap.max").write_text("0")
        except OSError:
            if made.exists():
                made.rmdir()
            continue
        yield made
        made.rmdir()
        return
    yield None


@pytest.fixture(scope="module")
def disturbed(project: Path, group: Path | None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a sweep printed in which each of four trials did one bad thing."""
    acts = tmp_path_factory.mktemp("acts")
    for act in ("preempt", "hang", "raise_memory_error"):
        (acts / f"{act}.act").write_text("")
    if group is not None:
        (acts / "exhaust_memory.act").write_text(str(group))
    output = ablate(project, *RUN, code=1, ABLATIONS_ACTS=str(acts))
    assert not list(acts.glob("*.act"))
    return output


def results(project: Path) -> list[dict[str, Any]]:
    files = (project / "faults").glob("trials/*/result.json")
    return [json.loads(file.read_text()) for file in files]


def test_a_preempted_trial_goes_on(project: Path, disturbed: str) -> None:
    assert disturbed.count("was told to end; going on with it") == 1
    assert any(result["resumed"] for result in results(project))


def test_a_hanging_trial_is_ended(disturbed: str) -> None:
    assert disturbed.count("made no progress; trying again") == 1


def test_a_trial_that_the_kernel_kills(group: Path | None, disturbed: str) -> None:
    if group is None:
        pytest.skip("no control group can be made here")
    assert disturbed.count("died; trying again") == 1


def test_a_trial_without_memory_fails_alone(project: Path, disturbed: str) -> None:
    assert disturbed.count("failed: MemoryError") == 1
    failures = list((project / "faults").glob("trials/*/failure.json"))
    assert len(failures) == 1
    assert "raise_memory_error" in json.loads(failures[0].read_text())["traceback"]
    assert len(results(project)) == ARMS * SEEDS - 1


def test_all_of_them_come_to_the_undisturbed_table(
    project: Path, disturbed: str, undisturbed: dict[str, Any]
) -> None:
    assert "1 trials to run" in ablate(project, *RUN)
    assert table(project, "toy.yaml", "faults") == undisturbed
    assert_whole(project / "faults")
