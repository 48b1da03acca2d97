"""What commands print: tables, matrices, where things are."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from ablations.commands.remembered import remembered
from ablations.commands.stages import planned, seeds_told, tuning, variants
from ablations.study import Study, shipped_configs
from ablations.study.tuning import told
from ablations.workspace import Workspace

if TYPE_CHECKING:
    from ablations.results.formats import Format

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


def own_heading(study: Study, workspace: Workspace, console: Console) -> None:
    """What tuning chose for each arm, above the table of own settings."""
    stages = tuning(study, workspace)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("arm", "tries", "", next(iter(stages.values()))["metric"], "own settings"):
        table.add_column(name, justify="right" if name == "tries" else "left")
    for arm, stage in stages.items():
        others = {k: n for k, n in stage["counts"].items() if k != "done"}
        lost = ", ".join(f"{number} {state}" for state, number in others.items())
        best = stage["chosen"]
        value = "–" if best is None else f"{best['value']:.4g}"
        chosen = "as written" if best is None else told(best["settings"])
        table.add_row(arm, str(stage["planned"]), lost and f"({lost})", value, chosen)
    console.print("Own settings: every arm with the best that its tuning found", style="bold")
    console.print(table)


def show_tables(study: Study, workspace: Workspace, console: Console) -> None:
    """The delta table, and of a tuned study that with own settings below it."""

    def made() -> str:
        from ablations.results.tables import study_table

        with console.capture() as captured:
            for mark, each in variants(study, workspace):
                if mark:
                    own_heading(study, workspace, console)
                show_table(study_table(each, workspace), console)
        return captured.get()

    colours = console.color_system, console.no_color
    form = f"{console.width} columns, {console.is_terminal}, {colours}"
    console.file.write(remembered(study, workspace, form, made))


def render_tables(study: Study, workspace: Workspace, format: "Format") -> str:
    """The delta table in one of the formats, and of a tuned study that with own settings too."""
    return remembered(study, workspace, format, lambda: _rendered(study, workspace, format))


def _rendered(study: Study, workspace: Workspace, format: "Format") -> str:
    from ablations.results.formats import render
    from ablations.results.tables import study_table

    texts = [render(study_table(each, workspace), format) for _, each in variants(study, workspace)]
    if format == "json" and study.tune is not None:
        whole = json.loads(texts[0]) | {"tuning": tuning(study, workspace)}
        whole["own_settings"] = json.loads(texts[1]) if len(texts) > 1 else None
        return json.dumps(whole, indent=1, allow_nan=False)
    if format == "csv" and len(texts) > 1:
        # Told apart by the name of the study, which stands in every line.
        texts[1] = texts[1].partition("\n")[2]
        return "\n".join(texts)
    return "\n\n".join(text.rstrip("\n") for text in texts)


def links(
    study: Study, workspace: Workspace, console: Console, ids: tuple[str, dict[str, str]] | None
) -> None:
    """Where the report, the runs and the files are."""
    import os

    def line(name: str, value: object) -> None:
        console.print(f"{name:<10} {value}", markup=False, highlight=False, soft_wrap=True)

    for _, each in variants(study, workspace):
        page = workspace.study_folder(each.name) / f"{each.name}.html"
        if page.exists():
            line("report", page)
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
    return f"{server.rstrip('/')}/#/compare-runs?{query}&workflowType=machine_learning"


def matrix(study: Study, workspace: Workspace) -> list[dict[str, Any]]:
    """A row per arm and seed that is planned now, with its state."""
    found = []
    for mark, each in variants(study, workspace):
        plan = planned(each, workspace)
        states = workspace.states({trial.id for trial in plan})
        order = {arm.name: number for number, arm in enumerate(each.arms)}
        rows = sorted(plan, key=lambda trial: order[trial.arm])
        found += [{"arm": t.arm + mark, "seed": t.seed, "state": states[t.id]} for t in rows]
    return found


def show_matrix(
    study: Study, workspace: Workspace, rows: list[dict[str, Any]], console: Console
) -> None:
    """The arm x seed matrix in text."""
    for arm, stage in tuning(study, workspace).items():
        ended = sum(stage["counts"].values())
        counts = ", ".join(f"{number} {state}" for state, number in stage["counts"].items())
        told = f"tuning of {arm}: {ended} of {stage['planned']} tries" + (counts and f", {counts}")
        console.print(told, markup=False, highlight=False)
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
    unique = {t.id: t for _, each in variants(study, workspace) for t in planned(each, workspace)}
    states = workspace.states(set(unique))
    for key, trial in unique.items():
        result = workspace.result(key)
        if result is not None:
            took.setdefault(trial.arm, []).append(float(result["seconds"]))
        elif states[key] != "failed" or "running" not in states.values():
            left[trial.arm] += 1
    for arm, stage in tuning(study, workspace).items():
        results = [workspace.result(tried["id"]) for tried in stage["trials"]]
        took.setdefault(arm, []).extend(float(r["seconds"]) for r in results if r is not None)
        left[arm] += 0 if stage["complete"] else stage["planned"] - sum(stage["counts"].values())
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
