"""A paper's difference beside ours: does the sign agree, and by how much, where that is fair."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import pandas as pd
from scipy import special

from ablations.results.claims import Claim
from ablations.results.frame import values_by_seed
from ablations.results.numbers import interval_text, signed
from ablations.results.planning import pooled_sd
from ablations.results.rows import DeltaTable, Row
from ablations.results.sections import Section, plain
from ablations.results.statistics import ALPHA, Delta, Interval
from ablations.study import Study
from ablations.study.yamlfile import flatten, merge

Sign = Literal["agrees", "disagrees", "undecided"]


@dataclass(frozen=True)
class Agreement:
    """A paper's figure against ours.

    Attributes:
        sign: Undecided where ours is, or where the paper's figure is zero.
        paper_interval: What single runs with our SD over seeds would leave open at 95%; None
            where the data differ or the SD is unknown.
        ratio: Ours divided by the paper's; None where the data differ. `ratio_interval` at 95%,
            the paper's figure taken as exact.
    """

    sign: Sign
    paper_interval: Interval | None = None
    ratio: float | None = None
    ratio_interval: Interval | None = None


def compare(paper: float, ours: Delta, p_holm: float, same_data: bool, sd: float) -> Agreement:
    """Whether our difference has the sign that the paper reports.

    Args:
        paper: Its ablated - baseline, in the units of ours; of one run each.
        ours: The same from our seeds.
        p_holm: Ours, corrected for the arms of the study.
        same_data: The paper's data at the paper's size; sizes of effects on other data are not
            compared.
        sd: Of one arm over our seeds: what a single run of the paper leaves open.
    """
    sign: Sign = "undecided"
    if p_holm < ALPHA and paper:
        sign = "agrees" if (ours.mean > 0) == (paper > 0) else "disagrees"
    if not (same_data and paper and math.isfinite(ours.mean)):
        return Agreement(sign)
    half = single_run_half_width(sd)
    low, high = sorted(end / paper for end in ours.interval)
    return Agreement(
        sign,
        (paper - half, paper + half) if math.isfinite(half) else None,
        ours.mean / paper,
        (low, high) if math.isfinite(low) else None,
    )


def single_run_half_width(sd: float, level: float = 0.95) -> float:
    """Half the normal interval of a difference of two single runs with this SD over seeds."""
    return float(special.ndtri((1 + level) / 2)) * math.sqrt(2) * sd


def differing(settings: Mapping[str, Any], study: Study) -> dict[str, tuple[Any, Any]]:
    """The settings in which a study's baseline is not the paper's: for each ours and theirs.

    A setting is named by the last part of its key, or all of it. A path counts by its last part,
    and of a list any is right. One that is not set is None.
    """
    baseline = study.arm(study.baseline).overrides
    written = flatten(merge(dict(study.base_config), dict(baseline)))
    found = {}
    for name, theirs in settings.items():
        ours = [v for key, v in written.items() if f".{key}".endswith(f".{name}")]
        value = ours[0] if ours else None
        plain_value = PurePosixPath(value).name if isinstance(value, str) else value
        if plain_value not in (theirs if isinstance(theirs, list) else [theirs]):
            found[name] = (plain_value, theirs)
    return found


def what_differs(claim: Claim, study: Study) -> str:
    """What of a study's baseline is not the paper's, in words."""
    # What the base leaves to a class's default is not known here.
    other = {k: pair for k, pair in differing(claim.setup, study).items() if pair[0] is not None}
    found = (differing(claim.same_data, study) | other).items()
    said = [f"{name} {_word(ours)}, not {_word(theirs)}" for name, (ours, theirs) in found]
    if not claim.same_data and claim.data:
        said.insert(0, f"data, not {claim.data}")
    return "; ".join(said) or "nothing that is known"


def agreement_section(
    table: DeltaTable, study: Study, frame: pd.DataFrame, digits: int
) -> Section | None:
    """The paper's figures beside ours; None where no arm has one.

    Args:
        table: The deltas.
        study: The study.
        frame: As of :func:`ablations.results.frame.trial_frame`.
        digits: Decimals of the metric.
    """
    if study.metric.threshold is not None:
        return None
    matrix = values_by_seed(frame)
    sd = pooled_sd([matrix[arm].to_numpy() for arm in matrix])[0]
    rows, values = [], []
    for row in table.arms:
        figure = row.claim and row.claim.delta_for(row.metric)
        if not (row.claim and figure and row.pairs):
            continue
        other_data = differing(row.claim.same_data, study)
        same_data = bool(row.claim.same_data) and not other_data
        found = compare(figure.number, row.delta, row.p_holm, same_data, sd)
        told = what_differs(row.claim, study)
        rows.append(_cells(row, figure.shown, found, told, digits))
        values.append(
            plain(
                {
                    "arm": row.arm,
                    "claim": row.claim.id,
                    "paper": figure.number,
                    "ours": row.delta.mean,
                    "interval": row.delta.interval,
                    "same_data": same_data,
                    "differs": told,
                    **asdict(found),
                }
            )
        )
    if not rows:
        return None
    notes = [
        "Sign: whether ours, where it is decided, has that of the paper. Sizes are compared on the "
        "paper's data alone."
    ]
    if any(value["paper_interval"] for value in values):
        notes.append("±: what single runs with our SD over seeds leave open at 95%.")
    return Section(
        "agreement",
        "The paper's figures beside ours",
        ("arm", "paper", "ours", "95% interval", "sign", "ours / paper", "what differs"),
        tuple(rows),
        ("arm", "sign", "what differs"),
        tuple(notes),
        tuple(values),
    )


def _cells(row: Row, shown: str, found: Agreement, told: str, digits: int) -> tuple[str, ...]:
    paper = shown
    if found.paper_interval is not None:
        low, high = found.paper_interval
        paper = f"{shown} ± {(high - low) / 2:.{digits}f}"
    ratio = "" if found.ratio is None else f"{found.ratio:.2f}"
    if found.ratio_interval is not None:
        ratio += f" [{found.ratio_interval[0]:.2f}, {found.ratio_interval[1]:.2f}]"
    ours = signed(row.delta.mean, digits), interval_text(row.delta.interval, digits)
    return row.arm, paper, *ours, found.sign, ratio, told


def _word(value: Any) -> str:
    if isinstance(value, list):
        return " or ".join(map(str, value))
    return "unset" if value is None else str(value)
