"""A batch or two tell what an arm logs, how big it is and what is wrong with it."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from ablations.study import InputError, Study, load_study
from ablations.sweep import rehearsal
from ablations.sweep.differences import changes, check_rehearsals
from ablations.sweep.rehearsal import inspect_arm, rehearse
from tests.sweep.conftest import order
from tests.toy import NAMESPACES, edit_base, module_name, write_project

_LOGGED = tuple(
    f"{stage}/{name}" for stage in ("test", "train", "val") for name in ("error", "loss")
)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: str) -> None:
    study = load_study(write_project(tmp_path / "project", namespace))
    monkeypatch.chdir(tmp_path)
    rehearsed = {arm.name: rehearse(order(study, Path(), arm.name)) for arm in study.arms}
    assert all(r.error is None and r.logged == _LOGGED for r in rehearsed.values())
    assert [r.parameters for r in rehearsed.values()] == [82, 82, 64]
    # 2 x (2 x 16 + 16 x 2): biases and dropout are no matrix products
    assert [r.flops for r in rehearsed.values()] == [128, 128, 128]
    assert check_rehearsals(study, rehearsed) == []
    baseline = rehearsed["full"].config
    assert changes(rehearsed["no-bias"].config, baseline) == {"model.init_args.bias": [True, False]}
    assert changes(baseline, baseline) == {}
    assert {path.name for path in tmp_path.iterdir()} == {"project"}


@pytest.mark.parametrize(("taken", "seconds"), [([0.5, 0.01], 0.12), ([2.0], 24.0)])
def test_a_trial_is_judged_by_a_batch_that_is_warm(
    toy: Study, monkeypatch: pytest.MonkeyPatch, taken: list[float], seconds: float
) -> None:
    """Of 3 epochs of 4 batches; a second batch only where the first was short."""
    ticks = iter([tick for batch in taken for tick in (10.0, 10.0 + batch)])
    monkeypatch.setattr(rehearsal, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    rehearsed = rehearse(order(toy, Path()))
    assert rehearsed.error is None
    assert rehearsed.logged == _LOGGED
    assert rehearsed.flops == 128
    assert rehearsed.seconds == pytest.approx(seconds)
    assert next(ticks, None) is None


def test_nothing_is_counted_after_a_batch_that_fails(
    toy: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = order(toy, Path())
    assert rehearse(asked).error is None
    net = sys.modules[module_name(NAMESPACES[0])].TwoClasses
    monkeypatch.setattr(net, "training_step", lambda self, batch, batch_idx: 1 / 0)
    assert "ZeroDivisionError" in str(rehearse(asked).error)
    assert not is_in_torch_dispatch_mode()


@pytest.mark.parametrize(
    ("device", "found", "waits"),
    [("cuda:1", "cuda", True), ("cpu", "cuda", False), ("cpu", None, False)],
)
def test_the_time_of_a_batch_is_taken_once_the_device_has_done_it(
    monkeypatch: pytest.MonkeyPatch, device: str, found: str | None, waits: bool
) -> None:
    done: list[Any] = []
    there = found and torch.device(found)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: bool(found))
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: there)
    monkeypatch.setattr(torch.accelerator, "synchronize", done.append)
    looks = SimpleNamespace(monotonic=lambda: done.append("time") or float(len(done)))
    monkeypatch.setattr(rehearsal, "time", looks)
    root = torch.device(device)
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=root), train_dataloader=[0])
    clock = rehearsal._Clock()
    clock.on_train_batch_start(trainer, None, None, 0)
    clock.on_train_batch_end(trainer)
    assert done == ([root, "time", root, "time"] if waits else ["time", "time"])


def test_an_arm_is_inspected_without_training(toy: Study, tmp_path: Path) -> None:
    inspected = inspect_arm(order(toy, tmp_path / "trial", "no-bias"))
    assert (inspected.parameters, inspected.flops, inspected.logged) == (64, None, ())
    assert not (tmp_path / "trial").exists()
    with pytest.raises(InputError, match="expected int, got 'many'"):
        inspect_arm(order(toy, tmp_path, hidden="many"))


def test_arms_that_differ_in_where_they_train_are_told_apart_without_it(
    toy: Study, tmp_path: Path
) -> None:
    here = order(toy, tmp_path)
    places = {"accelerator": "gpu", "devices": 8, "strategy": "ddp"}
    there = replace(here, recipe=replace(here.recipe, overrides={"trainer": places}))
    told = changes(inspect_arm(there).config, inspect_arm(here).config)
    assert {key: new for key, (_, new) in told.items()} == {
        f"trainer.{key}": value for key, value in places.items()
    }


_NETS = f"""\
import torch
from torch import nn
from {module_name("pytorch_lightning")} import TwoClasses


class Convolves(TwoClasses):
    def __init__(self, example: bool = False, frozen: bool = False):
        super().__init__()
        self.net = nn.Sequential(
            nn.Unflatten(1, (1, 1, 2)), nn.Conv2d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(8, 2)
        )
        if example:
            self.example_input_array = torch.zeros(5, 2)
        if frozen:
            self.net[1].requires_grad_(False)

    def forward(self, points):
        return self.net(points)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(2))

    def forward(self, points):
        return points * self.factor


class Multiplies(TwoClasses):
    def __init__(self):
        super().__init__()
        self.net = Scale()
"""


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    write_project(folder)
    (folder / "nets_of_tests.py").write_text(_NETS)
    return folder


def net(folder: Path, name: str, **init_args: Any) -> Study:
    edit_base(folder, {"model": {"class_path": f"nets_of_tests.{name}", "init_args": init_args}})
    return load_study(folder / "toy.yaml")


@pytest.mark.parametrize("example", [True, False])
def test_parameters_and_flops(nets: Path, example: bool) -> None:
    study = net(nets, "Convolves", example=example)
    rehearsed = rehearse(order(study, Path()))
    # a 3 x 3 convolution of a 1 x 2 image onto 4 channels, then 8 onto 2: 2 per multiply-add
    assert rehearsed.flops == 2 * (9 * 2 * 4) + 2 * (8 * 2)
    assert rehearsed.parameters == (4 * 9 + 4) + (8 * 2 + 2)
    assert inspect_arm(order(study, Path())).flops == (rehearsed.flops if example else None)


def test_parameters_that_are_not_trained(nets: Path) -> None:
    assert rehearse(order(net(nets, "Convolves", frozen=True), Path())).parameters == 18


def test_flops_that_are_not_known(nets: Path) -> None:
    rehearsed = rehearse(order(net(nets, "Multiplies"), Path()))
    assert rehearsed.error is None
    assert rehearsed.flops is None


@pytest.mark.parametrize(
    ("act", "told"),
    [
        ("raise", "the rehearsal failed: ValueError: too bad and more (unruly_classes.py, line "),
        ("exit", "the rehearsal failed: SystemExit: 3 (unruly_classes.py, line "),
    ],
)
def test_an_arm_that_cannot_be_trained(unruly: Study, act: str, told: str) -> None:
    rehearsed = rehearse(order(unruly, Path(), "no-bias", act=act, at=0))
    assert rehearsed.error is not None
    assert str(rehearsed.error).startswith(f"{unruly.file}: arms.no-bias: {told}")
    assert "\n" not in str(rehearsed.error)
    (error,) = check_rehearsals(unruly, {"no-bias": rehearsed})
    assert error is rehearsed.error
