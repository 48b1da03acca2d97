"""Reading YAML safely: keys stay text, duplicates and syntax errors are told with their place."""

import re
from pathlib import Path
from typing import Any

import yaml

from ablations.study.errors import InputError


class _Loader(yaml.SafeLoader):
    """SafeLoader that keeps keys as written (``on`` stays "on") and reads 1e-3 as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        written: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be plain text", key_node.start_mark
                )
            if key_node.value in written:
                raise yaml.constructor.ConstructorError(
                    None, None, f'"{key_node.value}" is written twice', key_node.start_mark
                )
            written.add(key_node.value)
        self.flatten_mapping(node)
        return {str(k.value): self.construct_object(v, deep=True) for k, v in node.value}


def _construct_map(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_map)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InputError: The file is missing, unreadable, not YAML (line and column are named), or
            holds something other than a mapping.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot be read: {reason}", file=file) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else None
        raise InputError(f"not valid YAML: {error.problem}", file=file, key=place) from error
    except yaml.YAMLError as error:
        raise InputError(f"not valid YAML: {error}", file=file) from error
    if not isinstance(content, dict):
        raise InputError("holds no keys; a mapping is expected", file=file)
    return content


def expand(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys made into nested mappings: ``{"a.b": 1}`` becomes ``{"a": {"b": 1}}``.

    Args:
        mapping: Its keys may be dotted at any depth.
        prefix: Stands before the key that an error names.

    Raises:
        InputError: Two ways of writing a key give it two values.
    """
    nested: dict[str, Any] = {}
    for key, value in mapping.items():
        inner = expand(value, f"{prefix}{key}.") if isinstance(value, dict) else value
        for part in reversed(key.split(".")):
            inner = {part: inner}
        _join(nested, inner, prefix)
    return nested


def _join(nested: dict[str, Any], added: dict[str, Any], prefix: str) -> None:
    for key, value in added.items():
        known = nested.setdefault(key, value)
        if isinstance(known, dict) and isinstance(value, dict):
            if known is not value:
                _join(known, value, f"{prefix}{key}.")
        elif known != value:
            raise InputError("is written twice, with different values", key=prefix + key)


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; where both speak, ``over`` is heard. Lists are replaced."""
    merged = dict(under)
    for key, value in over.items():
        known = merged.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            value = merge(known, value)
        merged[key] = value
    return merged


def flatten(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; an empty mapping stays a value."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
