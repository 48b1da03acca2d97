"""A paper's difference beside ours: does the sign agree, and by how much, where that is fair."""

import math
from dataclasses import dataclass
from typing import Literal

from scipy import special

from ablations.results.statistics import ALPHA, Delta, Interval

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
