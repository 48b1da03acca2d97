"""``ablate plan``: what a study would train. Creates nothing."""

from typing import Any

from rich.console import Console
from rich.table import Table

from ablations.commands.stages import planned, seeds_told
from ablations.study import InputError, Study
from ablations.study.tuning import check_stage, probes, told_in_space, tuned_arms
from ablations.sweep.differences import changes, check_differences
from ablations.sweep.orders import order_for
from ablations.sweep.rehearsal import inspect_arm
from ablations.workspace import Workspace


def plan(study: Study, workspace: Workspace) -> dict[str, Any]:
    """Arms with what each changes, costs and lacks.

    Raises:
        InputError: An arm cannot be built, changes nothing, or repeats another.
    """
    study = workspace.with_recorded_seeds(study)
    known = workspace.arms(study.name)
    arms = {
        arm.name: inspect_arm(
            order_for(study, arm.name, study.seeds[0], "plan", workspace.root, attempt=1)
        )
        for arm in study.arms
    }
    errors = check_differences(study, {name: arm.config for name, arm in arms.items()})
    if errors:
        raise errors[0]
    _check_space(study, workspace)
    now = planned(study, workspace)
    states = workspace.states({trial.id for trial in now})
    baseline = arms[study.baseline].config
    rows = []
    for name, arm in arms.items():
        own = [trial for trial in now if trial.arm == name]
        flops = arm.flops
        if flops is None and known.get(name, {}).get("parameters") == arm.parameters:
            flops = known[name]["flops"]
        rows.append(
            {
                "arm": name,
                "changes": changes(arm.config, baseline),
                "trials": len(own),
                "done": sum(states[trial.id] in ("done", "diverged") for trial in own),
                "parameters": arm.parameters,
                "flops": flops,
                "layers": [dict(layer) for layer in arm.layers],
            }
        )
    unfinished = [trial for trial in now if states[trial.id] not in ("done", "diverged")]
    before = []
    if study.sources:
        from ablations.sweep.sources import missing_sources  # which brings Optuna along

        before = [
            {"study": missing.study.name, "trials": len(missing.trials)}
            for missing in missing_sources(study, workspace, unfinished)
        ]
    each = {trial.id for trial in now}  # arms that read two metrics of one trial share it
    return {
        "study": study.name,
        "trials": len(each),
        "done": sum(states[trial] in ("done", "diverged") for trial in each),
        "arms": rows,
        "before": before,
    }


def _check_space(study: Study, workspace: Workspace) -> None:
    """See that every tuned arm can be built at the ends of its space."""
    if study.tune is None:
        return
    check_stage(study)
    for probe in probes(study):
        for arm in tuned_arms(study):
            try:
                inspect_arm(order_for(probe, arm, study.seeds[0], "plan", workspace.root, 1))
            except InputError as error:
                raise told_in_space(error, study, arm) from None


def show_plan(study: Study, made: dict[str, Any], console: Console) -> None:
    """The plan in text."""
    from ablations.results.numbers import quantity

    console.print(study.question, style="bold", markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("arm", "changes"):
        table.add_column(name)
    for name in ("trials", "done", "parameters", "FLOPs"):
        table.add_column(name, justify="right")
    for row in made["arms"]:
        changed = [f"{_short(key)}: {pair[0]} → {pair[1]}" for key, pair in row["changes"].items()]
        is_baseline = row["arm"] == study.baseline
        counted = (
            "–" if row[key] is None else quantity(row[key]) for key in ("parameters", "flops")
        )
        table.add_row(
            row["arm"],
            "(baseline)" if is_baseline else "\n".join(changed) or f"reads {_metric(study, row)}",
            str(row["trials"]),
            str(row["done"]),
            *counted,
        )
    console.print(table)
    told = f"{made['trials']} trials, {made['done']} done"
    if made["trials"] < sum(row["trials"] for row in made["arms"]):
        told += "; some arms read the same ones"
    if study.plan is not None:
        told += f"; {seeds_told(study)} seeds an arm: as many as its answer needs"
    console.print(told, highlight=False)
    for first in made["before"]:
        told = f"before them, {first['trials']} trials of {first['study']}: some start from these"
        console.print(told, markup=False, highlight=False)
    if study.tune is not None:
        arms = tuned_arms(study)
        console.print(
            f"first {study.tune.trials} tuning trials for each of {len(arms)} arms; then these, "
            "and the same seeds with own settings",
            highlight=False,
        )


def _metric(study: Study, row: dict[str, Any]) -> str:
    return study.metric_of(row["arm"]).name


def _short(key: str) -> str:
    return key.replace("init_args.", "")
