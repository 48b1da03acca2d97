"""The wheel, alone in a fresh environment, ablates projects that never heard of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.toy import NAMESPACES, write_project

pytestmark = pytest.mark.soak
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ablate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ablate command of a fresh environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("fresh")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    install = [str(folder / "venv/bin/python"), "-m", "pip", "install", "-qq"]
    install += ["-c", str(ROOT / "constraints.txt"), str(wheel), "lightning"]
    subprocess.run(install, check=True, capture_output=True)
    return folder / "venv/bin/ablate"


def run(ablate: Path, folder: Path, *arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    ran = subprocess.run(
        [str(ablate), *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_plain_project_of_either_namespace(ablate: Path, tmp_path: Path, namespace: str) -> None:
    study = write_project(tmp_path, namespace)
    assert len(study.read_text().splitlines()) <= 10
    output = run(ablate, tmp_path, "run", "toy.yaml")
    assert "no-dropout" in output
    table = json.loads(run(ablate, tmp_path, "table", "toy.yaml", "--format", "json"))
    assert [arm["n"] for arm in table["arms"]] == [3, 3, 3]
    assert table["arms"][0]["verdict"] == "baseline"
    assert (tmp_path / "runs/studies/toy/toy.html").stat().st_size > 10_000
    run(ablate, tmp_path, "report", "toy.yaml")
    assert (tmp_path / "reports/toy.ipynb").exists()


def test_shipped_studies_without_the_repository(ablate: Path, tmp_path: Path) -> None:
    assert "quickstart" in run(ablate, tmp_path, "list")
    planned = json.loads(run(ablate, tmp_path, "plan", "quickstart", "--format", "json"))
    assert len(planned["arms"]) == 7
    assert not (tmp_path / "runs").exists()


def test_help_is_instant(ablate: Path, tmp_path: Path) -> None:
    """Nothing heavy is imported for it; the time itself is a benchmark's business."""
    probe = "import sys, ablations.cli; print([m for m in sys.modules if m in sys.argv[1:]])"
    python = str(ablate.with_name("python"))
    heavy = ["torch", "pandas", "mlflow", "optuna", "scipy", "matplotlib", "pytorch_lightning"]
    ran = subprocess.run([python, "-c", probe, *heavy], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
