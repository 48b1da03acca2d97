"""Trial folders -> tidy frames: a row per arm and seed, whatever became of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablations.results.threshold import first_crossing
from ablations.study import Metric, Study, Trial, trials
from ablations.workspace import State, Workspace, read_json

COLUMNS = [
    "study",
    "arm",
    "seed",
    "trial",
    "state",
    "value",
    "compared",
    "time",
    "seconds",
    "epochs",
    "stopped_early",
    "steps",
    "parameters",
    "flops",
    "commit",
    "dirty",
    "started",
    "finished",
    "error",
]
ENDED: tuple[State, ...] = ("done", "failed", "diverged")
METRIC_PREFIX = "metrics."


def trial_frame(study: Study, workspace: Workspace) -> pd.DataFrame:
    """A row per (arm, seed) of the study, arm by arm, also for trials without a result.

    Columns: study, arm, seed, trial (its id), state, value, compared, time, seconds, epochs,
    stopped_early, steps, parameters, flops, commit, dirty, started and finished (ISO 8601), error
    (of a failed trial), and ``metrics.<name>`` for whatever was logged, and for metrics of the
    study that are made of it. `value` is the arm's metric, NaN unless the trial is done: what a
    diverged trial reports is in its metrics alone. Arms that share a trial have a row each.

    For a metric that is the time to a threshold, `time` is the first crossing in epochs, infinity
    where there is none, and `value` the same censored at the budget: the fewest epochs after which
    any trial had not crossed, or all epochs. `compared` is what deltas are taken of: the logarithm
    of such a value, for any other metric the value itself.
    """
    order = {arm.name: number for number, arm in enumerate(study.arms)}
    planned = sorted(trials(study), key=lambda trial: order[trial.arm])
    results = {trial.id: workspace.result(trial.id) for trial in planned}
    states = workspace.states({trial for trial, result in results.items() if result is None})
    just = {trial for trial, state in states.items() if state in ("done", "diverged")}
    results |= {trial: workspace.result(trial) for trial in just}
    rows = [_row(study, workspace, t, states.get(t.id), results[t.id]) for t in planned]
    frame = pd.DataFrame(rows)
    frame = frame.reindex(columns=[*COLUMNS, *(c for c in frame.columns if c not in COLUMNS)])
    frame = frame.assign(compared=frame["value"])
    asked = dict.fromkeys([*(study.metric_of(arm.name) for arm in study.arms), *study.beside])
    if any(metric.threshold or metric.early for metric in asked):
        done = frame[frame["state"] == "done"].drop_duplicates("trial")
        log = curves(done, workspace).sort_values("epoch")
    for metric in asked:
        if metric.threshold:
            _add_times(frame, study, metric, log)
        elif metric.early:
            curve, epoch = metric.early
            there = log[(log["name"] == curve) & (log["epoch"] == epoch - 1)]
            found = frame["trial"].map(there.set_index("trial")["value"].to_dict()).astype(float)
            _add(frame, study, metric, found)
        elif metric.gap:
            first, second = (metric_column(frame, name) for name in metric.gap)
            _add(frame, study, metric, first - second)
    return frame


def _row(
    study: Study,
    workspace: Workspace,
    trial: Trial,
    state: State | None,
    result: dict[str, Any] | None,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "study": study.name,
        "arm": trial.arm,
        "seed": trial.seed,
        "trial": trial.id,
        "state": state if result is None else result["status"],
        "value": np.nan,
    }
    if state == "failed":
        row["error"] = (read_json(workspace.trial_folder(trial.id) / "failure.json") or {}).get(
            "error"
        )
    if result is None:
        return row
    numbers = ("seconds", "epochs", "steps", "parameters", "flops")
    texts = ("stopped_early", "commit", "dirty", "started", "finished")
    metrics = {name: _number(value) for name, value in result["metrics"].items()}
    row |= {key: _number(result.get(key)) for key in numbers}
    row |= {key: result.get(key) for key in texts}
    row |= {METRIC_PREFIX + name: value for name, value in metrics.items()}
    if row["state"] == "done":
        row["value"] = metrics.get(study.metric_of(trial.arm).name, np.nan)
    return row


def _add_times(frame: pd.DataFrame, study: Study, metric: Metric, log: pd.DataFrame) -> None:
    """The time to a threshold of every finished trial, as its metric of that name, in place."""
    threshold = metric.threshold
    assert threshold is not None
    sign = -1 if threshold.above else 1
    found = {
        trial: first_crossing(curve["epoch"] + 1, sign * curve["value"], sign * threshold.level)
        for trial, curve in log[log["name"] == threshold.metric].groupby("trial")
    }
    time = frame["trial"].map(found).astype(float)
    late = np.isinf(time)
    budget = frame["epochs"][late].min() if late.any() else frame["epochs"].max()
    value = time.clip(upper=budget)
    mine = _add(frame, study, metric, value)
    frame.loc[mine, "time"] = time[mine]
    frame.loc[mine, "compared"] = np.log(value[mine])


def _add(
    frame: pd.DataFrame, study: Study, metric: Metric, value: "pd.Series[float]"
) -> "pd.Series[bool]":
    """A made metric of every trial, in place; whose arms are judged by it."""
    frame[METRIC_PREFIX + metric.name] = value
    mine = frame["arm"].map(lambda arm: study.metric_of(arm) == metric)
    value = value.where(frame["state"] == "done")
    frame.loc[mine, "value"] = frame.loc[mine, "compared"] = value[mine]
    return mine


def metric_column(frame: pd.DataFrame, name: str) -> "pd.Series[float]":
    """What every trial ended with of a metric, NaN where it has none."""
    column = METRIC_PREFIX + name
    return frame[column] if column in frame else pd.Series(np.nan, frame.index)


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


@dataclass(frozen=True)
class Holes:
    """The cells of a frame that have no value, or more than one row.

    `missing` maps an arm to its seeds without a value and what state each is in (``done`` where
    a finished trial lacks the metric); `duplicated` lists (arm, seed) that occur more than once.
    """

    missing: dict[str, dict[int, str]]
    duplicated: tuple[tuple[str, int], ...]


def find_holes(frame: pd.DataFrame) -> Holes:
    """What a trial frame lacks and what it has twice."""
    missing: dict[str, dict[int, str]] = {}
    without = frame[frame["value"].isna()]
    for arm, seed, state in zip(without["arm"], without["seed"], without["state"], strict=True):
        missing.setdefault(arm, {})[int(seed)] = state
    cells = frame[["arm", "seed"]]
    repeated = cells[cells.duplicated()].drop_duplicates()
    return Holes(
        missing,
        tuple(
            (str(arm), int(seed))
            for arm, seed in zip(repeated["arm"], repeated["seed"], strict=True)
        ),
    )


def values_by_seed(frame: pd.DataFrame) -> pd.DataFrame:
    """The metric as a matrix: a row per seed, a column per arm, NaN for holes.

    Raises:
        ValueError: A cell occurs twice, so that neither of its values can be trusted.
    """
    duplicated = find_holes(frame).duplicated
    if duplicated:
        named = ", ".join(f"{arm} with seed {seed}" for arm, seed in duplicated)
        raise ValueError(f"more than one row for {named}")
    arms = list(dict.fromkeys(frame["arm"]))
    return frame.pivot(index="seed", columns="arm", values="value").reindex(columns=arms)


def compared_by_seed(frame: pd.DataFrame) -> pd.DataFrame:
    """What deltas are taken of, as :func:`values_by_seed`."""
    return values_by_seed(frame.assign(value=frame["compared"]))


def curves(frame: pd.DataFrame, workspace: Workspace) -> pd.DataFrame:
    """Every logged metric over time, long.

    Columns: arm, seed, trial, state, epoch, step, name, value, time (unix seconds).

    A resumed trial logs some epochs twice: the last row of each trial, epoch and name counts. A
    line cut off by a crash is left out. Trials that have logged nothing have no row.
    """
    keys = ["arm", "seed", "trial", "state"]
    columns = ["epoch", "step", "name", "value", "time"]
    logs: dict[str, pd.DataFrame] = {}
    for trial in frame["trial"].unique():
        file = workspace.trial_folder(trial) / "metrics.csv"
        if file.is_file():
            log = pd.read_csv(file, names=columns, header=0, on_bad_lines="skip")
            for column in ("epoch", "step", "value", "time"):
                log[column] = pd.to_numeric(log[column], errors="coerce")
            log = log.dropna(subset=["epoch", "time"])
            logs[trial] = log.drop_duplicates(["epoch", "name"], keep="last")
    parts = [
        logs[trial].assign(arm=arm, seed=seed, trial=trial, state=state)
        for arm, seed, trial, state in zip(*(frame[key] for key in keys), strict=True)
        if trial in logs
    ]
    order = [*keys, *columns]
    return pd.concat(parts, ignore_index=True)[order] if parts else pd.DataFrame(columns=order)


@dataclass(frozen=True)
class Predictions:
    """A trial's answers on the test set, in its order: targets (N,), probabilities (N, C).

    `ten_crop` are the probabilities averaged over ten views, where the module stored them.
    """

    targets: NDArray[np.int64]
    probabilities: NDArray[np.floating[Any]]
    ten_crop: NDArray[np.floating[Any]] | None = None


def predictions(workspace: Workspace, trial: str) -> Predictions | None:
    """What a trial answered to each test example, None where that was not kept."""
    file = workspace.trial_folder(trial) / "predictions.npz"
    if not file.is_file():
        return None
    with np.load(file) as arrays:
        ten_crop = arrays.get("probabilities_ten_crop")
        return Predictions(arrays["targets"], arrays["probabilities"], ten_crop)
