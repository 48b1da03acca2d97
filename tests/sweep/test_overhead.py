"""A step with less of the Trainer's work is the same step."""

import importlib
import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import pytorch_lightning
import torch
from torch.utils.data import DataLoader

from ablations.sweep.overhead import does_nothing, less_overhead
from tests.toy import NAMESPACES


class Noting:
    """A module of which some hooks are filled; the namespace's LightningModule is its parent."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)
        self.noted: list[Any] = []

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        self.noted.append(self._current_fx_name)
        points, labels = batch
        loss = torch.nn.functional.cross_entropy(self.layer(points), labels)
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.log("doubled", 2 * loss.detach())
        return loss

    def on_after_backward(self: Any) -> None:
        norm = sum(float(each.grad.norm()) for each in self.parameters())
        self.log("norm", norm)
        self.noted.append((self._current_fx_name, norm))

    def on_train_epoch_end(self: Any) -> None:
        self.log("weight", self.layer.weight.sum())

    def train_dataloader(self) -> Any:
        draws = torch.Generator().manual_seed(0)
        points = torch.randn(20, 3, generator=draws)
        made = list(zip(points, (points[:, 0] > 0).long(), strict=True))
        return DataLoader(made, batch_size=4)  # type: ignore[arg-type]

    def configure_optimizers(self: Any) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def fitted(
    namespace: str, lighter: bool, profiler: Any = None, **members: Any
) -> tuple[Any, Any, Any]:
    """Trainer, module and callback after two epochs."""
    pl: Any = importlib.import_module(namespace)
    torch.manual_seed(0)
    model = type("Module", (Noting, pl.LightningModule), members)()

    def on_train_batch_end(self: Any, *_: Any) -> None:
        self.ends = getattr(self, "ends", 0) + 1

    callback = type("Own", (pl.Callback,), {"on_train_batch_end": on_train_batch_end})()
    off = ("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "logger")
    how: dict[str, Any] = dict.fromkeys(off, False)
    how |= {"callbacks": [callback], "profiler": profiler}
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", **how)
    around: AbstractContextManager[None] = (
        less_overhead(namespace, model) if lighter else nullcontext()
    )
    with around:
        trainer.fit(model)
    return trainer, model, callback


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_the_same_training(namespace: str) -> None:
    (plain, model, callback), (trainer, lighter, other) = (
        fitted(namespace, each) for each in (False, True)
    )
    assert callback.ends == other.ends == 10
    assert lighter.noted == model.noted and len(model.noted) == 20
    assert model.noted[0] == "training_step" and model.noted[1][0] == "on_after_backward"
    assert torch.equal(lighter.layer.weight, model.layer.weight)
    kept = {name: float(value) for name, value in plain.callback_metrics.items()}
    assert set(kept) == {"loss", "loss_step", "loss_epoch", "doubled", "norm", "weight"}
    assert {name: float(value) for name, value in trainer.callback_metrics.items()} == kept
    assert all(math.isfinite(value) for value in kept.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_less_is_done(namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pl: Any = importlib.import_module(namespace)
    result = importlib.import_module(f"{namespace}.trainer.connectors.logger_connector.result")
    actions, names, moved = list[str](), list[str](), list[Any]()
    move = result._ResultMetric.to

    def start(self: Any, action_name: str) -> None:
        actions.append(action_name.rpartition(".")[2])

    def set_attribute(self: Any, name: str, value: Any) -> None:
        names.append(name)
        pl.LightningModule.__setattr__(self, name, value)

    def to(self: Any, *args: Any) -> Any:
        moved.append(self)
        return move(self, *args)

    monkeypatch.setattr(result._ResultMetric, "to", to)
    members = {"start": start, "stop": lambda self, action_name: None}
    for lighter in (False, True):
        for seen in (actions, names, moved):
            seen.clear()
        profiler = type("Profiler", (pl.profilers.Profiler,), members)()
        fitted(namespace, lighter, profiler, __setattr__=set_attribute)
        assert actions.count("on_after_backward") == 10 + (0 if lighter else 10)  # and of callbacks
        assert actions.count("on_before_zero_grad") == (0 if lighter else 20)
        assert (names.count("_current_fx_name") == 1) is lighter  # at construction
        assert "layer" in names
        # Three values a step, one an epoch, and all four at the end.
        assert len(moved) == (0 if lighter else 3 * 10 + 2 + 4)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_it_leaves_everything_as_it_was(namespace: str) -> None:
    module = importlib.import_module(namespace).LightningModule
    kind = type("Module", (Noting, module), {})
    model = kind()
    call = importlib.import_module(f"{namespace}.trainer.call")
    result = importlib.import_module(f"{namespace}.trainer.connectors.logger_connector.result")
    before = [call._call_callback_hooks, result._ResultMetric.to]
    with less_overhead(namespace, model):
        assert call._call_callback_hooks is not before[0]
        assert result._ResultMetric.to is not before[1]
        assert hasattr(Noting.training_step, "__signature__")
        model.kept = "set within"
    assert [call._call_callback_hooks, result._ResultMetric.to] == before
    assert "__setattr__" not in vars(kind) and not hasattr(Noting.training_step, "__signature__")
    assert model.kept == "set within"


@pytest.mark.filterwarnings("ignore")
def test_hooks_that_are_called_by_the_module_or_put_on_it() -> None:
    seen: list[str] = []

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        self.on_before_backward(None)  # empty, and there all the same
        return self.layer(batch[0]).square().mean()

    def on_train_start(self: Any) -> None:
        self.on_before_zero_grad = lambda optimizer: seen.append("put on it")

    fitted(NAMESPACES[0], True, training_step=training_step, on_train_start=on_train_start)
    assert seen == 10 * ["put on it"]


@pytest.mark.filterwarnings("ignore")
def test_a_module_with_a_way_of_its_own_to_set_attributes() -> None:
    def set_attribute(self: Any, name: str, value: Any) -> None:
        if name == "own":
            value += 1
        pytorch_lightning.LightningModule.__setattr__(self, name, value)

    _, model, _ = fitted(NAMESPACES[0], False, __setattr__=set_attribute)
    with less_overhead(NAMESPACES[0], model):
        model.own = 1
        model._current_fx_name = "training_step"
    assert model.own == 2 and model._current_fx_name == "training_step"
    assert vars(type(model))["__setattr__"] is set_attribute


class WithoutHash:
    """Equal to others of its kind, so without a hash."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WithoutHash)

    def __call__(self) -> None:
        pass


class Hooks:
    put = WithoutHash()

    def told(self, batch: Any) -> None:
        """Only documented."""

    def bare(self, *_: Any) -> None:
        pass

    def unfinished(self) -> None: ...

    def none(self) -> None:
        return None

    def number(self) -> int:
        return -1

    def same(self, batch: Any) -> Any:
        return batch

    def refuses(self) -> None:
        raise NotImplementedError

    def calls(self) -> None:
        self.none()

    @torch.no_grad()
    def decorated(self) -> None:
        pass


@pytest.mark.parametrize(
    ("name", "empty"),
    [
        *((name, True) for name in ("told", "bare", "unfinished", "none")),
        *((name, False) for name in ("number", "same", "refuses", "calls", "decorated")),
        *((name, False) for name in ("put", "no_such")),
    ],
)
def test_what_does_nothing(name: str, empty: bool) -> None:
    assert does_nothing(Hooks(), name) is empty


def test_a_hook_put_on_an_object_is_kept() -> None:
    hooks: Any = Hooks()
    hooks.none = lambda: 1
    assert not does_nothing(hooks, "none")
