"""The study file: one question about one model, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ablations.study.errors import InputError, nearest

Mode = Literal["min", "max"]
Sampler = Literal["tpe", "random"]
Pruner = Literal["median", "hyperband", "none"]


@dataclass(frozen=True)
class Threshold:
    """A level that a logged curve is to cross.

    Attributes:
        metric: Whose curve over epochs.
        above: Crossed from below; else from above.
    """

    metric: str
    level: float
    above: bool = False


@dataclass(frozen=True)
class Metric:
    """A value that a trial ends with and which way is better.

    It is logged by that name, or made of what is logged in one of three ways.

    Attributes:
        threshold: The value is the epochs until a logged curve crosses it.
        gap: It is the first of two logged metrics less the second.
        early: It is that of a logged curve after so many epochs.
    """

    name: str
    mode: Mode
    threshold: Threshold | None = None
    # Keys of tuning stages are hashed from the repr, and a stage reads neither of these two.
    gap: tuple[str, str] | None = field(default=None, repr=False)
    early: tuple[str, int] | None = field(default=None, repr=False)

    @property
    def needs(self) -> tuple[str, ...]:
        """The names that the model must log."""
        if self.threshold:
            return (self.threshold.metric,)
        return self.early[:1] if self.early else self.gap or (self.name,)

    @property
    def logged(self) -> str:
        """The first of them, which stands for the value where only logged ones are shown."""
        return self.needs[0]


@dataclass(frozen=True)
class SeedPlan:
    """Seeds that are added to an arm for as long as its answer is open."""

    start: int
    max: int
    step: int = 1

    @property
    def looks(self) -> tuple[int, ...]:
        """Seeds per arm at each look: start, start + step, ..., max."""
        return (*range(self.start, self.max, self.step), self.max)


@dataclass(frozen=True)
class Range:
    """What a tuned key may be: one of `choices`, or a number from `low` to `high`.

    Attributes:
        whole: Whole numbers only.
    """

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    whole: bool = False
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Tune:
    """The stage in which each arm gets the same number of trials to find its own settings.

    Attributes:
        space: Dotted keys of the configuration and what each may be, for every arm.
        arms: Further keys for one arm.
        metric: Never of the test set; a loaded study has always named one.
        seed: Of every tuning trial, none of the study's, so that no verdict reads it again.
    """

    trials: int
    space: Mapping[str, Range]
    arms: Mapping[str, Mapping[str, Range]] = field(default_factory=dict)
    sampler: Sampler = "tpe"
    pruner: Pruner = "median"
    metric: Metric | None = None
    seed: int = 10_000


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
class Source:
    """The trial of another study whose final weights a trial starts from.

    Attributes:
        seed: None: that of the trial which starts.
        key: The dotted key at which the configuration names it, and takes a path instead.
        written: The study as it is written there.
    """

    study: "Study"
    arm: str
    seed: int | None
    key: str
    written: str


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
        seeds: All that may be trained; with a `plan`, as many as its most.
        plan: How seeds are added to open arms; None: every arm gets every seed.
        pairing: Whether deltas are taken within seeds; fixed before any result is seen.
        beside: Further metrics, shown without verdicts.
        tune: The stage that gives each arm its own settings.
        keep_weights: Whether trials keep their final weights.
        sources: For an arm, where its trials start.
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
    plan: SeedPlan | None = None
    pairing: Literal["seeds", "none"] = "seeds"
    beside: tuple[Metric, ...] = ()
    tune: Tune | None = None
    keep_weights: bool = False
    sources: Mapping[str, Source] = field(default_factory=dict)

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
