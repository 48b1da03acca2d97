"""What a sweep came to: its table on the screen, in the study's folder and in MLflow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from ablations.commands.tell import show_table
from ablations.study import Study
from ablations.sweep.progress import phase
from ablations.workspace import Workspace


def conclude(
    study: Study, workspace: Workspace, console: Console, tracker: Any, report: bool
) -> None:
    """Print a study's table, write it and the report, and hand all to the tracker."""
    from ablations.results.export import to_dict
    from ablations.results.figures import arm_colours, forest_plot
    from ablations.results.formats import render
    from ablations.results.looks import record_look
    from ablations.results.tables import study_table
    from ablations.results.wording import answer, arm_answer
    from ablations.workspace import write_atomic

    table = study_table(study, workspace)
    show_table(table, console)
    record_look(study, workspace, table)
    folder = workspace.study_folder(study.name)
    artifacts: list[Path] = []
    for name, kind in (("table.md", "markdown"), ("table.csv", "csv"), ("table.json", "json")):
        write_atomic(folder / name, render(table, kind))  # type: ignore[arg-type]
        artifacts.append(folder / name)
    figure = folder / "forest.png"
    forest_plot(table, arm_colours(study)).savefig(figure, dpi=150, bbox_inches="tight")
    artifacts.append(figure)
    if report:
        from ablations.results.notebook import write_report

        with phase(console, "writing the report ..."):
            artifacts += write_report(study, workspace, folder)
    sentences = {row.arm: arm_answer(table, row) for row in table.arms}
    summaries = [
        {**_summary(arm), "sentence": sentences.get(arm["arm"], "the baseline")}
        for arm in to_dict(table)["arms"]
    ]
    text = f"{answer(table)}\n\n{render(table, 'markdown')}"
    tracker.conclude(summaries, text, artifacts)


def _summary(arm: Mapping[str, Any]) -> dict[str, Any]:
    low, high = arm["interval"] or (None, None)
    # MLflow's comparison opens with the first metric.
    first = {"delta": arm["delta"], "interval_low": low, "interval_high": high}
    kept = {k: v for k, v in arm.items() if k not in ("interval", "changes", "claim")}
    return first | kept
