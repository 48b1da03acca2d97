"""The study file: one question about one model, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ablations.study.errors import InputError, nearest

Mode = Literal["min", "max"]


@dataclass(frozen=True)
class Metric:
    """A logged value and which way is better."""

    name: str
    mode: Mode


@dataclass(frozen=True)
class Arm:
    """A named variant of the base configuration.

    Attributes:
        overrides: Nested configuration merged over the base.
        metric: The arm's own metric, where it reads another value than the study's.
        levels: In a factorial design, the level of each factor.
    """

    name: str
    overrides: Mapping[str, Any]
    metric: Metric | None = None
    levels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One arm with one seed; arms of equal configuration share the id."""

    id: str
    arm: str
    seed: int


@dataclass(frozen=True)
class Study:
    """One question, ready to be planned.

    Attributes:
        file: The study file.
        base: The LightningCLI configuration that the arms vary.
        base_config: Its content.
        margin: Differences smaller than this are equivalent; None: no such verdict.
        claims: For an arm, ``file#id`` of a paper's row.
        cli: ``module:name`` of the project's own LightningCLI, or of the function that builds it.
        weights: Whose metrics count: those after the last epoch, or of the best checkpoint.
        threads: torch threads of each trial.
        design: The design that made the arms out of factors.
    """

    name: str
    file: Path
    question: str
    base: Path
    base_config: Mapping[str, Any]
    metric: Metric
    baseline: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    margin: float | None = None
    claims: Mapping[str, str] = field(default_factory=dict)
    cli: str | None = None
    weights: Literal["last", "best"] = "last"
    threads: int = 1
    design: str | None = None

    def arm(self, name: str) -> Arm:
        """The arm of that name.

        Raises:
            InputError: There is none; the nearest is named.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        names = [arm.name for arm in self.arms]
        raise InputError(
            f'no arm is called "{name}"; there are {", ".join(names)}',
            file=self.file,
            nearest=nearest(name, names),
        )

    def metric_of(self, arm: str) -> Metric:
        """The metric that an arm is judged by."""
        return self.arm(arm).metric or self.metric
