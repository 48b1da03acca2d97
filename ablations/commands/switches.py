"""The switches of a model and its data: arguments whose change asks a question by itself."""

import inspect
import re
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from enum import Enum
from typing import Any, Literal

import docstring_parser

# Numbers for which zero means "without".
_STRENGTH = re.compile(
    r"dropout|drop_?(?:rate|path|prob|connect|block)|(?:^|_)drop(?:_p)?$|stochastic_depth"
    r"|mix_?up|cut_?mix|smoothing|weight_decay|noise|jitter"
)
# What changes no result, or is asked of a training only by the way.
_ASIDE = re.compile(r"verbose|download|debug|progress|compile|pin_memory|persistent_workers")
_PREFIX = re.compile(r"^(?:use|with|enable|apply|do)_(?=.)")
_LIBRARIES = ("torch", "pytorch_lightning", "lightning")

Load = Callable[[str, str], Any]


@dataclass(frozen=True)
class Switch:
    """An argument with other settings than the present one.

    Attributes:
        key: Dotted, as an arm writes it.
        kind: Its type, as in the source.
        now: Its value in the resolved base.
        others: The values of its arms.
        text: What its docstring says, on one line; empty where it says nothing.
    """

    key: str
    kind: str
    now: Any
    others: tuple[Any, ...]
    text: str

    @property
    def aside(self) -> bool:
        """Whether its name says that it changes no result."""
        return bool(_ASIDE.search(self.key.rpartition(".")[2]))

    @property
    def place(self) -> str:
        """The key without what LightningCLI puts between: ``model.dropout``."""
        return self.key.replace("init_args.", "")

    def arm(self, value: Any) -> str:
        """A name for an arm: ``no-lrn``, ``with-ten-crop``, ``dropout=0``."""
        name = self.key.rpartition(".")[2]
        if not isinstance(value, bool) or not isinstance(self.now, bool):
            return f"{name}={shown(value)}"
        name = _PREFIX.sub("", name)
        negated = name.startswith(("no_", "without_"))
        bare = (name.partition("_")[2] if negated else name).replace("_", "-")
        return f"with-{bare}" if value != negated else f"no-{bare}"


def shown(value: Any) -> str:
    """A plain value as YAML has it, but a whole number without a point."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Candidate:
    """An arm that may be written; with a reason, it is written as a comment."""

    name: str
    switch: Switch
    value: Any
    reason: str = ""


def find_switches(section: Any, key: str, owner: Any, load: Load) -> Iterator[Switch]:
    """The switches in the resolved configuration of one object and of what is nested in it.

    Args:
        section: The configuration; with ``class_path`` and ``init_args``, or bare arguments.
        key: Where it stands.
        owner: The class or function that takes bare arguments.
        load: Imports the class path that stands at a key.
    """
    if not isinstance(section, Mapping):
        return
    if "class_path" in section:
        owner = load(f"{key}.class_path", section["class_path"])
        section, key = section.get("init_args") or {}, f"{key}.init_args"
    hints, texts = _signature(owner)
    for name, value in section.items():
        place, hint = f"{key}.{name}", hints.get(name, type(value))
        if isinstance(value, Mapping):
            path = str(value.get("class_path", ""))
            if (path or is_dataclass(hint)) and path.partition(".")[0] not in _LIBRARIES:
                yield from find_switches(value, place, hint, load)
            continue
        others = _others(name, value, hint)
        if others:
            yield Switch(place, _source(hint), value, others, texts.get(name, ""))


def named(switches: Sequence[Switch]) -> list[Candidate]:
    """Candidates with names that differ: like ones are told apart by their whole key."""
    arms = [(switch.arm(value), switch, value) for switch in switches for value in switch.others]
    count = Counter([name for name, _, _ in arms])
    return [
        Candidate(
            name if count[name] == 1 else f"{switch.place}={shown(value)}",
            switch,
            value,
            "its name says that it changes no result" if switch.aside else "",
        )
        for name, switch, value in arms
    ]


def _others(name: str, value: Any, hint: Any) -> tuple[Any, ...]:
    choices = _choices(hint)
    if any(value == choice and type(value) is type(choice) for choice in choices):
        return tuple(c for c in choices if c != value or type(c) is not type(value))
    if isinstance(value, bool):
        return (not value,)
    real = isinstance(value, float) or (_number(value) and float in (hint, *typing.get_args(hint)))
    return (0.0,) if real and value > 0 and _STRENGTH.search(name.lower()) else ()


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _choices(hint: Any) -> tuple[Any, ...]:
    """The values of a Literal or Enum as a configuration writes them; None where it may be."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = typing.get_args(hint)
        found = tuple(choice for part in parts for choice in _choices(part))
        return (*found, None) if found and type(None) in parts else found
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint)
    if inspect.isclass(hint) and issubclass(hint, Enum):
        return tuple(member.name for member in hint)
    return ()


def _signature(owner: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Types and docstrings of the arguments, those passed on to parent classes included."""
    if inspect.isclass(owner):
        kinds = [kind for kind in owner.__mro__ if "__init__" in vars(kind)]
        sources = [(vars(kind)["__init__"], kind.__doc__) for kind in kinds]
    else:
        sources = [(owner, None)]
    hints: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for function, doc in sources:
        for each in (doc, function.__doc__):
            texts = _documented(each) | texts
        if inspect.isroutine(function):
            hints = dict(_hints(inspect.unwrap(function))) | hints
    return hints, texts


def _hints(function: Any) -> Iterator[tuple[str, Any]]:
    """Each argument by itself: one annotation that cannot be resolved spoils no other."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return
    for each in parameters:
        if each.annotation is not each.empty:
            alone: Any = types.SimpleNamespace(__annotations__={each.name: each.annotation})
            scope = getattr(function, "__globals__", {})
            try:
                yield each.name, typing.get_type_hints(alone, scope)[each.name]
            except Exception:
                yield each.name, each.annotation


def _documented(doc: str | None) -> dict[str, str]:
    try:
        parameters = docstring_parser.parse(doc or "").params
    except docstring_parser.ParseError:
        return {}
    return {
        name.strip(): " ".join((each.description or "").split())
        for each in parameters
        for name in each.arg_name.split(",")
    }


def _source(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) else str(hint)
    return re.sub(r"^Optional\[(.*)\]$", r"\1 | None", text.replace("typing.", ""))
