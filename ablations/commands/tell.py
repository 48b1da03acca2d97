"""What commands print: tables, matrices, where things are."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from rich.console import Console

from ablations.commands.stages import planned, seeds_told
from ablations.study import Study, shipped_configs
from ablations.workspace import Workspace

_SIGNS = {
    "waiting": "·",
    "running": "▸",
    "done": "✓",
    "failed": "✗",
    "diverged": "∞",
    "interrupted": "…",
}


def show_table(table: Any, console: Console) -> None:
    """The delta table, coloured on a terminal."""
    from ablations.results.formats import render, to_rich

    console.print()
    if console.is_terminal:
        console.print(to_rich(table, console.width))
    else:
        console.print(render(table, "text"), markup=False, highlight=False, soft_wrap=True)
    console.print()


def links(
    study: Study, workspace: Workspace, console: Console, ids: tuple[str, dict[str, str]] | None
) -> None:
    """Where the report, the runs and the files are."""
    import os

    def line(name: str, value: object) -> None:
        console.print(f"{name:<10} {value}", markup=False, highlight=False, soft_wrap=True)

    folder = workspace.study_folder(study.name)
    if (folder / f"{study.name}.html").exists():
        line("report", folder / f"{study.name}.html")
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if ids is not None and server.startswith("http"):
        line("MLflow", compare_page(server, ids))
    else:
        line("MLflow", _command("ui", study, workspace))
    line("workspace", workspace.root)


def compare_page(server: str, ids: tuple[str, dict[str, str]]) -> str:
    """The address of MLflow's comparison of the arms."""
    experiment, runs = ids
    asked = {"runs": list(runs.values()), "experiments": [experiment]}
    query = "&".join(f"{key}={quote(json.dumps(ids))}" for key, ids in asked.items())
    return f"{server.rstrip('/')}/#/compare-runs?{query}"


def matrix(study: Study, workspace: Workspace) -> list[dict[str, Any]]:
    """A row per arm and seed that is planned now, with its state."""
    plan = planned(study, workspace)
    states = workspace.states({trial.id for trial in plan})
    order = {arm.name: number for number, arm in enumerate(study.arms)}
    rows = sorted(plan, key=lambda trial: order[trial.arm])
    return [{"arm": t.arm, "seed": t.seed, "state": states[t.id]} for t in rows]


def show_matrix(
    study: Study, workspace: Workspace, rows: list[dict[str, Any]], console: Console
) -> None:
    """The arm x seed matrix in text."""
    by_arm: dict[str, list[str]] = {}
    for row in rows:
        by_arm.setdefault(row["arm"], []).append(row["state"])
    width = max(map(len, by_arm))
    for arm, states in by_arm.items():
        signs = " ".join(_SIGNS[state] for state in states)
        console.print(f"{arm:<{width}}  {signs}  {_counts(states)}", markup=False, highlight=False)
    used = {row["state"] for row in rows}
    legend = "   ".join(f"{sign} {state}" for state, sign in _SIGNS.items() if state in used)
    console.print(f"\n{legend}", markup=False, highlight=False)
    if study.plan is not None:
        told = f"{seeds_told(study)} seeds an arm: as many as its answer needs"
        console.print(told, highlight=False)
    if "running" in used:
        console.print(f"running{time_left(study, workspace)}", highlight=False)
    if used - {"done", "diverged"} and "running" not in used:
        told = f"`{_command('run', study, workspace)}` goes on{time_left(study, workspace)}"
        console.print(told, markup=False, highlight=False)


def time_left(study: Study, workspace: Workspace) -> str:
    """How long what is planned now will take, by the trials that have ended; empty: unknown."""
    from ablations.sweep.progress import duration, seconds_left

    left: Counter[str] = Counter()
    took: dict[str, list[float]] = {}
    unique = {trial.id: trial for trial in planned(study, workspace)}
    states = workspace.states(set(unique))
    for key, trial in unique.items():
        result = workspace.result(key)
        if result is not None:
            took.setdefault(trial.arm, []).append(float(result["seconds"]))
        elif states[key] != "failed" or "running" not in states.values():
            left[trial.arm] += 1
    seconds = seconds_left(left, took)
    if seconds is None:
        return ""
    workers = list(states.values()).count("running")
    place = "" if workers else " of one worker's time"
    return f", about {duration(seconds / max(workers, 1))}{place}"


def _counts(states: list[str]) -> str:
    counts: Mapping[str, int] = {state: states.count(state) for state in dict.fromkeys(states)}
    return ", ".join(f"{number} {state}" for state, number in counts.items())


def _command(name: str, study: Study, workspace: Workspace) -> str:
    place = "" if str(workspace.root) == "runs" else f" --workspace {workspace.root}"
    shipped = study.file.parent == shipped_configs()
    return f"ablate {name} {study.file.stem if shipped else study.file}{place}"
