"""Seeds added until the answer is clear: what is decided at each planned look.

A pure function of the values in the order of their seeds, so that a scheduler that asks it again
after a restart, or a table made much later, comes to the same decisions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ablations.results.boundaries import (
    Spending,
    boundaries,
    critical,
    flip_boundaries,
    repeated_flip_p,
    repeated_p,
)
from ablations.results.statistics import (
    ALPHA,
    MIN_PAIRS_FOR_VERDICT,
    NO_INTERVAL,
    Delta,
    holm,
    paired_delta,
)
from ablations.results.threshold import bound_of, censored
from ablations.results.verdicts import Judgement, judgement


@dataclass(frozen=True)
class Standing:
    """Where an arm stands at the last look that counts.

    Attributes:
        delta: Of the pairs of that look, its p and intervals repeated ones: right however many
            looks were made, and whatever ended them.
        judgement: The verdict on it.
        seeds: Planned at that look; 0 before the first.
        wants: Seeds that the arm should have: those of the next look while it is open, else
            `seeds`. The baseline wants the most of any arm.
        open: More seeds may still come.
        early: Decided before the last look; the size of a difference is then probably overstated.
    """

    delta: Delta
    judgement: Judgement
    seeds: int
    wants: int
    open: bool
    early: bool


def decide(
    arms: Mapping[str, ArrayLike],
    baseline: ArrayLike,
    looks: Sequence[int],
    modes: Mapping[str, Literal["min", "max"]],
    margin: float | None = None,
    diverged: Mapping[str, ArrayLike] | None = None,
    spending: Spending = "pocock",
    late: Mapping[str, ArrayLike] | None = None,
) -> dict[str, Standing]:
    """Replay every look that all open arms have reached.

    At each look both Holm families test the open arms at alpha / (m - rejected) with the boundary
    of that level, again after each rejection (Maurer and Bretz 2013,
    doi:10.1080/19466315.2013.807748; Tamhane, Xi and Gou 2021, doi:10.1002/sim.9128). An arm stops
    with its verdict and keeps its pairs; later seeds of it are not looked at.

    Args:
        arms: For each arm its values in the order of the seeds, as far as its trials have all
            ended; NaN where one has no value.
        baseline: Its values likewise.
        looks: Seeds per arm at each look, increasing.
        modes: Whether low or high is better, for each arm.
        margin: Smaller differences are equivalent; None: no arm is.
        diverged: For each arm whether its trial of a seed diverged, aligned with its values.
        spending: How the error is spent over the looks.
        late: For each arm (seeds, 2): whether its value and the baseline's of a seed are times
            that are only known to be longer. A look at such values flips signs in place of t.
    """
    base = np.asarray(baseline, dtype=float)
    values = {arm: np.asarray(v, dtype=float) for arm, v in arms.items()}
    lost = {arm: np.asarray(flags, dtype=bool) for arm, flags in (diverged or {}).items()}
    times = {arm: np.asarray(flags, dtype=bool) for arm, flags in (late or {}).items()}
    standings = {arm: _before_first(v, base, looks[0], times.get(arm)) for arm, v in values.items()}
    different: set[str] = set()
    equivalent: set[str] = set()
    for k, seeds in enumerate(looks):
        open_arms = [arm for arm, standing in standings.items() if standing.open]
        if not open_arms or min(len(base), *(len(values[arm]) for arm in open_arms)) < seeds:
            break
        made = [
            _look(values[arm], base, looks, k, margin, spending, times.get(arm))
            for arm in open_arms
        ]
        families = [
            holm([p for _, p, _, _ in made], len(values) - len(different)),
            holm([p for _, _, p, _ in made], len(values) - len(equivalent)),
        ]
        different |= {a for a, p in zip(open_arms, families[0], strict=True) if p < ALPHA}
        equivalent |= {a for a, p in zip(open_arms, families[1], strict=True) if p < ALPHA}
        level = ALPHA / max(len(values) - len(different), 1)
        last = k == len(looks) - 1
        for arm, (delta, _, p_inside, c), p_holm, inside_holm in zip(
            open_arms, made, *families, strict=True
        ):
            gone = int(lost[arm][:seeds].sum()) if arm in lost else 0
            p = (float(p_holm), p_inside, float(inside_holm))
            nominal = float(2 * special.stdtr(delta.df, -critical(c, level)))
            found = judgement(delta, modes[arm], p, gone, nominal)
            # An arm that only its diverged trials keep from a verdict gains none by more seeds.
            decided = found.verdict != "undecided" or "given that it trains" in found.flags
            standings[arm] = Standing(
                delta,
                found,
                seeds,
                wants=seeds if decided or last else looks[k + 1],
                open=not (decided or last),
                early=decided and not last,
            )
    return standings


def _before_first(
    values: NDArray[np.float64],
    base: NDArray[np.float64],
    first: int,
    late: NDArray[np.bool_] | None,
) -> Standing:
    nan, n = float("nan"), min(len(values), len(base), first)
    delta = paired_delta(values[:n], base[:n])
    bound = "exact" if late is None else bound_of(*late[:n].sum(axis=0))
    delta = replace(delta, p=nan, interval=NO_INTERVAL, interval_90=NO_INTERVAL, bound=bound)
    return Standing(delta, Judgement("undecided", nan, nan, nan, nan), 0, first, True, False)


def _look(
    values: NDArray[np.float64],
    base: NDArray[np.float64],
    looks: Sequence[int],
    k: int,
    margin: float | None,
    spending: Spending,
    late: NDArray[np.bool_] | None,
) -> tuple[Delta, float, float, NDArray[np.float64]]:
    """The k-th look at one arm: its delta, two p values (NaN: not tested), boundaries by level."""
    delta = paired_delta(values[: looks[k]], base[: looks[k]])
    lost = [sum(at < n for at in delta.missing) for n in looks[: k + 1]]
    tested = delta.n >= MIN_PAIRS_FOR_VERDICT
    nan = float("nan")
    if late is not None and (gone := late[: looks[k]]).any():
        counts = tuple(n - less for n, less in zip(looks, lost, strict=False))
        fractions = tuple(n / looks[-1] for n in looks[: k + 1])
        c = flip_boundaries(tuple(delta.differences), counts, fractions, spending)[:, k]
        p = repeated_flip_p(c, float(delta.differences.sum())) if tested else nan
        return censored(delta, bound_of(*gone.sum(axis=0)), p), p, nan, c
    # Looks to come do not change this one; with all of them named, one simulation serves all.
    lost += [lost[-1]] * (len(looks) - k - 1)
    counts = tuple(n - gone for n, gone in zip(looks, lost, strict=True))
    c = boundaries(counts, tuple(n / looks[-1] for n in looks), spending)[:, k]
    delta, p_inside = repeated(delta, c, len(looks), margin)
    return delta, delta.p if tested else nan, p_inside if tested else nan, c


def repeated(
    delta: Delta, c: NDArray[np.float64], looks: int, margin: float | None = None
) -> tuple[Delta, float]:
    """The delta of one look with p and intervals that hold at every look; its p of equivalence.

    The repeated confidence interval is mean +- c_k SE (Jennison and Turnbull 1989,
    doi:10.1111/j.2517-6161.1989.tb01433.x); it covers all the looks together, so it is valid
    whatever stopped the study. Equivalent where the 90% one lies inside the margin. Differences
    that do not vary get their sign-flip p times the number of looks.

    Args:
        delta: Of the pairs up to the look.
        c: Boundaries at the look for LEVELS.
        looks: Planned in all.
        margin: Of equivalence.
    """
    nan = float("nan")
    if delta.n < 2:
        return delta, nan
    room = nan if margin is None else margin - abs(delta.mean)
    if delta.degenerate:
        p = min(1.0, delta.p * looks)
        floor = min(1.0, delta.least_p * looks)
        point = (delta.mean, delta.mean)
        held = replace(
            delta,
            p=p,
            interval=point if floor <= 0.05 else NO_INTERVAL,
            interval_90=point if floor <= 0.10 else NO_INTERVAL,
        )
        return held, floor / 2 if room > 0 else nan if margin is None else 1.0
    half, half_90 = (critical(c, level) * delta.se for level in (0.05, 0.10))
    p_inside = nan
    if margin is not None:
        p_inside = repeated_p(c, room / delta.se) / 2 if room > 0 else 1.0
    return replace(
        delta,
        p=repeated_p(c, delta.mean / delta.se),
        interval=(delta.mean - half, delta.mean + half),
        interval_90=(delta.mean - half_90, delta.mean + half_90),
    ), p_inside
