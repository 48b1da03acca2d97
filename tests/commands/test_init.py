import io
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ablations.commands.init import init
from ablations.study import InputError, Metric, load_study
from ablations.study.yamlfile import flatten

MODULE = '''
from typing import Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.cli import LightningCLI
from torch.utils.data import DataLoader, TensorDataset


class Net(pl.LightningModule):
    """A net of two layers.

    Args:
        use_norm: Normalise the hidden layer.
        activation: The nonlinearity.
        dropout: Probability of dropping
            a hidden unit.
    """

    def __init__(
        self,
        use_norm: bool = True,
        activation: Literal["ReLU", "Tanh"] = "ReLU",
        dropout: float = 0.25,
        missing: bool = False,
        verbose: bool = False,
        logs: str = "{split}/error {split}/loss",
    ):
        super().__init__()
        assert not missing, "needs a file that is not here"
        norm = torch.nn.BatchNorm1d(4) if use_norm else torch.nn.Identity()
        nonlinearity = getattr(torch.nn, activation)()
        drop = torch.nn.Dropout(dropout)
        last = torch.nn.Linear(4, 2)
        self.net = torch.nn.Sequential(torch.nn.Linear(2, 4), norm, nonlinearity, drop, last)
        self.logs = logs

    def step(self, batch, split):
        loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        for name in self.logs.format(split=split).split():
            self.log(name, loss)
        return loss

    def training_step(self, batch, batch_idx):
        return self.step(batch, "train")

    def test_step(self, batch, batch_idx):
        self.step(batch, "test")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Plain(Net):
    def __init__(self, logs: str = "test/error"):
        super().__init__(logs=logs)


class Points(pl.LightningDataModule):
    def __init__(self, noise: float = 0.1, pin_memory: bool = False):
        """Points in the plane.

        Args:
            noise: Standard deviation.
        """
        super().__init__()

    def train_dataloader(self):
        points = torch.randn(8, 2)
        return DataLoader(TensorDataset(points, (points[:, 0] > 0).long()), batch_size=4)

    test_dataloader = train_dataloader


def main():
    LightningCLI(Net, Points)
'''
TRAINER = "trainer: {max_epochs: 1, accelerator: cpu}\n"
DATA = "data: {class_path: pointed.Points}\n"
BASE = f"{TRAINER}model: {{class_path: pointed.Net, init_args: {{dropout: 0.5}}}}\n{DATA}"
PLAIN = f"{TRAINER}model: {{class_path: pointed.Plain, init_args: {{logs: LOGS}}}}\n{DATA}"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pointed.py").write_text(MODULE)
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


def call(base: str = "base.yaml", out: str = "study.yaml", **options: Any) -> str:
    console = Console(file=io.StringIO(), width=120)
    init(Path(base), Path(out), console, **{"only_list": False, "cli": None} | options)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def arms(out: str = "study.yaml") -> dict[str, dict[str, Any]]:
    return {arm.name: flatten(dict(arm.overrides)) for arm in load_study(out).arms}


def test_a_study_with_an_arm_for_each_switch_is_written(project: Path) -> None:
    said = call()
    study = load_study("study.yaml")
    assert arms() == {
        "baseline": {},
        "no-norm": {"model.init_args.use_norm": False},
        "activation=Tanh": {"model.init_args.activation": "Tanh"},
        "dropout=0": {"model.init_args.dropout": 0.0},
        "noise=0": {"data.init_args.noise": 0.0},
    }
    assert study.baseline == "baseline"
    assert study.question == "Which switches of Net and Points matter?"
    assert study.metric == Metric("test/error", "min")
    assert study.seeds == tuple(range(6))
    assert study.margin is None
    assert study.base == Path("base.yaml")
    assert {path.name for path in project.iterdir()} >= {"base.yaml", "pointed.py", "study.yaml"}
    assert "ablate plan study.yaml" in said
    assert "ablate run study.yaml" in said


def test_comments_tell_types_docstrings_and_what_was_left_out() -> None:
    said = call()
    text = Path("study.yaml").read_text()
    assert "# model.dropout: float, now 0.5\n  # Probability of dropping a hidden unit.\n" in text
    assert "# model.activation: Literal['ReLU', 'Tanh'], now ReLU\n" in text
    assert "# data.noise: float, now 0.1\n  # Standard deviation.\n" in text
    assert "# Logged too: test/loss, train/error, train/loss\n" in text
    assert "\n# margin: " in text
    assert "\n  # with-missing: {model.init_args.missing: true}\n" in text
    assert "needs a file that is not here" in " ".join(text.replace("#", "").split())
    assert "with-missing is left out: the rehearsal failed" in said
    assert "\n  # with-verbose: {model.init_args.verbose: true}\n" in text
    assert "\n  # with-pin-memory: {data.init_args.pin_memory: true}\n" in text


def test_the_base_is_named_from_where_the_study_stands(project: Path) -> None:
    call(str(project / "base.yaml"), "studies/first.yaml")
    study = load_study("studies/first.yaml")
    assert study.base == Path("studies/../base.yaml")
    assert study.name == "first"


def test_list_writes_nothing(project: Path) -> None:
    before = sorted(project.iterdir())
    Path("study.yaml").write_text("mine")
    said = call(only_list=True)
    Path("study.yaml").unlink()
    assert [path for path in sorted(project.iterdir()) if path.name != "__pycache__"] == before
    for word in ("model.use_norm", "bool", "Tanh", "Normalise the hidden layer.", "data.noise"):
        assert word in said


def test_a_file_is_never_overwritten() -> None:
    Path("study.yaml").write_text("mine")
    with pytest.raises(InputError, match=r"^study\.yaml: exists already"):
        call()
    assert Path("study.yaml").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_refused_at_once() -> None:
    with pytest.raises(InputError, match=r"^base\.yaml/study\.yaml: cannot be written"):
        call(out="base.yaml/study.yaml")


def test_a_project_with_its_own_command_line() -> None:
    Path("own.yaml").write_text(f"{TRAINER}model: {{dropout: 0.5}}\ndata: {{noise: 0.2}}\n")
    with pytest.raises(InputError, match=r"^own\.yaml: model: .*--cli my_project\.main:main$"):
        call("own.yaml")
    with pytest.raises(InputError, match=r"^--cli: .*\(did you mean \"main\"\?\)$"):
        call("own.yaml", cli="pointed:mian")
    call("own.yaml", cli="pointed:main")
    assert load_study("study.yaml").cli == "pointed:main"
    assert arms()["no-norm"] == {"model.use_norm": False}
    assert arms()["noise=0"] == {"data.noise": 0.0}


@pytest.mark.parametrize(
    ("logs", "metric"),
    [
        ("train/acc test/loss val_acc", Metric("test/loss", "min")),
        ("test/loss test/accuracy test/f1", Metric("test/accuracy", "max")),
        ("loss_step train_loss acc", Metric("acc", "max")),
        ("train_loss val_loss", Metric("val_loss", "min")),
        ("train_loss test_quality", Metric("test_quality", "min")),
    ],
)
def test_the_metric_is_the_most_telling_of_those_logged(logs: str, metric: Metric) -> None:
    Path("base.yaml").write_text(PLAIN.replace("LOGS", logs))
    said = call()
    assert load_study("study.yaml").metric == metric
    guessed = metric.name == "test_quality"
    assert ("CHECK" in Path("study.yaml").read_text()) == ("CHECK" in said) == guessed


def test_switches_of_the_same_name_are_told_apart() -> None:
    with Path("pointed.py").open("a") as file:
        file.write("\nclass Noisy(Plain):\n    def __init__(self, noise: float = 0.2):\n")
        file.write("        super().__init__()\n")
    sys.modules.pop("pointed", None)
    Path("base.yaml").write_text(f"{TRAINER}model: {{class_path: pointed.Noisy}}\n{DATA}")
    call()
    assert list(arms()) == ["baseline", "model.noise=0", "data.noise=0"]


@pytest.mark.parametrize(
    ("base", "complaint"),
    [
        (None, r"^bse\.yaml: no such file \(did you mean \"base\.yaml\"\?\)$"),
        ("model: {", r"^bse\.yaml: line 1, column \d+: not valid YAML"),
        ("question: Why?", r"^bse\.yaml: holds no model"),
        (BASE.replace(".Net", ".Nets"), r"^bse\.yaml: model\.class_path: .*\"Net\"\?\)$"),
        (BASE.replace("dropout", "drop"), r"^bse\.yaml: model\.\S*drop: unknown key"),
        (BASE.replace("dropout: 0.5", "missing: true"), r"^bse\.yaml: .*file that is not here"),
        (PLAIN.replace("LOGS", "''"), r"^bse\.yaml: fit and test log no metric"),
        (
            PLAIN.replace("data: {class_path: pointed.Points}", "").replace("LOGS", "a"),
            r"^bse\.yaml: no switch among .* true or false, a Literal or Enum, or a number",
        ),
    ],
)
def test_a_base_that_cannot_be_used_is_refused(base: str | None, complaint: str) -> None:
    if base is not None:
        Path("bse.yaml").write_text(base)
    with pytest.raises(InputError, match=complaint):
        call("bse.yaml")
    assert not Path("study.yaml").exists()
