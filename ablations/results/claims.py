"""Papers' figures, beside which a delta is put."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ablations.study import InputError, Metric, Study, shipped_configs
from ablations.study.errors import nearest
from ablations.study.yamlfile import read_yaml

_FILE_KEYS = ("source", "doi", "data", "same_data", "setup", "claims")
_TEXTS = ("section", "data", "note", "source", "doi")
_KEYS = ("says", "delta", "raises", "value", "exact", "independent", "same_data", "setup", *_TEXTS)


@dataclass(frozen=True)
class Figure:
    """A number as a paper prints it: ``shown`` keeps its "about" or "more than"."""

    number: float
    shown: str


@dataclass(frozen=True)
class Claim:
    """One row of a claims file.

    `delta` holds, for the last part of a metric's name (``top1_error``) or its whole name, the
    paper's ablated - baseline; the key "" stands for any metric. `value` is an error likewise.

    Attributes:
        says: The claim in words.
        raises: Metrics that are higher without the component, where the paper gives no number.
        exact: "baseline" and "ablated", unrounded.
        independent: ``file#id`` of others' figures for the same component.
        same_data: The settings of a study, by the last part of their keys, that make it a study of
            the paper's data at the paper's size.
        setup: Further settings of the paper's own run.
    """

    id: str
    says: str
    section: str | None = None
    data: str | None = None
    delta: Mapping[str, Figure] = field(default_factory=dict)
    value: Mapping[str, Figure] = field(default_factory=dict)
    raises: tuple[str, ...] = ()
    exact: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    independent: tuple[str, ...] = ()
    note: str | None = None
    source: str | None = None
    doi: str | None = None
    same_data: Mapping[str, Any] = field(default_factory=dict)
    setup: Mapping[str, Any] = field(default_factory=dict)

    def delta_for(self, metric: Metric) -> Figure | None:
        """The paper's delta of this metric, None where it gives no number for it.

        A training metric is never answered by a claim about test errors.
        """
        return next((self.delta[key] for key in _keys(metric) if key in self.delta), None)

    def sign_for(self, metric: Metric) -> int:
        """1 where the metric is said to rise without the component, -1: to fall; 0: not said."""
        figure = self.delta_for(metric)
        if figure is None or not figure.number:
            return int(any(key in self.raises for key in _keys(metric)))
        return 1 if figure.number > 0 else -1

    @property
    def place_in_source(self) -> str:
        """Its section, as "section 3.3", or whatever stands for it; empty where none is given."""
        section = self.section or ""
        return f"section {section}" if section[:1].isdigit() else section


def _keys(metric: Metric) -> list[str]:
    if metric.threshold:
        return [metric.name, "epochs"]
    if metric.gap:
        return [metric.name, "gap"]
    if metric.early:
        return [metric.name, metric.logged]
    *group, last = metric.name.split("/")
    return [metric.name, "" if group == ["train"] else last, ""]


def study_claims(study: Study) -> dict[str, Claim]:
    """The claim beside each arm that has one.

    ``alexnet#lrn`` is the row ``lrn`` of alexnet.yaml, looked for in ``claims/`` beside the study,
    then among the shipped claims.

    Raises:
        InputError: There is no such file or row, or the file cannot be used.
    """
    return {
        arm: find_claim(reference, study.file, f"claims.{arm}")
        for arm, reference in study.claims.items()
    }


def load_claims(file: Path) -> dict[str, Claim]:
    """All rows of a claims file, by id.

    Raises:
        InputError: A key is unknown or has the wrong type.
    """
    raw = read_yaml(file)
    _check_keys(raw, _FILE_KEYS, file, "")
    rows = raw.get("claims")
    if not isinstance(rows, dict):
        raise InputError("expected a mapping from ids to claims", file=file, key="claims")
    shared = {key: value for key, value in raw.items() if key != "claims"}
    return {name: _claim(name, row, shared, file) for name, row in rows.items()}


def find_claim(reference: str, file: Path, key: str) -> Claim:
    """The row ``file#id``, looked for in ``claims/`` beside a file, then among the shipped ones.

    Raises:
        InputError: There is no such file or row; it is told as a fault of this file and key.
    """
    name, _, row = reference.partition("#")
    folders = [file.parent / "claims", shipped_configs() / "claims"]
    for folder in folders:
        if (folder / f"{name}.yaml").is_file():
            claims = load_claims(folder / f"{name}.yaml")
            if row in claims:
                return claims[row]
            raise InputError(
                f'{folder / name}.yaml has no claim "{row}"',
                file=file,
                key=key,
                nearest=_whole(name, nearest(row, claims)),
            )
    known = [path.stem for folder in folders for path in folder.glob("*.yaml")]
    raise InputError(
        f'no file "{name}.yaml" in claims/ beside the study or among the shipped claims',
        file=file,
        key=key,
        nearest=nearest(name, known),
    )


def _whole(file: str, row: str | None) -> str | None:
    return f"{file}#{row}" if row else None


def _claim(name: str, row: Any, shared: Mapping[str, Any], file: Path) -> Claim:
    key = f"claims.{name}"
    if not isinstance(row, dict):
        raise InputError("expected a mapping", file=file, key=key)
    _check_keys(row, _KEYS, file, f"{key}.")
    fields = {**shared, **row}
    if not isinstance(fields.get("says"), str):
        raise InputError("says, the claim in words, is missing", file=file, key=key)
    delta, exact = fields.get("delta", {}), fields.get("exact", {})
    if not isinstance(delta, dict):
        delta = {"": delta}
    for side, values in exact.items() if isinstance(exact, dict) else [("exact", exact)]:
        if side not in ("baseline", "ablated") or not isinstance(values, dict):
            told = "expected baseline and ablated, each a mapping from metrics to numbers"
            raise InputError(told, file=file, key=f"{key}.exact")
    return Claim(
        id=f"{file.stem}#{name}",
        delta={metric: _figure(v, file, f"{key}.delta") for metric, v in delta.items()},
        value={
            metric: replace(figure, shown=figure.shown.replace("+", ""))
            for metric, v in fields.get("value", {}).items()
            for figure in [_figure(v, file, f"{key}.value")]
        },
        raises=tuple(fields.get("raises", ())),
        exact=exact,
        independent=tuple(fields.get("independent", ())),
        **{k: None if fields.get(k) is None else str(fields[k]) for k in _TEXTS},
        says=fields["says"].strip(),
        same_data=_settings(fields, "same_data", file, key),
        setup=_settings(fields, "setup", file, key),
    )


def _settings(fields: Mapping[str, Any], name: str, file: Path, key: str) -> Mapping[str, Any]:
    settings = fields.get(name) or {}
    if not isinstance(settings, dict):
        raise InputError(
            "expected a mapping from settings to values", file=file, key=f"{key}.{name}"
        )
    return settings


def _figure(value: Any, file: Path, key: str) -> Figure:
    match = re.fullmatch(r"([<>~]?)\s*([-+]?[\d.]+)", str(value))
    try:
        if match is None or isinstance(value, bool):
            raise ValueError
        number = float(match[2])
    except ValueError:
        raise InputError(
            f'expected a number, with "<", ">" or "~" before it at most, got {value!r}',
            file=file,
            key=key,
        ) from None
    sign = "" if match[2].startswith(("-", "+")) else "+"
    return Figure(number, f"{match[1]}{sign}{match[2]}")


def _check_keys(mapping: Mapping[str, Any], valid: tuple[str, ...], file: Path, at: str) -> None:
    for key in mapping:
        if key not in valid:
            raise InputError(
                "unknown key", file=file, key=f"{at}{key}", nearest=nearest(key, valid)
            )
