"""``ablate ensemble``: the error of an arm's nets averaged, from their stored predictions."""

from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ablations.results.ensemble import averaged_errors
from ablations.results.frame import Predictions, predictions
from ablations.results.numbers import fixed
from ablations.study import InputError, Study, trials
from ablations.workspace import Workspace

_VIEWS = {"probabilities": "centre_crop", "ten_crop": "ten_crop"}


def ensemble(study: Study, workspace: Workspace, arm: str) -> dict[str, Any]:
    """Errors of 1, 2, ..., n nets of the arm averaged, by centre crop and by ten crops.

    Raises:
        InputError: No trial of the arm has predictions, or they are not of one test set.
    """
    planned = [trial for trial in trials(study) if trial.arm == study.arm(arm).name]
    states = workspace.states({trial.id for trial in planned})
    done = [trial for trial in planned if states[trial.id] == "done"]
    stored = {t.seed: found for t in done if (found := predictions(workspace, t.id)) is not None}
    if not stored:
        told = f"none of its {len(planned)} trials is done"
        if done:
            told = (
                f"none of its {len(done)} trials stored predictions: test_step has to return "
                '{"probabilities": (B, C), "targets": (B,)}'
            )
        raise InputError(told, file=study.file, key=f"arms.{arm}")
    first, *rest = stored.values()
    for seed, other in zip(list(stored)[1:], rest, strict=True):
        if not _same_test(first, other):
            told = (
                f"the predictions of seeds {next(iter(stored))} and {seed} are not of one test set"
            )
            raise InputError(told, file=study.file, key=f"arms.{arm}")
    made: dict[str, Any] = {
        "study": study.name,
        "arm": arm,
        "seeds": list(stored),
        "left_out": [trial.seed for trial in planned if trial.seed not in stored],
        "examples": len(first.targets),
    }
    for name, view in _VIEWS.items():
        nets = [getattr(each, name) for each in stored.values()]
        if all(net is not None for net in nets):
            rows = averaged_errors(np.stack(nets), first.targets)
            made[view] = [asdict(row) for row in rows]
    return made


def _same_test(one: Predictions, other: Predictions) -> bool:
    same_shape = one.probabilities.shape == other.probabilities.shape
    return same_shape and np.array_equal(one.targets, other.targets)


def show_ensemble(made: dict[str, Any], console: Console) -> None:
    """The errors in text."""
    told = f"{made['arm']}: {len(made['seeds'])} nets, {made['examples']} test examples"
    if made["left_out"]:
        told += f" (without seeds {', '.join(map(str, made['left_out']))}: no predictions)"
    console.print(told, markup=False, highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("nets averaged")
    table.add_column("choices")
    views = [view for view in _VIEWS.values() if view in made]
    columns = []
    for view in views:
        for top in ("top1_error", "top5_error"):
            if made[view][0][top] is not None:
                columns.append((view, top))
                crops = " ten-crop" if view == "ten_crop" else ""
                table.add_column(f"top-{top[3]}{crops}", justify="right")
    for number, row in enumerate(made[views[0]]):
        few = row["choices"] == row["possible"]
        choices = f"all {row['choices']}" if few else f"{row['choices']} of {row['possible']:,}"
        values = [fixed(made[view][number][top], 2) for view, top in columns]
        table.add_row(str(row["nets"]), choices, *values)
    console.print(table)
    console.print("Errors in percent, means over choices of nets.", highlight=False)
