"""Error and parameters for every layer removed, with a control of equal parameters.

A removal is an arm that changes `without` alone. Its control leaves out the same layers and has a
width that gives the others as many parameters as the whole net has: what remains of the
difference is not a matter of parameters. Controls stand in the same study or in another one of the
same baseline, such as `depth-control` beside `depth`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablations.results.figures import FAINT, INK, PALETTE, style
from ablations.results.forest import reach
from ablations.results.numbers import fixed, quantity
from ablations.results.paper import Answered, answered, delta_and_interval, studies_in
from ablations.results.rows import Row
from ablations.results.wording import digits_for
from ablations.study import trials
from ablations.workspace import Workspace
from analysis.command import (
    Out,
    StudyOption,
    WorkspaceFolder,
    run,
    the_one,
    write_figure,
    write_table,
)


@dataclass(frozen=True)
class Removal:
    """A layer, or several, left out: alone, and with the others widened."""

    layers: str
    removed: Row
    control: Row | None


def removals(main: Answered, others: Sequence[Answered]) -> list[Removal]:
    """Every removal of a study, with its control out of any study of the same baseline."""
    same = [other for other in others if _baseline(other) & _baseline(main)]
    controls = {
        layers: row
        for other in [*same, main]
        for layers, row in _by_layers(other, {"without", "width"}).items()
    }
    found = _by_layers(main, {"without"})
    return [Removal(layers, row, controls.get(layers)) for layers, row in found.items()]


def _baseline(each: Answered) -> set[str]:
    return {trial.id for trial in trials(each.study) if trial.arm == each.study.baseline}


def _by_layers(each: Answered, keys: set[str]) -> dict[str, Row]:
    """The arms that change just these keys, by the layers that they leave out."""
    found = {}
    for row in each.table.arms:
        changed = {key.rpartition(".")[2]: change[-1] for key, change in row.changes.items()}
        if set(changed) == keys and changed["without"]:
            found[", ".join(changed["without"])] = row
    return found


def table(main: Answered, found: Sequence[Removal]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The whole net, then a row per removal with its control beside."""
    digits, base = digits_for(main.table), main.table.baseline
    rows = [
        {
            "removed": "nothing",
            "parameters": quantity(base.parameters),
            "error": _error(base, digits),
            "delta": "baseline",
        }
    ]
    for each in found:
        rows.append(
            {"removed": each.layers, "parameters": quantity(each.removed.parameters)}
            | {
                "error": _error(each.removed, digits),
                "delta": delta_and_interval(each.removed, digits),
            }
            | {"verdict": each.removed.verdict if each.removed.pairs else ""}
            | (_control(each.control, digits) if each.control else {"control": "not run"})
        )
    long = [
        {"removed": each.layers, "arm": row.arm, "control": row is each.control}
        | {"parameters": row.parameters, "error": row.mean, "sd": row.sd, "delta": row.delta.mean}
        | dict(zip(("interval_low", "interval_high"), row.delta.interval, strict=True))
        | {"pairs": row.pairs, "p_holm": row.p_holm, "verdict": row.verdict}
        for each in found
        for row in (each.removed, each.control)
        if row is not None
    ]
    return pd.DataFrame(rows).fillna(""), pd.DataFrame(long)


def _control(row: Row, digits: int) -> dict[str, str]:
    return {
        "control": quantity(row.parameters),
        "control's error": _error(row, digits),
        "control's delta": delta_and_interval(row, digits),
        "control's verdict": row.verdict if row.pairs else "",
    }


def _error(row: Row, digits: int) -> str:
    return fixed(row.mean, digits) + (f" (SD {row.sd:.{digits}f})" if math.isfinite(row.sd) else "")


def figure(main: Answered, found: Sequence[Removal]) -> Figure:
    """The change of the error for every removal, its control hollow below it."""
    base = main.table.baseline
    with style():
        drawn = Figure(figsize=(8.6, 1.5 + 0.55 * len(found)), layout="constrained")
        axes = drawn.subplots()
        axes.axvline(0, color=INK, linewidth=1, zorder=1)
        for y, each in enumerate(found):
            _mark(axes, each.removed, y - 0.14, PALETTE[0], "D")
            if each.control is not None:
                _mark(axes, each.control, y + 0.2, PALETTE[1], "o")
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.set_yticks(range(len(found)), [f"without {each.layers}" for each in found])
        rows = [row for each in found for row in (each.removed, each.control) if row is not None]
        axes.set_xlim(*reach(rows, ()))
        whole = f"against all layers ({quantity(base.parameters)} parameters)"
        axes.set_xlabel(f"change of {base.metric.name} {whole}")
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(left=False)
        for colour, marker, label in (
            (PALETTE[0], "D", "removed, with 95% interval"),
            (PALETTE[1], "o", "removed, the others widened to equal parameters"),
        ):
            hollow = "white" if marker == "o" else colour
            axes.plot([], [], marker, color=colour, markerfacecolor=hollow, label=label)
        drawn.legend(loc="outside lower center", ncols=2)
    return drawn


def _mark(axes: Axes, row: Row, y: float, colour: str, marker: str) -> None:
    if not row.pairs:
        return
    low, high = row.delta.interval
    if math.isfinite(low):
        axes.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
    hollow = "white" if marker == "o" else colour
    axes.plot(row.delta.mean, y, marker, color=colour, markerfacecolor=hollow, markersize=7)
    axes.text(
        *(1.02, y, f"{quantity(row.parameters)} parameters"),
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=8.5,
        color=INK if marker == "D" else FAINT,
    )


def depth(
    workspace: WorkspaceFolder = Path("runs"),
    out: Out = Path("reports"),
    study: StudyOption = None,
) -> Sequence[Path]:
    """Write error and parameters for every layer removed, with controls of equal parameters."""
    place = Workspace(workspace)
    answers = [answered(each, place) for each in studies_in(place)]
    fitting = [each.study for each in answers if _by_layers(each, {"without"})]
    remedy = "run one first, for example `ablate run depth`"
    chosen = the_one(fitting, study, "removed layers", remedy)
    main = next(each for each in answers if each.study == chosen)
    found = removals(main, [each for each in answers if each is not main])
    text, full = table(main, found)
    notes = [
        "Error: mean over seeds of the last epoch; delta against the whole net over paired seeds, "
        "with the 95% interval.",
        "Control: the same layers removed, the others widened to the parameters of the whole net.",
        f"On {main.setting.data}: {main.setting.budget}.",
        "The paper: any middle layer removed costs about two points of top-1 error, on ILSVRC [7].",
    ]
    if any(each.control is None for each in found):
        notes.append(f"Controls that were not run: see `ablate run {chosen.name}-control`.")
    title = f"Layers removed: {chosen.name}"
    return [
        *write_figure(out, f"depth-{chosen.name}", figure(main, found)),
        *write_table(out, f"depth-{chosen.name}", title, text, full, notes),
    ]


if __name__ == "__main__":
    run(depth)
