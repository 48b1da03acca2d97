"""Times to a threshold in a study: deltas of their logarithms, and the ratios as a table."""

import math
from dataclasses import asdict, replace

import pandas as pd

from ablations.results.frame import values_by_seed
from ablations.results.numbers import fixed, p_text
from ablations.results.scale import ratio_text
from ablations.results.sections import Section, plain
from ablations.results.statistics import NO_INTERVAL, Delta
from ablations.results.threshold import bound_of, time_ratio
from ablations.study import Study


def without_censored(delta: Delta, frame: pd.DataFrame, arm: str, baseline: str) -> Delta:
    """The delta of one arm's log times, for what censoring leaves of it.

    With a trial that never crossed, in either arm, neither a t interval nor its p holds: p is the
    sign-flip test's, and no arm is equivalent. Of other metrics, and without censoring, the delta
    as it is.

    Args:
        delta: Of logarithms of times censored at the budget.
        frame: As of :func:`ablations.results.frame.trial_frame`.
        arm: Its arm.
        baseline: What it is compared with.
    """
    late = frame["time"].eq(math.inf)
    bound = bound_of(*(int(late[frame["arm"] == name].sum()) for name in (arm, baseline)))
    if arm == baseline or bound == "exact":
        return delta
    nan = float("nan")
    return replace(
        delta,
        se=nan,
        df=nan,
        interval=NO_INTERVAL,
        interval_90=NO_INTERVAL,
        p=delta.p_sign_flip if delta.paired else nan,
        degenerate=False,
        bound=bound,
    )


def times_section(study: Study, frame: pd.DataFrame) -> Section | None:
    """Each arm's time to the threshold and its ratio to the baseline's; None for other metrics."""
    if study.metric.threshold is None:
        return None
    late = frame["time"].eq(math.inf)
    censored = frame["state"].eq("done") & late
    budget = float(frame["epochs"][late].min() if late.any() else frame["epochs"].max())
    times = values_by_seed(frame.assign(value=frame["time"]))
    names = sorted(map(str, times), key=lambda name: name != study.baseline)
    rows, values = [], []
    for name in names:
        own = frame["arm"] == name
        n, never = int(times[name].notna().sum()), int(censored[own].sum())
        found = time_ratio(times[name], times[study.baseline], budget)
        is_baseline = name == study.baseline
        low, high = found.interval
        shown = "" if math.isnan(low) else f"[{ratio_text(low)}, {ratio_text(high)}]"
        ratio = "baseline" if is_baseline else ratio_text(found.ratio, found.bound)
        cells = ("", "") if is_baseline else (shown, p_text(found.p))
        rows.append((name, _epochs(found.medians[0], budget), f"{never} of {n}", ratio, *cells))
        values.append(plain({"arm": name, "budget": budget, **asdict(found)}))
    notes = [
        "Ratio: of epochs, exp of the mean log ratio over paired seeds; interval: 95%, t on logs.",
        "Median: Kaplan and Meier's. The verdict is on the ratio.",
    ]
    if censored.any():
        notes.append(
            f"Where a trial never crossed within {budget:g} epochs the ratio is a bound, and p is "
            "the sign-flip test's on log min(T, budget)."
        )
    heads = ("arm", "median epochs", "never", "ratio", "95% interval", "p")
    return Section(
        "times", study.metric.name, heads, tuple(rows), ("arm",), tuple(notes), tuple(values)
    )


def _epochs(time: float, budget: float) -> str:
    return f"> {budget:g}" if time == math.inf else fixed(time, 1)
