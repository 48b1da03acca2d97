"""Whether a net learned anything at all: its final training error against that of guessing."""

import math
import re
from collections.abc import Mapping
from typing import Any

STANDARD_ERRORS = 3.0
_LOGGED = re.compile(r"train(?:ing)?[/_.-](top1_error|acc|accuracy)(?:_epoch)?")


def chance_of(model: Any, metrics: Mapping[str, float], examples: float) -> dict[str, Any] | None:
    """The training error of guessing, where the model tells how many classes there are.

    It does by an attribute or a hyperparameter ``num_classes``, or by that of modules within it,
    such as torchmetrics' or timm's, where they agree; and by what it logs: ``train/top1_error`` in
    percent, or an accuracy such as ``train_acc``.

    Args:
        model: The module.
        metrics: Last logged.
        examples: In the training set.

    Returns:
        ``metric``, the name; ``level``, the error of guessing in percent, for equal classes;
        ``examples``. None where one of them is not known.
    """
    hyperparameters = getattr(model, "hparams", None) or {}
    classes = getattr(model, "num_classes", hyperparameters.get("num_classes"))
    if classes is None and hasattr(model, "modules"):
        within = {getattr(module, "num_classes", None) for module in model.modules()} - {None}
        classes = within.pop() if len(within) == 1 else None
    metric = next((name for name in metrics if _LOGGED.fullmatch(name)), None)
    if not isinstance(classes, int) or classes < 2 or metric is None or not 0 < examples < 1e308:
        return None
    return {"metric": metric, "level": 100 * (1 - 1 / classes), "examples": int(examples)}


def learned_nothing(chance: Mapping[str, Any] | None, metrics: Mapping[str, float]) -> bool:
    """Whether the training error is no better than guessing; False where that is not known."""
    if chance is None:
        return False
    value = metrics[chance["metric"]]
    if "acc" in chance["metric"]:
        value = 100 - value * (100 if value <= 1 else 1)
    return is_at_chance(value, chance["level"], chance["examples"])


def is_at_chance(error: float, chance: float, examples: int) -> bool:
    """Whether a final training error is no better than guessing.

    That is, not more than three binomial standard errors below chance. Not finite counts as
    chance, and so does an error above it.

    Args:
        error: In percent, over the training set.
        chance: Error in percent of guessing among equally frequent classes: 90 for ten. Where they
            are not, a net that only answers the most frequent one may be below it.
        examples: In the training set.
    """
    share = chance / 100
    se = 100 * math.sqrt(share * (1 - share) / examples)
    return not error < chance - STANDARD_ERRORS * se
