"""Times to a threshold in a study: deltas of their logarithms, and the ratios as a table."""

import math
from dataclasses import asdict

import pandas as pd

from ablations.results.frame import values_by_seed
from ablations.results.numbers import fixed, p_text
from ablations.results.rows import DeltaTable, Row
from ablations.results.scale import ratio_text
from ablations.results.sections import Section, plain
from ablations.results.signflip import permutation_p
from ablations.results.statistics import Delta
from ablations.results.threshold import TimeRatio, bound_of, censored, median_time
from ablations.study import Study


def without_censored(delta: Delta, frame: pd.DataFrame, arm: str, baseline: str) -> Delta:
    """The delta of one arm's log times, for what censoring leaves of it.

    With a trial that never crossed, in either arm, p is that of the sign-flip test, unpaired of
    the permutation test, on log min(T, budget). Of other metrics, and without censoring, the delta
    as it is.

    Args:
        delta: Of logarithms of times censored at the budget.
        frame: As of :func:`ablations.results.frame.trial_frame`.
        arm: Its arm.
        baseline: What it is compared with.
    """
    late = frame["time"].eq(math.inf)
    own, base = (frame["arm"] == name for name in (arm, baseline))
    bound = bound_of(int(late[own].sum()), int(late[base].sum()))
    if arm == baseline or bound == "exact":
        return delta
    if delta.paired:
        return censored(delta, bound, delta.p_sign_flip)
    return censored(delta, bound, permutation_p(frame["compared"][own], frame["compared"][base]))


def times_section(study: Study, frame: pd.DataFrame, table: DeltaTable) -> Section | None:
    """Each arm's time to the threshold and its ratio to the baseline's; None for other metrics.

    Args:
        study: The study.
        frame: As of :func:`ablations.results.frame.trial_frame`.
        table: Whose deltas, p values and counted seeds are shown.
    """
    if study.metric.threshold is None:
        return None
    late = frame["time"].eq(math.inf)
    budget = float(frame["epochs"][late].min() if late.any() else frame["epochs"].max())
    times = values_by_seed(frame.assign(value=frame["time"])).reindex(list(study.seeds))
    counted = {row.arm: times[row.arm].iloc[: row.planned] for row in table.rows}
    rows, values = [], []
    for row in table.rows:
        found = _ratio(row, counted[row.arm], counted[study.baseline], budget)
        is_baseline = row.arm == study.baseline
        low, high = found.interval
        shown = "" if math.isnan(low) else f"[{ratio_text(low)}, {ratio_text(high)}]"
        ratio = "baseline" if is_baseline else ratio_text(found.ratio, found.bound)
        cells = ("", "") if is_baseline else (shown, p_text(found.p))
        never = f"{found.censored[0]} of {int(counted[row.arm].notna().sum())}"
        rows.append((row.arm, _epochs(found.medians[0], budget), never, ratio, *cells))
        values.append(plain({"arm": row.arm, "budget": budget, **asdict(found)}))
    seeds = "paired" if study.pairing == "seeds" else "unpaired"
    notes = [
        f"Ratio: of epochs, exp of the mean log ratio over {seeds} seeds; interval: 95%, t on "
        "logs, for new seeds.",
        "Median: Kaplan and Meier's. The verdict is on the ratio.",
    ]
    if late.any():
        test = "the sign-flip test's" if study.pairing == "seeds" else "a permutation test's"
        looks = ", repeated so that it holds at every planned look" if study.plan else ""
        notes.append(
            f"Where a trial never crossed within {budget:g} epochs the ratio is a bound, and p is "
            f"{test} on log min(T, budget){looks}."
        )
    heads = ("arm", "median epochs", "never", "ratio", "95% interval", "p")
    return Section(
        "times", study.metric.name, heads, tuple(rows), ("arm",), tuple(notes), tuple(values)
    )


def _ratio(row: Row, own: "pd.Series[float]", base: "pd.Series[float]", budget: float) -> TimeRatio:
    low, high = (math.exp(end) for end in row.delta.interval)
    return TimeRatio(
        ratio=math.exp(row.delta.mean),
        bound=row.delta.bound,
        interval=(low, high),
        p=row.delta.p,
        medians=(median_time(own, budget), median_time(base, budget)),
        censored=(int((own > budget).sum()), int((base > budget).sum())),
        n=row.delta.n,
    )


def _epochs(time: float, budget: float) -> str:
    return f"> {budget:g}" if time == math.inf else fixed(time, 1)
