"""``ablate plan --pilot | --sd``: how many seeds a question needs, and what seeds can answer."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from ablations.results.frame import compared_by_seed, trial_frame
from ablations.results.numbers import fixed
from ablations.results.planning import (
    MOST_SEEDS,
    POWER,
    detectable_effect,
    equivalence_chance,
    gpu_hours,
    pooled_sd,
    sd_of_difference,
    seeds_table,
    upper_sd,
)
from ablations.results.statistics import ALPHA, seed_correlation, spread
from ablations.study import InputError, Study
from ablations.workspace import Workspace

# Wanted effects where none are named, in SDs of one arm.
_SIZES = (0.5, 1.0, 1.5, 2.0, 3.0)
_LEAST_CHANCE = 0.5


@dataclass(frozen=True)
class Spread:
    """What is known of the noise of seeds before a sweep.

    Attributes:
        sd: Of one arm over seeds; estimated on `df` degrees of freedom, None where it was given.
        correlation: Of an arm and the baseline over paired seeds.
        seconds: Of one trial, NaN where unknown.
        source: Where it comes from, in words.
        metric: Whose spread it is; "" where only a number was given.
    """

    sd: float
    df: int | None
    correlation: float
    seconds: float
    source: str
    metric: str = ""

    @property
    def planned_sd(self) -> float:
        """The SD to plan with: an estimate is taken at its upper 80% limit."""
        return self.sd if self.df is None else upper_sd(self.sd, self.df)


def spread_over_seeds(
    pilot: tuple[Study, Workspace] | None,
    sd: float | None = None,
    correlation: float | None = None,
    seconds: float | None = None,
) -> Spread:
    """What a pilot measured, whatever is named in its place.

    Raises:
        InputError: A number is out of its range, or no arm of the pilot has two seeds that differ.
    """
    none = Spread(math.nan, None, 0.0, math.nan, "")
    found = none if pilot is None else _measured(*pilot)
    if sd is not None:
        found = replace(found, sd=sd, df=None, source="as given", metric="")
    if correlation is not None:
        found = replace(found, correlation=correlation)
    if seconds is not None:
        found = replace(found, seconds=seconds)
    if not 0 < found.sd < math.inf:
        if pilot is None or sd is not None:
            raise InputError(f"expected a number above 0, got {found.sd:g}", file="--sd")
        told = "no arm has two seeds with different values here; train it, or give the SD by --sd"
        raise InputError(told, file=pilot[0].file, key="--pilot")
    if not -1 < found.correlation < 1:
        told = f"expected a number between -1 and 1, got {found.correlation:g}"
        raise InputError(told, file="--correlation")
    return found


def _measured(study: Study, workspace: Workspace) -> Spread:
    frame = trial_frame(study, workspace)
    matrix = compared_by_seed(frame)
    sd, df = pooled_sd([matrix[arm].to_numpy() for arm in matrix])
    others = [arm for arm in matrix if arm != study.baseline]
    pairs = [seed_correlation(matrix[arm], matrix[study.baseline]) for arm in others]
    mean = spread(pairs)[1]
    seconds = spread(frame["seconds"][frame["state"] == "done"])[1]
    source = f"{study.name}: {len(matrix.columns)} arms, {df} degrees of freedom"
    return Spread(sd, df, mean if math.isfinite(mean) else 0.0, seconds, source, study.metric.name)


def power_plan(
    noise: Spread,
    study: Study | None,
    effects: Sequence[float] = (),
    arms: int | None = None,
    seeds: int | None = None,
    margin: float | None = None,
) -> dict[str, Any]:
    """Seeds for wanted effects, and what the seeds given can tell.

    Args:
        noise: Of the seeds.
        study: Whose arms, seeds, margin and pairing are planned, where they are not given.
        effects: Wanted, in the metric's units; some multiples of the SD by default.
        arms: Compared with the baseline; 1 by default.
        seeds: Per arm; 6 by default.
        margin: Of equivalence.

    Raises:
        InputError: A number is out of its range, or the pilot measured another metric.
    """
    if study is not None:
        if noise.metric not in ("", study.metric.name):
            told = f"measured {noise.metric}, {study.name} asks for {study.metric.name}"
            raise InputError(told, file="--pilot")
        arms = len(study.arms) - 1 if arms is None else arms
        seeds = len(study.seeds) if seeds is None else seeds
        margin = study.margin if margin is None else margin
    arms, seeds = arms or 1, 6 if seeds is None else seeds
    _check(effects, seeds, margin)
    paired = study is None or study.pairing == "seeds"
    sd, devices = noise.planned_sd, _devices(study)
    spreads = {"paired": sd_of_difference(sd, noise.correlation), "unpaired": sd_of_difference(sd)}
    wanted = sorted(abs(e) for e in effects) or [_round(size * sd) for size in _SIZES]
    design = "paired" if paired else "unpaired"
    rows = [asdict(row) for row in seeds_table(wanted, sd, noise.correlation, arms)]
    for row in rows:
        needed = row[f"holm_{design}"]
        hours = None if needed is None else gpu_hours((arms + 1) * needed, noise.seconds, devices)
        row["gpu_hours"] = _known(hours)
    return {
        "study": study and study.name,
        "metric": study and _measure(study),
        "sd": noise.sd,
        "df": noise.df,
        "planned_sd": sd,
        "correlation": noise.correlation,
        "source": noise.source,
        "arms": arms,
        "pairing": "seeds" if paired else "none",
        "wanted": rows,
        "given": {
            "seeds": seeds,
            "trials": (arms + 1) * seeds,
            "detectable": {
                name: [_detectable(spreads[name], seeds, name, m) for m in (1, arms)]
                for name in spreads
            },
            "margin": margin,
            "equivalence_chance": None
            if margin is None
            else [
                equivalence_chance(margin, spreads[design], seeds, ALPHA / m, paired)
                for m in (1, arms)
            ],
            "gpu_hours": _known(gpu_hours((arms + 1) * seeds, noise.seconds, devices)),
        },
    }


def _measure(study: Study) -> str:
    logs = "the logarithm of " if study.metric.threshold else ""
    return f"{logs}{study.metric.name}"


def _detectable(sd: float, seeds: int, design: str, arms: int) -> float:
    df = (seeds - 1) * (1 if design == "paired" else 2)
    return detectable_effect(sd / seeds**0.5, df, ALPHA / arms)


def _devices(study: Study | None) -> int:
    trainer = study.base_config.get("trainer") if study is not None else None
    devices = trainer.get("devices") if isinstance(trainer, dict) else None
    return devices if isinstance(devices, int) and devices > 0 else 1


def _check(effects: Sequence[float], seeds: int, margin: float | None) -> None:
    for effect in effects:
        if not 0 < abs(effect) < math.inf:
            raise InputError(f"expected a number other than 0, got {effect:g}", file="--effect")
    if margin is not None and not 0 < margin < math.inf:
        raise InputError(f"expected a number above 0, got {margin:g}", file="--margin")
    if seeds < 2:
        raise InputError("one seed has no spread; expected at least 2", file="--seeds")


def _round(number: float) -> float:
    return float(f"{number:.2g}")


def _known(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else number


def show_power(plan: dict[str, Any], console: Console) -> None:
    """The plan in text."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    arms = plan["arms"]
    digits = max(0, 2 - math.floor(math.log10(plan["planned_sd"])))
    unit = f" of {plan['metric']}" if plan["metric"] else ""
    say(f"SD of one arm over seeds{unit}: {plan['sd']:.{digits}f} ({plan['source']})")
    if plan["df"] is not None:
        upper = f"{plan['planned_sd']:.{digits}f}"
        say(f"planned with {upper}, its upper 80% limit, as an SD from few seeds is a rough guess")
    say(f"correlation of two arms over paired seeds: {plan['correlation']:.2f}")
    say(f"\nSeeds per arm that see a difference with {POWER:.0%} power, at 5%")
    heads = {"unpaired": "unpaired", "paired": "paired"}
    if arms > 1:
        heads |= {f"holm_{design}": f"{head}, {arms} arms" for design, head in heads.items()}
    rows = [[f"{row['effect']:g}", *(_seeds(row[key]) for key in heads)] for row in plan["wanted"]]
    hours = any(row["gpu_hours"] is not None for row in plan["wanted"])
    if hours:
        rows = [
            [*cells, _hours(r["gpu_hours"])] for cells, r in zip(rows, plan["wanted"], strict=True)
        ]
    console.print(_table(["difference", *heads.values(), *["GPU hours"] * hours], rows))
    if arms > 1:
        say(f'"{arms} arms": corrected by Holm, for the first of them to be seen')
    if hours:
        pairs = "paired" if plan["pairing"] == "seeds" else "unpaired"
        say(f"GPU hours: of the baseline and {arms} arm{'s' * (arms != 1)}, {pairs}, corrected")
    _show_given(plan, digits, console, say)


def _show_given(
    plan: dict[str, Any], digits: int, console: Console, say: Callable[[str], None]
) -> None:
    arms, given = plan["arms"], plan["given"]
    cost = "" if given["gpu_hours"] is None else f", {_hours(given['gpu_hours'])} GPU hours"
    trials = f"{arms} arm{'s' * (arms != 1)} and the baseline, {given['trials']} trials{cost}"
    say(f"\nWhat {given['seeds']} seeds per arm can tell ({trials})")
    rows = [
        [f"difference seen, {design}", *(f"{found:.{digits}f}" for found in both)]
        for design, both in given["detectable"].items()
    ]
    chances = given["equivalence_chance"]
    if chances is not None:
        margin = f"equal arms found equivalent within {given['margin']:g}"
        rows.append([margin, *(_share(chance) for chance in chances)])
    heads = ["", "one arm", f"{arms} arms"]
    console.print(
        _table(heads[: 3 if arms > 1 else 2], [row[: 3 if arms > 1 else 2] for row in rows])
    )
    if chances is None:
        say("no margin: no arm can come out equivalent")
    elif min(chances) < _LEAST_CHANCE:
        say("warning: with this margin and these seeds, equal arms will mostly stay undecided")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for at, head in enumerate(heads):
        table.add_column(head, justify="right" if at else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _seeds(number: int | None) -> str:
    return f"over {MOST_SEEDS}" if number is None else str(number)


def _hours(number: float | None) -> str:
    return "–" if number is None else fixed(number, 0 if number >= 99.5 else 2)


def _share(chance: float) -> str:
    return "<1%" if chance < 0.005 else f"{chance:.0%}"
