"""Pieces of the report that are neither table nor figure, as HTML."""

import html
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ablations.results.columns import columns
from ablations.results.formats import beside_html, html_table
from ablations.results.numbers import duration
from ablations.results.rows import DeltaTable
from ablations.results.sections import section_html
from ablations.results.setting import setting_of
from ablations.results.wording import answer, digits_for, heading
from ablations.study import Study
from ablations.workspace import Workspace, read_json

_NUMBERS = ("seed", "value", "parameters", "FLOPs", "seconds")


def answer_html(table: DeltaTable) -> str:
    """The answer in one sentence, and what was measured."""
    return (
        f'<p class="answer">{html.escape(answer(table))}</p>\n'
        f'<p class="measured">{html.escape(heading(table))}</p>'
    )


def deltas_html(table: DeltaTable) -> str:
    """The delta table without costs, further metrics, and the notes below."""
    shown = [column for column in columns(table) if not column.cost]
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    return f'{html_table(table, shown)}\n{beside_html(table)}<ul class="notes">{notes}</ul>'


def sections_html(table: DeltaTable, *keys: str) -> str:
    """Some of the tables that stand beside, empty where the study has none of them."""
    return "\n".join(section_html(each) for each in table.sections if each.key in keys)


def costs_html(table: DeltaTable) -> str:
    """What each arm changes, by its keys in full, and what it costs."""
    costs = [column for column in columns(table) if column.cost and column.head != "changes"]
    rows = []
    for number, row in enumerate(table.rows):
        changes = (
            f"<code>{html.escape(key)}</code>: {html.escape(f'{change[0]} → {change[-1]}')}"
            for key, change in row.changes.items()
        )
        what = "baseline" if row.verdict == "baseline" else "<br>".join(changes)
        cells = (html.escape(column.cells[number]) for column in costs)
        rows.append([html.escape(row.arm), what, *cells])
    return _plain_table(["arm", "changes", *(column.head for column in costs)], rows)


def environment_html(frame: pd.DataFrame, study: Study, workspace: Workspace) -> str:
    """On what, how long and where the trials were trained, from which commits; the study file."""
    facts: dict[str, dict[str, int]] = {}
    for trial in frame["trial"].unique():
        result = workspace.result(trial)
        if result is not None:
            dirty = " with uncommitted changes" if result.get("dirty") else ""
            known = {**result["environment"], "commit": f"{result.get('commit') or 'none'}{dirty}"}
            for name, value in known.items():
                counts = facts.setdefault(name, {})
                counts[str(value)] = counts.get(str(value), 0) + 1
    setting = setting_of(study, frame, workspace)
    rows = [["data", html.escape(setting.data)], ["budget", html.escape(setting.budget)]]
    for name, counts in facts.items():
        several = len(counts) > 1
        values = [
            html.escape(value) + (f" ({n} trials)" if several else "")
            for value, n in counts.items()
        ]
        rows.append([name, "<br>".join(values)])
    text = html.escape(study.file.read_text(encoding="utf-8"))
    return (
        f"{_plain_table(('what', 'used'), rows)}\n"
        f"<details><summary>The study file</summary>\n<pre>{text}</pre>\n</details>"
    )


def trials_html(frame: pd.DataFrame, table: DeltaTable, workspace: Workspace) -> str:
    """Every trial with its state, value, folder and MLflow run; folders relative to here."""
    memory = read_json(workspace.study_folder(table.study) / "tracking.json") or {}
    runs = memory.get("runs", {})
    digits = digits_for(table)
    rows = []
    cells = zip(
        *(frame[c] for c in ("arm", "seed", "trial", "state", "value", "seconds")), strict=True
    )
    for arm, seed, trial, state, value, seconds in cells:
        folder = workspace.trial_folder(trial)
        run = runs.get(f"{trial} {arm}", {}).get("run", "")
        rows.append(
            [
                html.escape(arm),
                str(seed),
                state,
                "" if math.isnan(value) else f"{value:.{digits}f}",
                duration(seconds),
                _link(_relative(folder), trial) if folder.is_dir() else "",
                _run_link(memory, run),
            ]
        )
    heads = ["arm", "seed", "state", "value", "seconds", "folder", "MLflow run"]
    if not runs:
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    listed = _plain_table(heads, rows)
    return f"<details><summary>All {len(rows)} trials</summary>\n{listed}\n</details>"


def _run_link(memory: dict[str, Any], run: str) -> str:
    server = str(memory.get("uri", ""))
    if not run or not server.startswith("http"):
        return f"<code>{run}</code>" if run else ""
    return _link(f"{server.rstrip('/')}/#/experiments/{memory['experiment']}/runs/{run}", run)


def _link(target: str, text: str) -> str:
    return f'<a href="{html.escape(target)}"><code>{html.escape(text)}</code></a>'


def _relative(folder: Path) -> str:
    return Path(os.path.relpath(folder)).as_posix()


def _plain_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    kinds = ["" if head in _NUMBERS else "words" for head in heads]
    head = "".join(f'<th class="{k}">{h}</th>' for h, k in zip(heads, kinds, strict=True))
    body = []
    for row in rows:
        cells = "".join(f'<td class="{k}">{c}</td>' for c, k in zip(row, kinds, strict=True))
        body.append(f"<tr>{cells}</tr>\n")
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(body)}</tbody>\n</table>"
