"""The wheel: what it holds, what it asks for, and that it works far from the repository."""

import ast
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_bytes
from email.message import Message
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path) -> str:
    """What the command prints; where it fails, the test says all that it printed."""
    # Neither the repository nor a developer's settings may help it along.
    hidden = ("PYTHONPATH", "MLFLOW_TRACKING_URI", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=REPOSITORY)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """The programs of an environment with the wheel, its dependencies borrowed from ours."""
    venv.create(tmp_path / "venv", with_pip=False)
    programs = tmp_path / "venv" / "bin"
    pip = (sys.executable, "-m", "pip", "--python", programs / "python")
    run(*pip, "install", "-qq", "--no-deps", wheel, cwd=tmp_path)
    paths = run(
        programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))",
        cwd=tmp_path,
    )  # fmt: skip
    (Path(paths.strip()) / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    return programs


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(metadata: Message) -> set[str]:
    """Names of the distributions asked for, with and without extras."""
    lines = metadata.get_all("Requires-Dist") or []
    return {canonical(re.split(r"[^\w.-]", line)[0]) for line in lines}


def pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_the_wheel_holds_the_package_the_studies_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {n for n in archive.namelist() if ".dist-info/" not in n}
    package, studies = REPOSITORY / "ablations", REPOSITORY / "study_configs"
    code = {f"ablations/{p.relative_to(package).as_posix()}" for p in package.rglob("*.*")}
    shipped = {
        f"ablations/study_configs/{p.relative_to(studies).as_posix()}" for p in studies.rglob("*.*")
    }
    assert held == {name for name in code | shipped if "__pycache__" not in name}
    assert "ablations/py.typed" in held
    assert "ablations/study_configs/quickstart.yaml" in held


def test_the_metadata_names_license_python_and_extras(metadata: Message) -> None:
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    extras = {"bench", "dev", "postgres", "ray", "slurm"}
    assert set(metadata.get_all("Provides-Extra") or []) == extras


def test_every_library_that_the_package_imports_is_asked_for(metadata: Message) -> None:
    known = packages_distributions()
    used: dict[str, str] = {}
    for path in (REPOSITORY / "ablations").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            used |= {name.partition(".")[0]: path.name for name in names}
    foreign = {n: f for n, f in used.items() if n not in {*sys.stdlib_module_names, "ablations"}}
    asked = requirements(metadata)
    missing = {
        name: file
        for name, file in foreign.items()
        if not asked & {canonical(distribution) for distribution in known.get(name, [name])}
    }
    assert missing == {}


def test_constraints_pin_what_a_test_installation_asks_for(metadata: Message) -> None:
    pinned = {canonical(name): version for name, version in pins().items()}
    untested = {"hydra-core", "hydra-joblib-launcher", "psycopg", "ray", "submitit"}
    assert requirements(metadata) - untested <= set(pinned)
    assert "torchvision" not in pinned
    assert not [name for name, version in pinned.items() if "+" in version]


def test_the_wheel_works_far_from_the_repository(installed: Path, tmp_path: Path) -> None:
    where = run(
        installed / "python", "-c", "import ablations; print(ablations.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(tmp_path)
    assert "run" in run(installed / "ablate", "--help", cwd=tmp_path)
    assert "quickstart" in run(installed / "ablate", "list", cwd=tmp_path)
