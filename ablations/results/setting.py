"""On which data and with what budget a study was trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ablations.results.frame import ENDED
from ablations.results.numbers import duration
from ablations.study import Study
from ablations.workspace import Workspace

_DATA = {
    "digits": "digits",
    "cifar10": "CIFAR-10",
    "cifar10-jpeg": "CIFAR-10 (JPEG)",
    "imagenet": "ILSVRC-2012",
}


@dataclass(frozen=True)
class Setting:
    """On what and how long the trials of a study were trained, in words."""

    data: str
    budget: str


def trial_config(workspace: Workspace, trial: str) -> dict[str, Any]:
    """The resolved configuration that a trial was trained with; empty where it has not begun."""
    file = workspace.trial_folder(trial) / "config.yaml"
    return (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.is_file() else {}


def setting_of(study: Study, frame: pd.DataFrame, workspace: Workspace) -> Setting:
    """Data and budget of a study's baseline."""
    trials = frame[frame["arm"] == study.baseline]
    config = trial_config(workspace, str(trials["trial"].iloc[0])) or dict(study.base_config)
    data = config.get("data") or {}
    arguments = data.get("init_args") or {}
    path = Path(str(arguments.get("path") or data.get("class_path", "own data").split(".")[-1]))
    name = _DATA.get(path.name, path.name)
    limit = arguments.get("limit")
    if type(limit) is int and limit:  # another's data module may mean something else by it
        name += f", {limit:,} training images"
    done = frame[frame["state"] == "done"]
    ended = trials[trials["state"].isin(ENDED)]
    epochs = sorted(set(done["epochs"].dropna().astype(int)))
    devices = {
        result["environment"]["device"]
        for trial in done["trial"].unique()
        if (result := workspace.result(trial)) is not None
    }
    parts = [
        f"{len(ended)} seeds"
        if len(ended) == len(trials)
        else f"{len(ended)} of {len(trials)} seeds",
        f"{' or '.join(map(str, epochs))} epochs" if epochs else "",
        f"{duration(done['seconds'].median())} s a trial" if len(done) else "",
        " and ".join(sorted(devices)),
        _precision(config),
    ]
    return Setting(name, ", ".join(filter(None, parts)))


def _precision(config: dict[str, Any]) -> str:
    """As Lightning names it, where it is not single precision."""
    precision = str((config.get("trainer") or {}).get("precision") or "32")
    return "" if precision in ("32", "32-true") else precision
