from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import pytest

from ablations.commands.switches import Switch, find_switches

if TYPE_CHECKING:
    from elsewhere import Unknown  # type: ignore[import-not-found]


class Pool(Enum):
    MAX = 1
    MEAN = 2
    AVERAGE = 2


class Parent:
    def __init__(self, label_smoothing: float = 0.1) -> None:
        """A parent.

        Args:
            label_smoothing: spread
                over the classes.
        """


class Model(Parent):
    """A model.

    Args:
        lrn: Normalise.
    """

    def __init__(self, lrn: bool, later: "Unknown", pool: "Pool", **kwargs: Any) -> None:
        super().__init__(**kwargs)


@dataclass
class Options:
    gated: bool = False


def load(key: str, path: str) -> Any:
    return {"here.Model": Model, "here.Parent": Parent}[path]


def found(arguments: dict[str, Any], owner: Any) -> dict[str, tuple[Any, ...]]:
    return {s.key: s.others for s in find_switches(arguments, "model", owner, load)}


def taking(hint: Any) -> Any:
    def owner(value: Any, dropout: Any, noise_steps: Any) -> None: ...

    owner.__annotations__ = {"value": hint, "dropout": hint, "noise_steps": hint}
    return owner


def test_types_and_docstrings_come_from_the_class_and_its_parents() -> None:
    section = {
        "class_path": "here.Model",
        "init_args": {"lrn": True, "later": 3, "pool": "MAX", "label_smoothing": 0.1},
    }
    assert list(find_switches(section, "model", None, load)) == [
        Switch("model.init_args.lrn", "bool", True, (False,), "Normalise."),
        Switch("model.init_args.pool", "Pool", "MAX", ("MEAN",), ""),
        Switch("model.init_args.label_smoothing", "float", 0.1, (0.0,), "spread over the classes."),
    ]


@pytest.mark.parametrize(
    ("hint", "value", "others"),
    [
        (bool, False, (True,)),
        (bool | None, True, (False,)),
        (bool | None, None, ()),
        (Literal["a", "b", "c"], "b", ("a", "c")),
        (Literal["a", "b"] | None, "a", ("b", None)),
        (Literal["a", "b"] | None, None, ("a", "b")),
        (Literal[0, 1, False], 0, (1, False)),
        (float | Literal["auto"], 0.5, ()),
        (Pool | None, "MEAN", ("MAX", None)),
        (int, 3, ()),
        (str, "relu", ()),
        (list[bool], [True], ()),
    ],
)
def test_the_other_values_of_a_type(hint: Any, value: Any, others: tuple[Any, ...]) -> None:
    assert found({"value": value}, taking(hint)) == ({"model.value": others} if others else {})


@pytest.mark.parametrize(
    ("hint", "name", "value", "is_switch"),
    [
        (float, "dropout", 0.5, True),
        (float | None, "dropout", 1, True),
        (float, "dropout", 0.0, False),
        (float, "noise_steps", 1.0, True),
        (int, "noise_steps", 1000, False),
        (float, "value", 0.5, False),
        (str, "dropout", 0.5, True),
    ],
)
def test_a_strength_above_zero_is_a_switch(
    hint: Any, name: str, value: float, is_switch: bool
) -> None:
    assert bool(found({name: value}, taking(hint))) == is_switch


@pytest.mark.parametrize(
    "name",
    ["dropout", "attn_dropout", "drop_rate", "drop_path_rate", "p_drop", "mixup_alpha", "noise_sd"],
)
def test_names_of_strengths(name: str) -> None:
    assert found({name: 0.5}, object) == {f"model.{name}": (0.0,)}


def test_what_is_nested_is_looked_into_unless_it_is_a_library_s() -> None:
    def owner(net: Any, optimizer: Any, options: Options) -> None: ...

    arguments = {
        "net": {"class_path": "here.Parent", "init_args": {"label_smoothing": 0.1}},
        "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"amsgrad": False}},
        "options": {"gated": False},
        "sizes": {"plain": True},
    }
    assert found(arguments, owner) == {
        "model.net.init_args.label_smoothing": (0.0,),
        "model.options.gated": (True,),
    }


@pytest.mark.parametrize(
    ("name", "now", "value", "arm"),
    [
        ("lrn", True, False, "no-lrn"),
        ("use_batch_norm", True, False, "no-batch-norm"),
        ("ten_crop", False, True, "with-ten-crop"),
        ("no_bias", False, True, "no-bias"),
        ("no_bias", True, False, "with-bias"),
        ("activation", "relu", "tanh", "activation=tanh"),
        ("norm", "batch", None, "norm=null"),
        ("norm", "batch", False, "norm=false"),
        ("weight_decay", 0.0005, 0.0, "weight_decay=0"),
        ("depth", 18, 50, "depth=50"),
    ],
)
def test_names_of_arms(name: str, now: Any, value: Any, arm: str) -> None:
    assert Switch(f"model.init_args.{name}", "", now, (value,), "").arm(value) == arm
