"""Trial folders made from known numbers, as a sweep would leave them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ablations.study import Study, load_study, trials
from ablations.workspace import Workspace, write_json

METRIC = "test/top1_error"


def write_study(folder: Path, arms: Sequence[str], seeds: Any = 6, **extra: Any) -> Study:
    """A study file whose first arm is the baseline; each other arm sets its own number.

    A key of `extra` replaces one of the file, None removes it.
    """
    folder.mkdir(exist_ok=True)
    (folder / "base.yaml").write_text("model: {class_path: a.B, init_args: {switch: 0}}\n")
    content = {
        "question": "Does it matter?",
        "base": "base.yaml",
        "metric": METRIC,
        "baseline": arms[0],
        "arms": {a: {"model.init_args.switch": i} if i else {} for i, a in enumerate(arms)},
        "seeds": seeds,
        **extra,
    }
    content = {key: value for key, value in content.items() if value is not None}
    file = folder / "known.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_study(file)


def fabricate(
    study: Study,
    root: Path,
    values: Mapping[str, Sequence[float | str | None]],
    epochs: int = 5,
    commit: str = "abcdef1234",
    dirty: bool = False,
    logged: Mapping[str, float] | None = None,
    **result: Any,
) -> Workspace:
    """A workspace whose trials have these values of the metric, by arm and seed.

    In place of a value: None for a trial that waits, or one of "failed", "diverged",
    "interrupted". What is `logged` besides, and further keys of the result, are the same for all.
    """
    workspace = Workspace(root)
    workspace.create()
    workspace.record_study(study)
    arms = {}
    for i, arm in enumerate(study.arms):
        changes = {"model.init_args.switch": [0, i]} if arm.name != study.baseline else {}
        arms[arm.name] = {
            "changes": changes,
            "parameters": 12_000 + 600 * i,
            "flops": 1_000_000 + i,
        }
    write_json(workspace.study_folder(study.name) / "arms.json", arms)
    at = {seed: i for i, seed in enumerate(study.seeds)}
    for trial in trials(study):
        column = values.get(trial.arm, ())
        value = column[at[trial.seed]] if at[trial.seed] < len(column) else None
        if value is not None:
            more = {"epochs": epochs, "commit": commit, "dirty": dirty, **result}
            named = trial.id, trial.seed, study.metric.name
            leave_trial(workspace, *named, value, logged or {}, more)
    return workspace


def leave_trial(
    workspace: Workspace,
    trial: str,
    seed: int,
    metric: str,
    value: float | str,
    logged: Mapping[str, float],
    more: Mapping[str, Any],
) -> None:
    """What one trial leaves in its folder; ``more`` has its epochs, commit and dirty."""
    epochs = more["epochs"]
    folder = workspace.trial_folder(trial)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("seed_everything: 0\n")
    write_json(folder / "attempt.json", {"pid": 1, "host": "h", "started": 1.0, "attempt": 1})
    final = value if isinstance(value, float | int) else 50.0
    rng = np.random.default_rng(seed)
    lines = ["epoch,step,name,value,time"]
    for epoch in range(epochs):
        left = 0.75**epoch
        rows = {
            "train/loss": 0.05 + 2.2 * left * (1 + 0.05 * rng.normal()),
            "val/loss": 0.10 + 2.2 * left * (1 + 0.08 * rng.normal()),
            "train/top1_error": 0.5 * final + 80 * left * (1 + 0.04 * rng.normal()),
            "val/top1_error": final + 80 * left * (1 + 0.05 * rng.normal()),
        }
        if epoch == epochs - 1:
            rows[metric] = final
        lines += [
            f"{epoch},{epoch * 10},{name},{float(number)!r},{1.7e9 + epoch}"
            for name, number in rows.items()
        ]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    if value == "interrupted":
        return
    if value == "failed":
        write_json(folder / "failure.json", {"error": "RuntimeError: no", "attempts": 1, "time": 2})
        return
    targets = rng.integers(0, 10, 50)
    probabilities = rng.dirichlet(np.ones(10), 50).astype(np.float16)
    np.savez(folder / "predictions.npz", targets=targets, probabilities=probabilities)
    result = {
        "schema": 1,
        "id": trial,
        "status": "diverged" if value == "diverged" else "done",
        "seed": seed,
        "metrics": {metric: None if value == "diverged" else value, "train/loss": 0.1, **logged},
        "steps": epochs * 10,
        "seconds": 4.0 + seed / 10,
        "parameters": 12_000,
        "flops": 1_000_000,
        "attempt": 1,
        "started": "2030-01-01T00:00:00+00:00",
        "finished": "2030-01-01T00:00:04+00:00",
        "environment": {
            "python": "3.11.7",
            "torch": "2.13.0",
            "lightning": "2.6.6",
            "ablations": "0.1.0",
            "platform": "Linux",
            "device": "cpu",
            "threads": 1,
            "host": "here",
        },
        **more,
    }
    (folder / "result.json").write_text(json.dumps(result))
