"""Which code trained: the commit of the module's own repository, if it has one."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ablations.sweep import commit
from ablations.sweep.commit import code_version


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An object whose class stands in a file of the test's folder."""
    (tmp_path / "net_of_test_commit.py").write_text("class Net:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("net_of_test_commit").Net()
    del sys.modules["net_of_test_commit"]


@pytest.fixture(autouse=True)
def afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    # a worker asks once: the code that it imported does not change under it
    monkeypatch.setattr(commit, "_version", commit._version.__wrapped__)


def test_commit_and_changes(tmp_path: Path, net: Any) -> None:
    assert code_version(net) == (None, None)
    git(tmp_path, "init", "-q")
    # inside somebody's repository, but no part of it
    assert code_version(net) == (None, None)
    git(tmp_path, "add", "net_of_test_commit.py")
    git(tmp_path, "commit", "-q", "-m", "A net")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert code_version(net) == (head, False)
    (tmp_path / "results.txt").write_text("not tracked")
    assert code_version(net) == (head, False)
    (tmp_path / "net_of_test_commit.py").write_text("class Net:\n    changed = True\n")
    assert code_version(net) == (head, True)


def test_code_without_a_file() -> None:
    assert code_version(3) == (None, None)
