"""What is wrong is told in one line with file, key and nearest name, and nothing is created."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ablate
from tests.toy import edit_base, module_name, write_project

MODULE = module_name("pytorch_lightning")
ARGS = "model.init_args"


@pytest.fixture
def refused(ablate: Ablate, tmp_path: Path) -> Callable[..., str]:
    """Asserts that a command is refused in one line, with nothing created; returns that line."""

    def call(*arguments: str) -> str:
        before = {p for p in tmp_path.rglob("*") if p.name != "__pycache__"}
        told = ablate(*arguments)
        assert (told.code, len(told.errors)) == (2, 1), told
        made = {p for p in tmp_path.rglob("*") if p.name != "__pycache__"} - before
        assert not {p for p in made if p.suffix != ".pyc"}
        line = told.errors[0]
        assert line.startswith("error: ")
        assert len(line) < 400
        return line.removeprefix("error: ")

    return call


Refused = Callable[..., str]


def arm(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {"full": {}, "x": dict(changes)}


# --- keys that do not exist


def test_unknown_key_of_the_study(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path, sedes=3)
    for command in ("plan", "run", "status", "table", "report"):
        line = refused(command, "toy.yaml")
        assert line == 'toy.yaml: sedes: unknown key (did you mean "seeds"?)'


@pytest.mark.parametrize(
    ("key", "told", "hint"),
    [
        (f"{ARGS}.dropot", f"{ARGS}.dropot", "dropout"),
        ("model.droput", "model.droput", "dropout"),
        ("model.ini_args.dropout", "model.ini_args", "init_args"),
        ("modle.init_args.dropout", "modle", "model"),
        ("trainer.max_epoch", "trainer.max_epoch", "max_epochs"),
        ("data.init_args.batchsize", "data.init_args.batchsize", "batch_size"),
        ("optimizer.init_args.lrr", "optimizer.init_args.lrr", "lr"),
        ("optimiser", "optimiser", "optimizer"),
    ],
)
def test_unknown_key_of_arm_and_base(
    refused: Refused, tmp_path: Path, key: str, told: str, hint: str
) -> None:
    write_project(tmp_path, arms=arm({key: 1}))
    line = refused("plan", "toy.yaml")
    assert line == f'toy.yaml: arms.x.{told}: unknown key (did you mean "{hint}"?)'
    write_project(tmp_path)
    edit_base(tmp_path, {key: 1})
    line = refused("plan", "toy.yaml")
    assert line == f'base.yaml: {told}: unknown key (did you mean "{hint}"?)'


def test_unknown_key_within_a_list(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path)
    stopping = {"class_path": "pytorch_lightning.callbacks.EarlyStopping"}
    edit_base(tmp_path, {"trainer.callbacks": [stopping | {"init_args": {"monitr": "val/loss"}}]})
    line = refused("plan", "toy.yaml")
    said = 'EarlyStopping has no argument "monitr" (did you mean "monitor"?)'
    assert line == f"base.yaml: trainer.callbacks: {said}"
    edit_base(tmp_path, {"trainer.callbacks": [stopping]})
    line = refused("plan", "toy.yaml")
    assert line == "base.yaml: trainer.callbacks: EarlyStopping needs monitor"


def test_arguments_without_a_class(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path, arms=arm({"lr_scheduler.init_args.gamma": 0.1}))
    assert refused("plan", "toy.yaml") == "toy.yaml: arms.x.lr_scheduler: class_path is missing"


# --- values of another kind


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (f"{ARGS}.hidden", "many", "expected int, got 'many'"),
        (f"{ARGS}.hidden", {"a": 1}, "expected int, got {'a': 1}"),
        (f"{ARGS}.dropout", "low", "expected float, got 'low'"),
        (f"{ARGS}.bias", 3, "expected bool, got 3"),
        (
            f"{ARGS}.activation",
            "tahn",
            "expected one of relu, tanh, got 'tahn' (did you mean \"tanh\"?)",
        ),
        ("trainer.max_epochs", "two", "expected int, got 'two'"),
        ("optimizer.init_args.lr", "fast", "expected float, got 'fast'"),
        ("optimizer", 3, "expected a subclass of Optimizer, got 3"),
        ("trainer", 3, "expected a mapping, got 3"),
        ("model", MODULE, f"expected a mapping, got '{MODULE}'"),
        (ARGS, 3, "expected a mapping, got 3"),
        ("data.init_args", [3], "expected a mapping, got [3]"),
    ],
)
def test_wrong_type(refused: Refused, tmp_path: Path, key: str, value: Any, told: str) -> None:
    write_project(tmp_path, arms=arm({key: value}))
    assert refused("plan", "toy.yaml") == f"toy.yaml: arms.x.{key}: {told}"
    write_project(tmp_path)
    edit_base(tmp_path, {key: value})
    assert refused("plan", "toy.yaml") == f"base.yaml: {key}: {told}"


def test_an_argument_in_its_short_form(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path, arms=arm({"model.dropout": "low"}))
    line = refused("plan", "toy.yaml")
    assert line == "toy.yaml: arms.x.model.dropout: expected float, got 'low'"
    write_project(tmp_path)
    edit_base(tmp_path, {"model.hidden": 4})
    line = refused("plan", "toy.yaml")
    assert line == "base.yaml: model.hidden: is an argument; write it below init_args"


def test_a_choice_among_many(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path, arms=arm({"trainer.precision": "bf61"}))
    line = refused("plan", "toy.yaml")
    assert line.startswith("toy.yaml: arms.x.trainer.precision: expected int or one of ")
    assert line.endswith("got 'bf61' (did you mean \"bf16\"?)")


def test_values_that_the_module_itself_refuses(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path, arms=arm({f"{ARGS}.hidden": -3}))
    line = refused("plan", "toy.yaml")
    assert line.startswith("toy.yaml: arms.x: cannot be built: RuntimeError: Trying to create")


# --- arms


@pytest.mark.parametrize(
    "changes", [{}, {f"{ARGS}.dropout": 0.25}, {f"{ARGS}.bias": True}, {"trainer.max_epochs": 3}]
)
def test_an_arm_that_changes_nothing(
    refused: Refused, tmp_path: Path, changes: dict[str, Any]
) -> None:
    write_project(tmp_path, arms=arm(changes))
    line = refused("plan", "toy.yaml")
    assert line == 'toy.yaml: arms.x: changes nothing: it is the same as the baseline "full"'


@pytest.mark.parametrize(
    "other", [{ARGS: {"bias": False}}, {f"{ARGS}.bias": False, f"{ARGS}.hidden": 16}]
)
def test_identical_arms(refused: Refused, tmp_path: Path, other: dict[str, Any]) -> None:
    write_project(tmp_path, arms=arm({f"{ARGS}.bias": False}) | {"y": other})
    assert refused("plan", "toy.yaml") == 'toy.yaml: arms.y: is identical to arm "x"'


def test_the_baseline_is_missing(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path, baseline="ful")
    line = refused("plan", "toy.yaml")
    assert line == 'toy.yaml: baseline: no arm is called "ful" (did you mean "full"?)'


def test_no_such_arm_to_rerun(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path)
    line = refused("run", "toy.yaml", "--rerun", "no-bais")
    assert line.startswith('toy.yaml: no arm is called "no-bais"; there are full, ')
    assert line.endswith('(did you mean "no-bias"?)')


@pytest.mark.parametrize("seeds", ["0", "-1"])
def test_seeds(refused: Refused, tmp_path: Path, seeds: str) -> None:
    write_project(tmp_path, seeds=int(seeds))
    line = refused("run", "toy.yaml")
    assert line == f"toy.yaml: seeds: expected a whole number of at least 1, got {seeds}"
    write_project(tmp_path)
    line = refused("run", "toy.yaml", "--seeds", seeds)
    assert line == "--seeds: expected from 1 to 10,000 seeds"


# --- metrics


def test_a_metric_that_is_not_logged(refused: Refused, tmp_path: Path) -> None:
    arms = {"full": {}, "x": {"metric": "tst/loss"}, "y": {f"{ARGS}.bias": False}}
    write_project(tmp_path, arms=arms)
    logged = "test/error, test/loss, train/error, train/loss, val/error, val/loss"
    line = refused("run", "toy.yaml")
    said = f'"tst/loss" is not logged by fit or test; logged are {logged}'
    assert line == f'toy.yaml: arms.x.metric: {said} (did you mean "test/loss"?)'
    write_project(tmp_path, metric="test/err")
    line = refused("run", "toy.yaml")
    said = f'"test/err" is not logged by fit or test; logged are {logged}'
    assert line == f'toy.yaml: metric: {said} (did you mean "test/error"?)'


def test_every_mistake_is_told_at_once_by_workers(tmp_path: Path) -> None:
    arms = {"full": {}, "x": {f"{ARGS}.droput": 0}, "y": {"metric": "tst/loss"}}
    write_project(tmp_path, arms=arms)
    ran = subprocess.run(
        [sys.executable, "-m", "ablations", "run", "toy.yaml", "--workers", "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    told = [line for line in f"{ran.stdout}{ran.stderr}".splitlines() if "error: " in line]
    assert len(told) == 2
    hint = '(did you mean "dropout"?)'
    assert told[0] == f"error: toy.yaml: arms.x.{ARGS}.droput: unknown key {hint}"
    assert told[1].startswith('error: toy.yaml: arms.y.metric: "tst/loss" is not logged')
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "runs").exists()


def test_a_metric_whose_mode_cannot_be_told(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path, metric="test/quality")
    line = refused("plan", "toy.yaml")
    assert line.startswith('toy.yaml: metric: whether "test/quality" is better low or high')
    assert line.endswith("write {name: test/quality, mode: min} or mode: max")
    write_project(tmp_path, metric={"name": "test/quality", "mode": "mni"})
    line = refused("plan", "toy.yaml")
    said = "expected one of min, max, got 'mni' (did you mean \"min\"?)"
    assert line == f"toy.yaml: metric: {said}"


# --- classes


@pytest.mark.parametrize(
    ("key", "path", "told"),
    [
        (
            "model",
            f"{MODULE}.TwoClases",
            f'"{MODULE}" has nothing called "TwoClases" (did you mean "TwoClasses"?)',
        ),
        (
            "model",
            "two_class_pytorch_lightning.TwoClasses",
            f'no module named "two_class_pytorch_lightning" (did you mean "{MODULE}"?)',
        ),
        (
            "data",
            f"{MODULE}.Pointz",
            f'"{MODULE}" has nothing called "Pointz" (did you mean "Points"?)',
        ),
        (
            "data",
            "ablations.dataa.PackedDataModule",
            'no module named "ablations.dataa" (did you mean "ablations.data"?)',
        ),
        (
            "optimizer",
            "torch.optim.Adm",
            '"torch.optim" has nothing called "Adm" (did you mean "Adam"?)',
        ),
        (
            "optimizer",
            "Adm",
            "expected a dotted import path, got 'Adm' (did you mean \"torch.optim.Adam\"?)",
        ),
        ("model", "TwoClasses", "expected a dotted import path, got 'TwoClasses'"),
        (
            "model",
            "torch.nn.Linear",
            "expected a subclass of LightningModule, got 'torch.nn.Linear'",
        ),
        ("model", "fails.Net", "fails does not import: ZeroDivisionError: division by zero"),
        ("model", "needs.Net", "needs does not import: No module named 'nowhere_to_be_found'"),
    ],
)
def test_class_paths(refused: Refused, tmp_path: Path, key: str, path: str, told: str) -> None:
    (tmp_path / "fails.py").write_text("1 / 0\n")
    (tmp_path / "needs.py").write_text("import nowhere_to_be_found\n")
    write_project(tmp_path, arms=arm({f"{key}.class_path": path}))
    assert refused("plan", "toy.yaml") == f"toy.yaml: arms.x.{key}.class_path: {told}"
    write_project(tmp_path)
    edit_base(tmp_path, {f"{key}.class_path": path})
    assert refused("plan", "toy.yaml") == f"base.yaml: {key}.class_path: {told}"


def test_a_class_path_within_a_list(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path)
    path = "pytorch_lightning.callbacks.EarlyStoping"
    edit_base(tmp_path, {"trainer.callbacks": [{"class_path": path}]})
    said = 'has nothing called "EarlyStoping" (did you mean "EarlyStopping"?)'
    line = refused("plan", "toy.yaml")
    assert (
        line == f'base.yaml: trainer.callbacks[0].class_path: "pytorch_lightning.callbacks" {said}'
    )


def test_mixed_namespaces(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path, "lightning.pytorch")
    other = f"{module_name('lightning.pytorch')}.Points"
    said = "the model comes from pytorch_lightning, the data from lightning.pytorch; "
    said += "a Trainer takes both from one of them"
    write_project(tmp_path, arms=arm({"data.class_path": other}))
    assert refused("plan", "toy.yaml") == f"toy.yaml: arms.x.data.class_path: {said}"
    write_project(tmp_path)
    edit_base(tmp_path, {"data.class_path": other})
    assert refused("run", "toy.yaml") == f"base.yaml: data.class_path: {said}"


def test_a_model_without_class_path(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path)
    edit_base(tmp_path, {"model": {"dropout": 0.1}})
    line = refused("plan", "toy.yaml")
    assert line.startswith("base.yaml: model: the model has no class_path; name the project's own")


@pytest.mark.parametrize(
    ("cli", "told"),
    [
        ("nothing", 'expected "module:name", as in my_project.main:main'),
        ("nothing_here:main", 'no module named "nothing_here"'),
        (f"{MODULE}:TwoClases", f'"{MODULE}" has nothing called "TwoClases"'),
        ("os:sep", "os:sep is no class or function"),
        ("os:getcwd", "os:getcwd ended without building a LightningCLI"),
        ("os:fspath", "os:fspath needs arguments (path)"),
    ],
)
def test_command_lines(refused: Refused, tmp_path: Path, cli: str, told: str) -> None:
    write_project(tmp_path, cli=cli)
    assert refused("plan", "toy.yaml").startswith(f"toy.yaml: cli: {told}")


# --- files


def test_unreadable_yaml(refused: Refused, tmp_path: Path) -> None:
    file = write_project(tmp_path)
    (tmp_path / "base.yaml").write_text("model: [1\ndata: 2\n")
    line = refused("plan", "toy.yaml")
    assert line.startswith("base.yaml: line 2, column 5: not valid YAML: ")
    file.write_text("question: Why?\nbase: base.yaml\n arms: {}\n")
    line = refused("run", "toy.yaml")
    assert line.startswith("toy.yaml: line 3, column 6: not valid YAML: ")


def test_no_such_file(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path, base="bse.yaml")
    said = '"bse.yaml" is neither beside the study nor among the shipped bases'
    line = refused("run", "toy.yaml")
    assert line == f'toy.yaml: base: {said} (did you mean "base.yaml"?)'
    line = refused("run", "toi.yaml")
    said = "no such study: neither a file nor a shipped study"
    assert line == f'toi.yaml: {said} (did you mean "toy.yaml"?)'


# --- workspaces and servers


def test_a_workspace_that_cannot_be_written(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / "file").write_text("")
    for place in ("file", "file/runs", "file/deeper/runs"):
        line = refused("run", "toy.yaml", "--workspace", place)
        assert line.endswith("file: is not a folder")
    if Path("/proc/self").is_dir():
        line = refused("run", "toy.yaml", "--workspace", "/proc/self/runs")
        assert line == "/proc/self/runs: the workspace is not writable"


def test_a_workspace_of_another_kind(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path)
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "workspace.json").write_text('{"format": 99}')
    for command in ("plan", "run", "status", "table", "report"):
        line = refused(command, "toy.yaml")
        said = "the workspace has format 99, this version reads 1"
        assert line == f"runs/workspace.json: {said}"
    (runs / "workspace.json").write_text("not JSON")
    assert refused("run", "toy.yaml").startswith("runs/workspace.json: cannot be read: ")
    (runs / "workspace.json").rename(runs / "thesis.tex")
    line = refused("run", "toy.yaml")
    assert line == "runs: has files that are not a workspace's; give an empty or new folder"


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "nonsense://x"])
def test_a_tracking_server_that_does_not_answer(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    write_project(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    line = refused("run", "toy.yaml")
    assert line.startswith(f"MLFLOW_TRACKING_URI: {uri}: the tracking server does not answer: ")


def test_a_storage_that_cannot_be_opened(refused: Refused, tmp_path: Path) -> None:
    write_project(tmp_path)
    line = refused("run", "toy.yaml", "--storage", "sqlite:////proc/self/optuna.db")
    assert line.startswith("--storage: sqlite:////proc/self/optuna.db: cannot be opened: ")


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        ("psycopg", "cannot be opened: (psycopg.OperationalError) "),
        ("psycopg2", "psycopg2 is not installed: pip install 'ablations[postgres]'"),
    ],
)
def test_a_database_server_that_does_not_answer_is_told_before_the_rehearsal(
    ablate: Ablate, tmp_path: Path, driver: str, said: str
) -> None:
    if (find_spec(driver) is None) is (driver == "psycopg"):
        pytest.skip(f"{driver} is {'missing' if driver == 'psycopg' else 'installed'}")
    write_project(tmp_path)
    told = ablate("run", "toy.yaml", "--storage", f"postgresql+{driver}://me:word@127.0.0.1:9/x")
    assert told.code == 2
    assert "rehearsing" not in told.out
    (line,) = told.errors
    assert line.startswith(f"error: --storage: postgresql+{driver}://me:***@127.0.0.1:9/x: {said}")
    assert not (tmp_path / "runs").exists()


def test_a_base_that_says_nothing_of_the_trainer(ablate: Ablate, tmp_path: Path) -> None:
    write_project(tmp_path, metric="test/err")
    edit_base(tmp_path, {"trainer": 0})
    base = (tmp_path / "base.yaml").read_text()
    (tmp_path / "base.yaml").write_text(base.replace("trainer: 0", "trainer:"))
    assert ablate("run", "toy.yaml").code == 2


# --- an arm whose every seed fails


_FAILS = f"""\
from {MODULE} import TwoClasses


class Fails(TwoClasses):
    def __init__(self, late: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.late = late

    def on_train_epoch_end(self):
        if self.late and self.current_epoch == 1:
            raise ValueError("too late")
"""


def test_an_arm_whose_every_seed_fails(ablate: Ablate, tmp_path: Path) -> None:
    arms = arm({f"{ARGS}.late": True}) | {"no-bias": {f"{ARGS}.bias": False}}
    write_project(tmp_path, arms=arms, seeds=2)
    (tmp_path / "often_fails.py").write_text(_FAILS)
    edit_base(tmp_path, {"model.class_path": "often_fails.Fails"})
    told = ablate("run", "toy.yaml", "--no-report")
    assert told.code == 1
    assert told.out.count("failed: ValueError: too late") == 2
    table = json.loads(ablate("table", "toy.yaml", "--format", "json").out)
    rows = {row["arm"]: row for row in table["arms"]}
    assert {name: (row["n"], row["failed"]) for name, row in rows.items()} == {
        "full": (2, 0),
        "x": (0, 2),
        "no-bias": (2, 0),
    }
    assert rows["x"]["mean"] is rows["x"]["delta"] is None
    assert "x: seeds 0 and 1 failed." in ablate("table", "toy.yaml").out
    failure = json.loads(next(tmp_path.glob("runs/trials/*/failure.json")).read_text())
    assert failure["error"] == "ValueError: too late"
    assert 'raise ValueError("too late")' in failure["traceback"]
