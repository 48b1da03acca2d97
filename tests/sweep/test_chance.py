"""When a net has learned no more than to guess."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from ablations.sweep.chance import chance_of, is_at_chance, learned_nothing


@pytest.mark.parametrize(
    ("error", "examples", "expected"),
    [
        (90.0, 1000, True),
        (95.0, 1000, True),
        (87.5, 1000, True),
        (87.0, 1000, False),
        (89.5, 100_000, False),
        (math.nan, 1000, True),
        (math.inf, 1000, True),
    ],
)
def test_chance_is_within_three_standard_errors(
    error: float, examples: int, expected: bool
) -> None:
    # For ten classes and 1000 examples three standard errors are 2.85 points.
    assert is_at_chance(error, 90.0, examples) is expected


@pytest.mark.parametrize(
    ("model", "metrics", "examples"),
    [
        (SimpleNamespace(), {"train/top1_error": 90.0}, 100),
        (SimpleNamespace(num_classes=10), {"train/loss": 2.3, "val/acc": 0.1}, 100),
        (SimpleNamespace(num_classes=10), {"train/acc": 0.1}, math.inf),
        (SimpleNamespace(num_classes=1), {"train/acc": 0.1}, 100),
    ],
)
def test_chance_is_not_known_of_every_model(
    model: Any, metrics: dict[str, float], examples: float
) -> None:
    assert chance_of(model, metrics, examples) is None
    assert not learned_nothing(None, metrics)


@pytest.mark.parametrize(
    ("logged", "expected"),
    [
        ({"train/top1_error": 89.0}, True),
        ({"train/top1_error": 80.0}, False),
        ({"train_acc": 0.11}, True),
        ({"train_acc_epoch": 0.2}, False),
        ({"training/accuracy": 11.0}, True),
        ({"training/accuracy": 20.0}, False),
    ],
)
def test_errors_and_accuracies(logged: dict[str, float], expected: bool) -> None:
    model = SimpleNamespace(hparams={"num_classes": 10})
    chance = chance_of(model, logged, 1000)
    assert chance is not None and chance["level"] == pytest.approx(90)
    assert learned_nothing(chance, logged) is expected


def test_classes_are_known_from_the_modules_within() -> None:
    model = nn.ModuleDict({"net": nn.Linear(2, 10), "metric": nn.Identity()})
    assert chance_of(model, {"train_acc": 0.1}, 1000) is None
    model["metric"].num_classes = 10
    chance = chance_of(model, {"train_acc": 0.1}, 1000)
    assert chance is not None and chance["level"] == pytest.approx(90)
    model["net"].num_classes = 1000
    assert chance_of(model, {"train_acc": 0.1}, 1000) is None
