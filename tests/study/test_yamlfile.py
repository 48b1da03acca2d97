from pathlib import Path
from typing import Any

import pytest

from ablations.study import InputError
from ablations.study.yamlfile import expand, flatten, merge, read_yaml


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def reader(text: str) -> dict[str, Any]:
        file = tmp_path / "file.yaml"
        file.write_text(text)
        return read_yaml(file)

    return reader


@pytest.mark.parametrize("key", ["on", "off", "yes", "no", "1", "1.5", "null", "true"])
def test_keys_stay_as_written(read: Any, key: str) -> None:
    assert read(f"{key}: 3") == {key: 3}
    assert read(f"a: {{{key}: {{}}}}") == {"a": {key: {}}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("5E4", 5e4),
        ("-2e+2", -200.0),
        ("1.5e3", 1500.0),
        ("12", 12),
        ("0.1", 0.1),
        ("'1e-3'", "1e-3"),
        ("1e-3x", "1e-3x"),
        ("off", False),
        ("null", None),
        ("{}", {}),
        ("[1, {a.b: 2}]", [1, {"a.b": 2}]),
    ],
)
def test_values(read: Any, text: str, value: Any) -> None:
    found = read(f"key: {text}")["key"]
    assert found == value and type(found) is type(value)


def test_anchors_and_merged_keys_that_are_overridden(read: Any) -> None:
    content = read("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\n")
    assert content == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2}}


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("a: 1\nb: [1, 2\n", "line 3, column 1", "expected ',' or ']'"),
        ("a: 1\n b: 2\n", "line 2, column 3", "mapping values are not allowed here"),
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1", '"a" is written twice'),
        ("x:\n  on: 1\n  on: 2\n", "line 3, column 3", '"on" is written twice'),
        ("a: 1\n[1, 2]: 2\n", "line 2, column 1", "a key must be plain text"),
        ("a: !!python/name:os.system\n", "line 1, column 4", "could not determine a constructor"),
        ("a: *nowhere\n", "line 1, column 4", "undefined alias"),
    ],
)
def test_errors_name_line_and_column(read: Any, text: str, place: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        read(text)
    assert caught.value.key == place
    assert told in caught.value.message
    assert Path(str(caught.value.file)).name == "file.yaml"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "# a comment"])
def test_a_file_without_keys(read: Any, text: str) -> None:
    with pytest.raises(InputError, match="a mapping is expected"):
        read(text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere.yaml: cannot be read: No such file"):
        read_yaml(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes("a: é".encode("latin-1"))
    with pytest.raises(InputError, match="latin.yaml: cannot be read"):
        read_yaml(tmp_path / "latin.yaml")
    (tmp_path / "null.yaml").write_bytes(b"a: \x00")
    with pytest.raises(InputError, match="null.yaml: not valid YAML"):
        read_yaml(tmp_path / "null.yaml")


@pytest.mark.parametrize(
    ("written", "expanded"),
    [
        ({"a.b": 1}, {"a": {"b": 1}}),
        ({"a": {"b.c": 1}, "a.b.d": 2}, {"a": {"b": {"c": 1, "d": 2}}}),
        ({"a.b.d": 2, "a": {"b.c": 1}}, {"a": {"b": {"c": 1, "d": 2}}}),
        ({"a": {"b": 1}, "a.c": {}}, {"a": {"b": 1, "c": {}}}),
        ({"a.b": [1, {"c.d": 2}]}, {"a": {"b": [1, {"c.d": 2}]}}),
        ({}, {}),
    ],
)
def test_expand(written: dict[str, Any], expanded: dict[str, Any]) -> None:
    assert expand(written) == expanded


@pytest.mark.parametrize(
    "written", [{"a": 1, "a.b": 2}, {"a.b": 2, "a": 1}, {"a.b": 2, "a": {"b": {"c": 1}}}]
)
def test_expand_refuses_a_value_that_is_a_mapping_elsewhere(written: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="is written twice"):
        expand(written)


def test_merge_leaves_its_arguments_as_they_were() -> None:
    under = {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    over = {"a": {"c": [3], "e": None}, "d": {"f": 5}}
    assert merge(under, over) == {"a": {"b": 1, "c": [3], "e": None}, "d": {"f": 5}}
    assert under == {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    assert over == {"a": {"c": [3], "e": None}, "d": {"f": 5}}


def test_flatten() -> None:
    nested = {"a": {"b": 1, "c": {}}, "d": [1]}
    assert flatten(nested) == {"a.b": 1, "a.c": {}, "d": [1]}
    assert expand(flatten(nested)) == nested
