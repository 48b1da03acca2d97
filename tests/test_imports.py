"""Who may know whom: the rooms of the package, held by a walk over its imports."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ablations"

# What a room may import of ours, beside itself.
KNOWS: dict[str, set[str]] = {
    "leaving": set(),
    "seeds": set(),
    "study": set(),
    "workspace": {"study"},
    "sweep": {"study", "workspace", "seeds", "leaving"},
    "results": {"study", "workspace"},
    "nets": {"data", "seeds"},
    "data": {"nets", "seeds"},
    "commands": {"study", "workspace", "seeds", "sweep", "results", "nets", "data"},
    "cli": {"study", "workspace", "seeds", "sweep", "results", "nets", "data", "commands"},
    "__main__": {"cli", "leaving"},
    "analysis": {"study", "workspace", "results", "nets", "data"},
}
# Rooms that read and plan without the heavy libraries: all that they may import of others.
PURE: dict[str, set[str]] = {
    "seeds": set(),
    "study": {"yaml"},
    "workspace": {"yaml", "filelock"},
}
# Libraries that one module alone talks to.
OWNERS = {"optuna": "ablations.sweep.ledger", "mlflow": "ablations.sweep.tracking"}
# What `ablate --help` may cost.
EAGER_IN_CLI = {"typer", "rich"}


@dataclass(frozen=True)
class Import:
    target: str
    name: str | None
    eager: bool


def imports(source: str, module: str, is_package: bool = False) -> list[Import]:
    package = (module if is_package else module.rpartition(".")[0]).split(".")
    return list(_walk(ast.parse(source), package, eager=True))


def _walk(node: ast.AST, package: list[str], eager: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, None, eager)
    elif isinstance(node, ast.ImportFrom):
        base = package[: len(package) + 1 - node.level] if node.level else []
        target = ".".join([*base, *filter(None, [node.module])])
        for alias in node.names:
            yield Import(target, alias.name, eager)
    else:
        lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        for child in ast.iter_child_nodes(node):
            yield from _walk(child, package, eager and not lazy)


def room(module: str) -> str:
    """The room of a module; the scripts outside the package are one more."""
    first, _, rest = module.partition(".")
    return rest.split(".")[0] if first == "ablations" else first


def complaints(module: str, found: list[Import]) -> list[str]:
    here = room(module)
    said = []
    for each in found:
        top = each.target.partition(".")[0]
        text = each.target if each.name is None else f"{each.target}.{each.name}"
        if top == "ablations":
            there = room(text) if text.count(".") else None
            if there in KNOWS and there != here:
                if there not in KNOWS[here]:
                    said.append(f"{module}: {here} must not know {there} ({text})")
                if any(part.startswith("_") for part in text.split(".")):
                    said.append(f"{module}: {text} is private to {there}")
                if here == "cli" and each.eager and there not in PURE:
                    said.append(f"{module}: import {text} inside a function")
        elif top == "analysis":
            if here != "analysis":
                said.append(f"{module}: {text} is no part of the package")
        elif top not in sys.stdlib_module_names:
            if here in PURE and top not in PURE[here]:
                said.append(f"{module}: {here} must not import {top}")
            if here == "cli" and each.eager and top not in EAGER_IN_CLI:
                said.append(f"{module}: import {top} inside a function")
            if OWNERS.get(top, module) != module:
                said.append(f"{module}: {top} belongs to {OWNERS[top]}")
    return said


def modules() -> dict[str, Path]:
    """Every module below a room; the package's own file belongs to none."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ["ablations", *path.relative_to(PACKAGE).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name != "ablations":
            found[name] = path
    scripts = {f"analysis.{path.stem}": path for path in sorted((ROOT / "analysis").glob("*.py"))}
    return found | scripts


def test_every_module_stands_in_a_known_room() -> None:
    assert {room(name) for name in modules()} <= set(KNOWS)


@pytest.mark.parametrize("name", modules())
def test_a_module_imports_only_what_its_room_may_know(name: str) -> None:
    path = modules()[name]
    found = imports(path.read_text(encoding="utf-8"), name, path.name == "__init__.py")
    assert complaints(name, found) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("ablations.study.design", "import torch", "study must not import torch"),
        ("ablations.study.design", "from .. import workspace", "study must not know workspace"),
        ("ablations.sweep.build", "def f():\n from ablations.nets import AlexNet", "not know nets"),
        ("ablations.results.frame", "from ablations.sweep import trial", "not know sweep"),
        ("ablations.nets.alexnet", "from ..data.packed import _read", "private to data"),
        ("ablations.nets.alexnet", "import ablations.results.frame", "not know results"),
        ("ablations.sweep.scheduler", "import optuna.study", "belongs to ablations.sweep.ledger"),
        ("ablations.cli", "from ablations.sweep import scheduler", "inside a function"),
        ("analysis.depth", "from ablations.sweep import trial", "analysis must not know sweep"),
        ("ablations.results.frame", "import analysis.depth", "analysis.depth is no part of"),
        ("ablations.cli", "class A:\n import pandas", "inside a function"),
        ("ablations.cli", "try:\n import torch\nexcept ImportError: pass", "inside a function"),
    ],
)
def test_a_wrong_import_is_named(module: str, source: str, complaint: str) -> None:
    (said,) = complaints(module, imports(source, module))
    assert complaint in said


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ablations.study.design", "import hashlib, yaml\nfrom .schema import Study"),
        ("ablations.sweep.ledger", "import optuna\nfrom ablations.study import Study"),
        ("ablations.nets.alexnet", "from ablations import __version__\nimport torch"),
        ("ablations.cli", "import typer\ndef run():\n from ablations.sweep import scheduler"),
        ("ablations.cli", "from ablations.workspace import Workspace"),
        ("ablations.cli", "class A:\n def f(self):\n  import torch"),
        ("ablations.cli", "if TYPE_CHECKING:\n from ablations.study import Study"),
    ],
)
def test_a_right_import_passes(module: str, source: str) -> None:
    assert complaints(module, imports(source, module)) == []


def test_a_sweep_imports_no_torch_beside_its_workers() -> None:
    modules = [f"ablations.sweep.{name}" for name in ("differences", "orders", "sources")]
    modules += [f"ablations.sweep.{name}" for name in ("scheduler", "ledger", "tracking", "tuning")]
    modules += ["ablations.commands.run", "ablations.commands.conclude", "mlflow"]
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
