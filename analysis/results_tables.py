"""Tables 1 and 2: one net, several averaged, pretrained, all averaged; centre crop and ten crops.

Whatever data the study's trials were tested on; the paper's figures, on its own data and of ten
crops, stand beside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from ablations.results.claims import Claim, load_claims
from ablations.results.ensemble import averaged_errors
from ablations.results.frame import Predictions
from ablations.results.numbers import fixed
from ablations.results.paper import answered, studies_in
from ablations.results.setting import trial_config
from ablations.results.statistics import spread
from ablations.study import InputError, Study, load_study, shipped_configs
from ablations.workspace import Workspace
from analysis.command import Out, StudyOption, WorkspaceFolder, run, write_table
from analysis.predictions import predicting, study_with_predictions

AVERAGED = 5
VIEWS = {"centre crop": "probabilities", "ten crops": "ten_crop"}
TOPS = ("top-1", "top-5")
# The paper's rows, by what they are called here.
ONE, FIVE, PRETRAINED, ALL = "one net", "averaged", "one net, pretrained", "all averaged"
PAPER = {ONE: "cnn-1-2012", FIVE: "cnn-5-2012", PRETRAINED: "cnn-1-pretrained"}
PAPER |= {ALL: "cnn-7-pretrained"}
OTHERS = {
    "cnn-2010": ONE,
    "sparse-coding-2010": "sparse coding",
    "sift-fv-2010": "SIFT and Fisher vectors",
    "sift-fv-2012": "SIFT and Fisher vectors",
}


@dataclass(frozen=True)
class Line:
    """A row of the table: errors in percent by view and top, and their SD over nets or NaN."""

    name: str
    nets: str
    errors: dict[tuple[str, str], tuple[float, float]]
    paper: Claim | None = None


def lines(plain: Sequence[Predictions], pretrained: Sequence[Predictions]) -> list[Line]:
    """One net, several averaged and, where there are any, the pretrained, alone and with them.

    Raises:
        ValueError: The predictions are not of one test set.
    """
    every = [*plain, *pretrained]
    for other in every:
        same = np.array_equal(other.targets, every[0].targets)
        if not same or other.probabilities.shape != every[0].probabilities.shape:
            raise ValueError("the nets were not tested on the same images")
    k = min(AVERAGED, len(plain))
    paper = _paper(FIVE) if k == AVERAGED else None
    found = [_single(ONE, plain), _averaged(f"{k} nets {FIVE}", plain, k, paper)]
    if not pretrained:
        return [*found, *(Line(name, "none", {}, _paper(name)) for name in (PRETRAINED, ALL))]
    return [*found, _single(PRETRAINED, pretrained), _averaged(ALL, every, len(every), _paper(ALL))]


def _single(name: str, nets: Sequence[Predictions]) -> Line:
    errors = {}
    for view in _views(nets):
        singles = [_errors([net], view, 1) for net in nets]
        for top in singles[0]:
            _, mean, sd = spread([each[top] for each in singles])
            errors[view, top] = (mean, sd)
    return Line(name, f"mean of {len(nets)}" if len(nets) > 1 else "1", errors, _paper(name))


def _averaged(name: str, nets: Sequence[Predictions], k: int, paper: Claim | None) -> Line:
    errors = {
        (view, top): (error, float("nan"))
        for view in _views(nets)
        for top, error in _errors(nets, view, k).items()
    }
    return Line(name, f"{k} of {len(nets)}", errors, paper)


def _views(nets: Sequence[Predictions]) -> list[str]:
    return [v for v, field in VIEWS.items() if all(getattr(n, field) is not None for n in nets)]


def _errors(nets: Sequence[Predictions], view: str, k: int) -> dict[str, float]:
    stacked = np.stack([getattr(net, VIEWS[view]) for net in nets])
    found = averaged_errors(stacked, nets[0].targets)[k - 1]
    tops = {TOPS[0]: found.top1_error}
    return tops if found.top5_error is None else tops | {TOPS[1]: found.top5_error}


def _claims() -> dict[str, Claim]:
    return load_claims(shipped_configs() / "claims" / "alexnet.yaml")


def _paper(name: str) -> Claim | None:
    return _claims()[PAPER[name]] if name in PAPER else None


def table(found: Sequence[Line]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The lines with the paper's, then what else the paper's tables list."""
    columns = [(view, top) for view in VIEWS for top in TOPS]
    columns = [column for column in columns if any(column in line.errors for line in found)]
    rows, numbers = [], []
    for line in found:
        cells = {"model": line.name, "nets": line.nets}
        for column in columns:
            mean, sd = line.errors.get(column, (float("nan"),) * 2)
            if column in line.errors:
                numbers.append((line.name, *column, mean, sd))
            shown = fixed(mean, 2) if line.errors else ""
            cells[", ".join(column)] = shown + (f" (SD {sd:.2f})" if np.isfinite(sd) else "")
        rows.append(cells | _paper_cells(line.paper))
    for name, words in OTHERS.items():
        rows.append({"model": words, "nets": "the paper's"} | _paper_cells(_claims()[name]))
    full = pd.DataFrame(numbers, columns=["model", "view", "top", "error", "sd"])
    return pd.DataFrame(rows).fillna(""), full


def _paper_cells(claim: Claim | None) -> dict[str, str]:
    value = claim.value if claim else {}
    cells = {
        f"paper, {top}": value[key].shown if key in value else ""
        for top, key in zip(TOPS, ("top1_error", "top5_error"), strict=True)
    }
    return cells | {"paper's data": (claim.data or "") if claim else ""}


def pretrained_arms(study: Study, workspace: Workspace) -> list[str]:
    """The arms whose nets started from other nets' weights."""
    found = []
    for arm in study.arms:
        nets = predicting(study, workspace, arm.name)
        model = trial_config(workspace, nets[0][0].id).get("model") or {} if nets else {}
        if (model.get("init_args") or {}).get("init_from") is not None:
            found.append(arm.name)
    return found


def _nets(study: Study, workspace: Workspace, arm: str) -> list[Predictions]:
    found = [answers for _, answers in predicting(study, workspace, study.arm(arm).name)]
    if not found:
        told = f'no finished trial of "{arm}" stored predictions'
        raise InputError(f"{told}; finish `ablate run {study.name}` first", file=study.file)
    return found


def results_tables(
    workspace: WorkspaceFolder = Path("runs"),
    out: Out = Path("reports"),
    study: StudyOption = None,
    arm: Annotated[str | None, typer.Option(help="The nets; the baseline's by default.")] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY/ARM",
            help="The pretrained nets; by default the arms of the study with init_from.",
        ),
    ] = None,
) -> Sequence[Path]:
    """Write the errors of one net, of several averaged, and of pretrained ones."""
    place = Workspace(workspace)
    chosen = study_with_predictions(place, study)
    others = [(chosen, name) for name in pretrained_arms(chosen, place)]
    if pretrained is not None:
        name, _, of = pretrained.partition("/")
        known = {each.name: each for each in studies_in(place)}
        other = known[name] if name in known else load_study(name)
        others = [(other, of)]
    base = arm or chosen.baseline
    tuned = [net for each, name in others for net in _nets(each, place, name)]
    plain = [] if (chosen, base) in others else _nets(chosen, place, base)
    if not plain:
        raise InputError(f'"{base}" is pretrained itself; name other nets with --arm')
    try:
        found = lines(plain, tuned)
    except ValueError as error:
        raise InputError(str(error), file=chosen.file) from error
    text, full = table(found)
    setting = answered(chosen, place).setting
    notes = [
        f"Test errors in percent, on {setting.data}: {setting.budget}. Several averaged: mean of "
        "their softmax outputs; over all choices of that many nets, or 50 of them.",
        "The paper's figures are of ten crops and of its own data.",
    ]
    if len(plain) < AVERAGED:
        notes.append(f"The paper averages {AVERAGED} nets; there are {len(plain)} here.")
    if not tuned:
        notes.append("No pretrained nets: no arm here has `init_from`.")
    if not any(view == "ten crops" for view, _ in found[0].errors):
        notes.append("No ten crops: `data.init_args.ten_crop` was off.")
    title = f"Errors of {chosen.name}, {base}, on {setting.data}"
    return write_table(out, f"results_tables-{chosen.name}", title, text, full, notes)


if __name__ == "__main__":
    run(results_tables)
