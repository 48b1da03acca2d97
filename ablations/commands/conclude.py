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
    from ablations.results.figures import arm_colours
    from ablations.results.forest import forest_plot
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
    colours = arm_colours(study)
    summaries = [
        {
            "arm": arm["arm"],
            "verdict": arm["verdict"],
            "sentence": sentences.get(arm["arm"], "the baseline"),
            "colour": colours[arm["arm"]],
            "numbers": _numbers(arm),
        }
        for arm in to_dict(table)["arms"]
    ]
    tracker.conclude(summaries, answer(table), render(table, "markdown"), artifacts)


def _numbers(arm: Mapping[str, Any]) -> dict[str, float | None]:
    """An arm's numbers by the names that they have in MLflow, the same in every study.

    What stands before the slash is a section of MLflow's charts, in order of the alphabet; a
    comparison opens with the first name that all arms have.
    """
    low, high = arm["interval"] or (None, None)
    return {
        "delta/mean": arm["delta"],
        "delta/low": low,
        "delta/high": high,
        "delta/p": arm["p"],
        "delta/holm": arm["p_holm"],
        "metric/mean": arm["mean"],
        "metric/sd": arm["sd"],
        "seeds/paired": arm["pairs"],
        "seeds/failed": arm["failed"],
        "seeds/diverged": arm["diverged"],
        "seeds/detectable": arm["detectable"],
        **{f"delta/of {beside['metric']}": beside["delta"] for beside in arm["beside"]},
        **{f"trial/{cost}": arm[cost] for cost in ("parameters", "flops", "seconds")},
    }
