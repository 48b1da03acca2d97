"""MLflow's pages as a person sees them, in a headless Chromium."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.soak.command import ablate, start
from tests.toy import write_project

pytestmark = pytest.mark.soak


def page(address: str, profile: Path) -> str:
    """The page's document once its scripts have run."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("needs Chromium")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-sync"]
    command += ["--disable-component-update", f"--user-data-dir={profile}"]
    command += ["--virtual-time-budget=40000", "--window-size=1800,1400", "--dump-dom", address]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240)
    return ran.stdout


def test_mlflow_shows_the_arms_and_their_deltas(tmp_path: Path) -> None:
    write_project(tmp_path)
    ablate(tmp_path, "run", "toy.yaml", "--no-report")
    server = start(tmp_path, "ui", "toy.yaml", "--port", "0")
    try:
        lines: dict[str, str] = {}
        assert server.stdout is not None
        while "comparison" not in lines:
            name, _, address = server.stdout.readline().strip().partition(" ")
            lines[name] = address.strip()
            assert server.poll() is None, lines
        assert lines["runs"].startswith("http://127.0.0.1:")
        runs = page(lines["runs"], tmp_path / "profile")
        comparison = page(lines["comparison"], tmp_path / "profile")
    finally:
        os.kill(server.pid, signal.SIGINT)
        server.communicate(timeout=30)
    for arm in ("full", "no-dropout", "no-bias"):
        assert arm in runs
        assert arm in comparison
    assert "Comparing 3 Runs" in comparison
    for metric in ("delta", "interval_low", "p_holm"):
        assert metric in comparison
