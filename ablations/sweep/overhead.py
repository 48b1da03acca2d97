"""Less of the Trainer's own work in a step: it takes a small net as long as its arithmetic does."""

import dis
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from types import FunctionType
from typing import Any
from unittest import mock

# Lightning's functions that call a hook by its name, and of whom.
_CALLS: dict[str, Callable[[Any], Iterable[Any]]] = {
    "_call_lightning_module_hook": lambda trainer: (trainer.lightning_module,),
    "_call_callback_hooks": lambda trainer: trainer.callbacks,
    "_call_strategy_hook": lambda trainer: (trainer.strategy,),
}
_NOTHING = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}


@contextmanager
def less_overhead(namespace: str, model: Any) -> Iterator[None]:
    """Within it a step does the same with fewer of Lightning's own operations.

    - Hooks that nobody has filled are not called, nor timed, nor noted on the module by name.
    - The name of a hook is set on the module without a search of its parameters.
    - The signature of ``training_step``, which is asked for at each step, is kept.
    - What was logged is not moved to the device on which it is already.

    Args:
        namespace: The package of the trainer, pytorch_lightning or lightning.pytorch.
        model: The module to be trained.
    """
    kind: Any = type(model)
    step = getattr(kind, "training_step", None)
    calls = importlib.import_module(f"{namespace}.trainer.call")
    result = importlib.import_module(f"{namespace}.trainer.connectors.logger_connector.result")
    with ExitStack() as stack:

        def patch(owner: Any, name: str, made: Callable[[Any], Any]) -> None:
            # Another version of Lightning may have no such function, and is left as it is.
            if hasattr(owner, name):
                patched = mock.patch.object(owner, name, made(getattr(owner, name)))
                stack.enter_context(patched)

        for name, owners in _CALLS.items():
            patch(calls, name, partial(_calling, owners))
        patch(getattr(result, "_ResultMetric", None), "to", _moving)
        patch(kind, "__setattr__", _setting)
        if isinstance(step, FunctionType) and not hasattr(step, "__wrapped__"):
            kept = inspect.signature(step)
            stack.enter_context(mock.patch.object(step, "__signature__", kept, create=True))
        yield


def does_nothing(owner: Any, name: str) -> bool:
    """Whether a method only returns None."""
    method = getattr(type(owner), name, None)
    return (
        isinstance(method, FunctionType)
        and name not in getattr(owner, "__dict__", ())
        and _is_empty(method)
    )


@lru_cache(maxsize=1024)
def _is_empty(method: FunctionType) -> bool:
    """By its bytecode."""
    return all(
        each.opname in _NOTHING and (each.argval is None or "CONST" not in each.opname)
        for each in dis.get_instructions(method)
    )


def _calling(
    owners: Callable[[Any], Iterable[Any]], plain: Callable[..., Any]
) -> Callable[..., Any]:
    def call(trainer: Any, hook_name: str, *args: Any, **kwargs: Any) -> Any:
        for owner in owners(trainer):
            if "pl_module" in kwargs or not does_nothing(owner, hook_name):
                return plain(trainer, hook_name, *args, **kwargs)
        return None

    return call


def _setting(plain: Callable[[Any, str, Any], None]) -> Callable[[Any, str, Any], None]:
    def set_attribute(self: Any, name: str, value: Any) -> None:
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            plain(self, name, value)

    return set_attribute


def _moving(plain: Callable[..., Any]) -> Callable[..., Any]:
    def to(self: Any, device: Any) -> Any:
        return self if self.is_tensor and self.value.device == device else plain(self, device)

    return to
