"""What jsonargparse and imports complain of, told in one line with file, key and nearest name."""

import importlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.study import InputError
from ablations.study.errors import nearest

if TYPE_CHECKING:
    from ablations.sweep.build import Recipe

_STEP = re.compile(r'Parser key "(?P<key>[^"]+)"|given class_path \'(?P<kind>[^\']+)\'')
_UNKNOWN = re.compile(
    r"(?:Option|Key) '(?P<key>[^']+)' is not (?:accepted|expected)"
    r"|Group '(?P<group>[^']+)' does not accept (?:nested key|option) '(?P<member>[^']+)'"
)
_EXPECTED = re.compile(
    r"Expected an? (<class '[^']+'>|typing\.\S.*?|\w+\[.*?\])(?:\. Got value: .*)?$", re.M
)
_REQUIRED = re.compile(r"arguments are required: (.+)")
_NO_SUBCLASS = re.compile(
    r"(?:Import path \S+ does not correspond to|Not a valid) .*subclass of (\w+)"
)
_ABSENT = object()
# Where a bare class name is meant to come from.
_HOMES = {"optimizer": "torch.optim", "lr_scheduler": "torch.optim.lr_scheduler"}


def import_class(recipe: "Recipe", key: str, path: Any) -> Any:
    """The object behind a dotted path.

    Raises:
        InputError: It does not import; the nearest name in the module is given.
    """
    file, full = place(recipe, key)
    if not isinstance(path, str) or "." not in path:
        raise InputError(f"expected a dotted import path, got {path!r}", file=file, key=full)
    module_path, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_path}.".startswith(f"{error.name}."):
            raise InputError(
                f"{module_path} does not import: {error}", file=file, key=full
            ) from error
        hint = nearest(module_path, _modules_at(recipe))
        raise InputError(
            f'no module named "{error.name}"', file=file, key=full, nearest=hint
        ) from error
    except Exception as error:
        raise InputError(
            f"{module_path} does not import: {type(error).__name__}: {error}", file=file, key=full
        ) from error
    if not hasattr(module, name):
        raise InputError(
            f'"{module_path}" has nothing called "{name}"',
            file=file,
            key=full,
            nearest=nearest(name, [n for n in vars(module) if not n.startswith("_")]),
        )
    return getattr(module, name)


def check_shape(recipe: "Recipe", merged: Mapping[str, Any]) -> None:
    """See that mappings stand where LightningCLI takes them for granted.

    Raises:
        InputError: Something else stands there.
    """
    whole = {key: merged.get(key) for key in ("trainer", "model", "data")}
    for key, value in [*whole.items(), *_under("init_args", merged)]:
        if value is not None and not isinstance(value, Mapping):
            file, full = place(recipe, key)
            raise InputError(f"expected a mapping, got {value!r}", file=file, key=full)


def explain(
    error: Exception, recipe: "Recipe", merged: Mapping[str, Any], accepted: Iterable[str]
) -> InputError | None:
    """A parser's error in our own words; None for an error that is no parser's.

    Args:
        error: What the parser raised.
        recipe: The arm.
        merged: Its configuration.
        accepted: The dotted keys that the parser takes.
    """
    if type(error).__name__ != "ArgumentError":
        return None
    for key, value in _under("class_path", merged):
        if isinstance(value, str) and "." in value:
            import_class(recipe, key, value)
    text = str(error)
    unknown = _UNKNOWN.search(text)
    path, kind = _innermost(text[: unknown.start()] if unknown else text)
    if unknown:
        leaf = unknown["key"] or f"{unknown['group']}.{unknown['member']}"
        return _unknown_key(f"{path}.{leaf}".lstrip("."), kind, recipe, merged, list(accepted))
    path = _written(path.removesuffix(".init_args"), recipe, merged)
    file, key = place(recipe, path) if path else (recipe.study_file, f"arms.{recipe.arm}")
    value = _find(recipe.overrides, path, _find(merged, path))
    hint = None
    if found := [kind for kind in _EXPECTED.findall(text) if "NoneType" not in kind]:
        choices = [choice for kind in found for choice in _choices(kind)]
        wanted = [_plainly(kind) for kind in found if not _choices(kind)]
        wanted += [f"one of {', '.join(choices)}"] if choices else []
        told = f"expected {' or '.join(dict.fromkeys(wanted))}, got {value!r}"
        hint = nearest(str(value), choices)
    elif required := _REQUIRED.search(text):
        told = f"{kind.rpartition('.')[2]} needs {required[1]}"
    elif (parent := _NO_SUBCLASS.search(text)) or "dot import path string" in text:
        if isinstance(value, Mapping) and "class_path" in value:
            for name in value.keys() - {"class_path", "init_args", "dict_kwargs"}:
                return _beside_class_path(f"{path}.{name}", recipe, str(value["class_path"]))
            value = value["class_path"]
            file, key = place(recipe, f"{path}.class_path")
        wanted_class = f"a subclass of {parent[1]}" if parent else "a dotted import path"
        told = f"expected {wanted_class}, got {value!r}"
        if home := _HOMES.get(path):
            close = nearest(str(value), vars(importlib.import_module(home)))
            hint = None if close is None else f"{home}.{close}"
    else:
        lines = [line.strip(" -") for line in text.splitlines() if line.strip()]
        told = ": ".join(line for line in lines if not line.startswith(("Subtypes", "Given")))
    return InputError(told, file=file, key=key, nearest=hint)


def _beside_class_path(key: str, recipe: "Recipe", kind: str) -> InputError:
    file, full = place(recipe, key)
    name, known = key.rpartition(".")[2], _arguments(kind)
    if name in known:
        return InputError("is an argument; write it below init_args", file=file, key=full)
    hint = nearest(name, ["class_path", "init_args", *known])
    return InputError("unknown key", file=file, key=full, nearest=hint)


def _unknown_key(
    key: str, kind: str, recipe: "Recipe", merged: Mapping[str, Any], accepted: list[str]
) -> InputError:
    """Names the first part of a key that is wrong, and what may stand there."""
    parts = _written(key, recipe, merged).split(".")
    for end, part in enumerate(parts, 1):
        above = ".".join(parts[: end - 1])
        holder = _find(merged, above)
        if isinstance(holder, list):
            file, full = place(recipe, above)
            told = f'{kind.rpartition(".")[2]} has no argument "{parts[-1]}"'
            hint = nearest(parts[-1], _arguments(kind))
            return InputError(told, file=file, key=full, nearest=hint)
        own = holder if isinstance(holder, Mapping) else {}
        if part == "init_args" and "class_path" not in own:
            file, full = place(recipe, above)
            return InputError("class_path is missing", file=file, key=full)
        if above.endswith(".init_args"):
            valid = _arguments(str(_find(merged, f"{above[:-10]}.class_path") or kind))
        elif "class_path" in own:
            valid = ["class_path", "init_args", *_arguments(own["class_path"])]
        else:
            prefix = f"{above}." if above else ""
            below = [name.removeprefix(prefix) for name in accepted if name.startswith(prefix)]
            valid = [name.partition(".")[0] for name in below]
        if part not in valid:
            break
    file, full = place(recipe, ".".join(parts[:end]))
    return InputError("unknown key", file=file, key=full, nearest=nearest(part, valid))


def _written(key: str, recipe: "Recipe", merged: Mapping[str, Any]) -> str:
    """A key as it stands in study or base: ``init_args`` may be there or left out."""
    forms = [key, key.replace(".init_args", "")]
    for config, form in itertools.product((recipe.overrides, merged), forms):
        if _find(config, form, _ABSENT) is not _ABSENT:
            return str(form)
    above, _, leaf = key.rpartition(".")
    return f"{_written(above, recipe, merged)}.{leaf}" if above else key


def _innermost(text: str) -> tuple[str, str]:
    """Key and class of the innermost place that an error tells of."""
    keys: list[str] = []
    kind = ""
    for step in _STEP.finditer(text):
        if step["kind"]:
            kind = step["kind"]
            keys.append("init_args")
        elif not keys or keys[-1] == "init_args":
            keys.append(step["key"])
        else:
            break
    return ".".join(keys), kind


def _plainly(kind: str) -> str:
    """A type as a person writes it."""
    return re.sub(r"\b(?:\w+\.)+", "", re.sub(r"<class '(.+?)'>", r"\1", kind))


def _choices(kind: str) -> list[str]:
    literal = re.fullmatch(r"typing\.Literal\[(.*)\]", kind)
    return [choice.strip("' ") for choice in literal[1].split(",")] if literal else []


def place(recipe: "Recipe", key: str) -> tuple[Path, str]:
    """The file in which a key stands: the study where the arm says it, else the base."""
    parts = re.split(r"\.|(?=\[)", key)
    for end in range(len(parts), 0, -1):
        found = _find(recipe.overrides, ".".join(parts[:end]), _ABSENT)
        if found is not _ABSENT:
            if end == len(parts) or not isinstance(found, Mapping):
                return recipe.study_file, f"arms.{recipe.arm}.{key}"
            break
    return (recipe.study_file if key == "cli" else recipe.base_file), key


def _find(config: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """What stands at a dotted key."""
    found: Any = config
    for part in key.split(".") if key else ():
        if not isinstance(found, Mapping) or part not in found:
            return default
        found = found[part]
    return found


def _under(name: str, config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All values under a key of this name, at any depth, with their dotted keys."""
    if isinstance(config, list):
        config = {f"[{number}]": item for number, item in enumerate(config)}
    for key, value in config.items() if isinstance(config, Mapping) else ():
        full = f"{prefix}.{key}".replace(".[", "[").lstrip(".")
        if key == name:
            yield full, value
        yield from _under(name, value, full)


def _arguments(path: str) -> list[str]:
    """The names of a class's arguments, its parents' included where it takes them."""
    from jsonargparse import ArgumentParser

    module, _, name = path.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    added: list[str] = ArgumentParser().add_class_arguments(kind, "x", fail_untyped=False)
    return [argument.removeprefix("x.") for argument in added]


def _modules_at(recipe: "Recipe") -> list[str]:
    names = {"ablations.nets", "ablations.data"}
    for folder in recipe.import_paths:
        for path in Path(folder).glob("*"):
            if path.suffix == ".py" or (path / "__init__.py").exists():
                names.add(path.stem)
                names |= {f"{path.stem}.{p.stem}" for p in path.glob("*.py")}
    return sorted(names)
