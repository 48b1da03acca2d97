"""Layers in ``ablate plan``: the baseline's, and those in which other arms differ."""

from typing import Any

from rich.console import Console
from rich.table import Table

from ablations.results.numbers import quantity
from ablations.study import InputError, Study


def show_layers(
    study: Study, made: dict[str, Any], console: Console, only: str | None = None
) -> None:
    """The baseline's layers, then of each other arm those that differ; or all of one arm.

    Raises:
        InputError: There is no such arm, or its model tells nothing of its layers.
    """
    layers = {row["arm"]: {each["name"]: each for each in row["layers"]} for row in made["arms"]}
    shown = study.baseline if only is None else study.arm(only).name
    if not layers[shown]:
        if only is None:
            return
        told = "its model has no layer_table() to tell of its layers"
        raise InputError(told, file=study.file, key=f"arms.{only}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("arm", "layer", "gives"):
        table.add_column(name)
    for name in ("parameters", "FLOPs", "neurons"):
        table.add_column(name, justify="right")

    def counts(parameters: int, flops: int, neurons: int) -> list[str]:
        told = (f"{parameters:,}", quantity(flops), f"{neurons:,}")
        return [text if text != "0" else "" for text in told]

    def add(arm: str, layer: dict[str, Any]) -> None:
        gives = "x".join(map(str, layer["gives"]))
        numbers = (layer[key] for key in ("parameters", "flops", "neurons"))
        table.add_row(arm, layer["name"], gives, *counts(*numbers))

    known, arm, before = layers[shown], shown, None
    for layer in known.values():
        # An activation or a norm is told where an arm differs in it.
        if only is not None or layer["parameters"] or layer["gives"] != before:
            add(arm, layer)
            arm = ""
        before = layer["gives"]
    totals = (sum(row[key] for row in known.values()) for key in ("parameters", "flops", "neurons"))
    table.add_row("", "total", "", *counts(*totals))
    for arm, own in layers.items() if only is None else ():
        for name in (*known, *(name for name in own if name not in known)):
            if name not in own:
                table.add_row(arm, name, "left out")
            elif own[name] != known.get(name):
                add(arm, own[name])
            else:
                continue
            arm = ""
    console.print()
    console.print(table)
