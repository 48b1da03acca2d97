"""Whether a subclass does anything otherwise than the class that can stack its members."""

from collections.abc import Sequence
from types import GetSetDescriptorType

# What every class brings: where its annotations come from, from Python 3.14 on.
_OWN = ("__init__", "__annotate__", "__annotate_func__")


def refuse_changes(members: Sequence[object], known: type) -> None:
    """Let members pass whose classes, down from one that is known, have only an ``__init__``.

    Raises:
        ValueError: A class has a method of its own, or changes an attribute.
    """
    for kind in {type(member): None for member in members}:
        for each in kind.__mro__[: kind.__mro__.index(known)]:
            for name, value in vars(each).items():
                changed = callable(value) or hasattr(value, "__get__")
                changed |= hasattr(known, name) and not name.startswith("__")
                if changed and name not in _OWN and not isinstance(value, GetSetDescriptorType):
                    raise ValueError(f"{each.__name__} has its own {name}")
