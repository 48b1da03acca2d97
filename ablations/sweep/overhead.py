"""Less of the Trainer's own work in a step: it takes a small net as long as its arithmetic does."""

import dis
import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import Any
from unittest import mock

# Those of validation and test batches are left: Lightning looks at their parameters.
_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
_NOTHING = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}


@contextmanager
def less_overhead(namespace: str, trainer: Any, model: Any) -> Iterator[None]:
    """Within it a step does the same with fewer of Lightning's own operations.

    - Hooks that nobody has filled are passed over, as Lightning does with any that is not callable.
      A module that optimizes by hand keeps its own, since it may call them itself.
    - The name of the hook at work is set on the module without a search of its parameters.
    - The signature of ``training_step``, which is asked for at each step, is kept.
    - What was logged is not moved to the device on which it is already.

    Args:
        namespace: The package of the trainer, pytorch_lightning or lightning.pytorch.
        trainer: With all of its callbacks.
        model: The module to be trained.
    """
    kind: Any = type(model)
    owners = [*trainer.callbacks, *([model] if model.automatic_optimization else [])]
    empty = [(o, name) for o in owners for name in _HOOKS if does_nothing(o, name)]
    step = getattr(kind, "training_step", None)
    result = importlib.import_module(f"{namespace}.trainer.connectors.logger_connector.result")
    logged = getattr(result, "_ResultMetric", None)
    with ExitStack() as stack:
        for owner, name in empty:
            vars(owner)[name] = None  # past a module's __setattr__
            stack.callback(vars(owner).pop, name)
        stack.enter_context(mock.patch.object(kind, "__setattr__", _setting(kind.__setattr__)))
        if isinstance(step, FunctionType) and not hasattr(step, "__wrapped__"):
            kept = inspect.signature(step)
            stack.enter_context(mock.patch.object(step, "__signature__", kept, create=True))
        if logged is not None:
            stack.enter_context(mock.patch.object(logged, "to", _moving(logged.to)))
        yield


def does_nothing(owner: Any, name: str) -> bool:
    """Whether a method only returns None, by its bytecode."""
    method = getattr(type(owner), name, None)
    return (
        name not in vars(owner)
        and isinstance(method, FunctionType)
        and all(
            each.opname in _NOTHING and (each.argval is None or "CONST" not in each.opname)
            for each in dis.get_instructions(method)
        )
    )


def _setting(plain: Callable[[Any, str, Any], None]) -> Callable[[Any, str, Any], None]:
    def set_attribute(self: Any, name: str, value: Any) -> None:
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            plain(self, name, value)

    return set_attribute


def _moving(plain: Callable[..., Any]) -> Callable[..., Any]:
    def to(self: Any, device: Any) -> Any:
        if self.is_tensor and vars(self).get("is_on") == device:
            return self
        plain(self, device)
        self.is_on = device
        return self

    return to
