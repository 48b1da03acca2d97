import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.toy import InlineExecutor


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: takes minutes or needs a server or a browser")
    # Handlers that libraries made in one test write to a stream that is closed in the next.
    logging.raiseExceptions = False
    # A developer's own tracking server is no place for what tests make.
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@dataclass(frozen=True)
class Told:
    """How a command ended and what it printed."""

    code: int
    out: str
    errors: list[str]


Ablate = Callable[..., Told]


@pytest.fixture
def ablate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Ablate:
    """The command in a project's folder, in this process and with trials in this process."""
    # Imported before output is captured: their loggers keep the stream of that moment.
    import pytorch_lightning  # noqa: F401

    from ablations import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ablations.commands.executor.LocalExecutor", InlineExecutor)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["ablate", *arguments])
        capfd.readouterr()
        try:
            code: Any = cli.main()
        except SystemExit as end:
            code = end.code
        captured = capfd.readouterr()
        return Told(code or 0, captured.out, captured.err.splitlines())

    return call


class _NoTracker:
    """A Tracker that mirrors nothing: MLflow's fresh store takes longer than toy trials."""

    trouble = ids = None

    def __init__(self, *_: Any) -> None:
        pass

    def sync(self, *_: Any) -> None:
        pass

    conclude = close = sync


@pytest.fixture
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps of this test are not mirrored into MLflow."""
    monkeypatch.setattr("ablations.sweep.tracking.Tracker", _NoTracker)
