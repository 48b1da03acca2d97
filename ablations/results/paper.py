"""A paper's claims beside what the studies of a workspace found: a row per claim and arm."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ablations.results.agreement import compare, differing, what_differs
from ablations.results.claims import Claim, find_claim, load_claims
from ablations.results.frame import trial_frame
from ablations.results.numbers import signed
from ablations.results.rows import DeltaTable, Row
from ablations.results.scale import delta_interval_text, delta_text, margin_text
from ablations.results.setting import Setting, setting_of
from ablations.results.tables import study_table
from ablations.results.wording import count, digits_for
from ablations.study import InputError, Study, load_study, shipped_configs
from ablations.workspace import Workspace

Stand = Literal["agrees", "disagrees", "undecided", "not comparable", "not run"]
PAPER = "alexnet"
NOTES = (
    "Differences are ablated - baseline, in percentage points unless the metric is another: "
    "positive where the component helps. Epochs to a threshold are compared by their ratio (×).",
    "Ours: mean over paired seeds with the 95% interval of Student's t; the verdict is corrected "
    "for the arms of its study (Holm). The paper's figures are of single runs.",
    "Independent: single runs of others, named by what they did, against their own baselines "
    "(Mishkin, Sergievskiy and Matas 2017; zf: Zeiler and Fergus 2014).",
    "Sizes of differences are compared on the same data alone; on other data only the sign is.",
)


@dataclass(frozen=True)
class Answered:
    """A study with what came out of it."""

    study: Study
    frame: pd.DataFrame
    table: DeltaTable
    setting: Setting


@dataclass(frozen=True)
class ClaimRow:
    """A claim, and the arm that answers it, where one was run.

    Attributes:
        beside: Others' figures for the same component.
        stand: Whether our sign is the paper's; not comparable where the paper says nothing of what
            was measured.
        why: What that rests on, in a few words.
    """

    claim: Claim
    beside: tuple[Claim, ...]
    stand: Stand
    why: str
    answer: Answered | None = None
    row: Row | None = None


def studies_in(workspace: Workspace) -> list[Study]:
    """Every study that was run in a workspace, by name.

    Raises:
        InputError: There is no workspace, or no study in it.
    """
    files = sorted(workspace.root.glob("studies/*/study.yaml"))
    if not files:
        raise InputError(
            "no study was run here; run one first, for example `ablate run quickstart`",
            file=workspace.root,
        )
    workspace.check()
    return [workspace.with_recorded_seeds(load_study(file)) for file in files]


def answered(study: Study, workspace: Workspace) -> Answered:
    """A study, its trials and its table."""
    frame = trial_frame(study, workspace)
    return Answered(
        study, frame, study_table(study, workspace), setting_of(study, frame, workspace)
    )


def claim_rows(answers: Sequence[Answered], whole: Sequence[str] = (PAPER,)) -> list[ClaimRow]:
    """Every claim about removing a component, with each arm that answers it.

    Args:
        answers: Studies, some of whose arms name claims.
        whole: Shipped files of claims whose rows are listed also where no study answers them, as
            "not run".
    """
    asked = {
        name: claim
        for paper in whole
        for name, claim in load_claims(_shipped(paper)).items()
        if claim.delta or claim.raises
    }
    claims = {claim.id: claim for claim in asked.values()}
    arms = [(each, row) for each in answers for row in each.table.arms if row.claim is not None]
    claims |= {row.claim.id: row.claim for _, row in arms if row.claim is not None}
    rows: list[ClaimRow] = []
    for name, claim in claims.items():
        beside = tuple(find_claim(r, _shipped(PAPER), f"claims.{name}") for r in claim.independent)
        found = [
            ClaimRow(claim, beside, *_stands(claim, row, each), each, row)
            for each, row in arms
            if row.claim is not None and row.claim.id == name
        ]
        rows += found or [ClaimRow(claim, beside, "not run", "no study here asks it")]
    return rows


def named_papers(answers: Sequence[Answered]) -> tuple[str, ...]:
    """The shipped paper, where a study answers it."""
    ids = [row.claim.id for each in answers for row in each.table.arms if row.claim is not None]
    return (PAPER,) if any(name.startswith(f"{PAPER}#") for name in ids) else ()


def _shipped(name: str) -> Path:
    return shipped_configs() / "claims" / f"{name}.yaml"


def _stands(claim: Claim, row: Row, answer: Answered) -> tuple[Stand, str]:
    margin, sign = answer.table.margin or 0.0, claim.sign_for(row.metric)
    room = margin_text(row.metric, margin)
    figure = claim.delta_for(row.metric)
    if not row.pairs:
        return "undecided", "no seed has a value in both arms"
    if not sign:
        return "not comparable", f"the paper says nothing of {row.metric.name}"
    if row.verdict == "equivalent" and not row.p_holm < 0.05:
        if figure is None or abs(figure.number) > margin:
            return "disagrees", f"equivalent within {room}"
        return "undecided", f"the margin of {room} is wider than the paper's delta"
    same = bool(claim.same_data) and not differing(claim.same_data, answer.study)
    number = figure.number if figure and figure.number else float(sign)
    found = compare(number, row.delta, row.p_holm, same and figure is not None, row.sd)
    why = {
        "agrees": "the sign is the paper's",
        "disagrees": "the sign is the other one",
        "undecided": f"{_short_of(row)} after {count(row.pairs, 'seed')}{_seen(row, answer)}",
    }[found.sign]
    if found.ratio is not None:
        why += f"; {found.ratio:.2g} times its size"
    if found.sign == "agrees" and row.verdict == "equivalent":
        why += f", but it is equivalent within {room}"
    if answer.table.unfinished:
        why += f"; {answer.table.unfinished} trials still to come"
    return found.sign, why


def _short_of(row: Row) -> str:
    if row.delta.p < 0.05:
        return "not decided once corrected for the study's arms"
    return "zero is not excluded"


def _seen(row: Row, answer: Answered) -> str:
    seen = row.judgement.detectable
    if row.metric.threshold is not None or not math.isfinite(seen):
        return ""
    return f", which see ±{seen:.{digits_for(answer.table)}f} with 80% power"


def shown(rows: Sequence[ClaimRow]) -> pd.DataFrame:
    """The rows as text for people."""
    return pd.DataFrame([_shown(row) for row in rows])


def _shown(each: ClaimRow) -> dict[str, str]:
    claim, row, answer = each.claim, each.row, each.answer
    cells = {
        "component removed": claim.id.partition("#")[2],
        "section": claim.section or "",
        "paper": "unpublished" if _unpublished(claim) else _figures(claim) or "in words",
        "unrounded": _exact(claim),
        "paper's data": claim.data or "",
        "independent": "; ".join(f"{_name(c)} {_figures(c, brief=True)}" for c in each.beside),
        "ours": "",
        "metric": "",
        "verdict": "",
        "paper's sign": each.stand,
        "why": each.why,
        "our data": "",
        "budget": "",
        "what differs": "",
        "study: arm": "",
    }
    if row is None or answer is None:
        return cells
    digits = digits_for(answer.table)
    return cells | {
        "ours": delta_and_interval(row, digits),
        "metric": row.metric.name,
        "verdict": row.verdict if row.pairs else "",
        "our data": answer.setting.data,
        "budget": answer.setting.budget,
        "what differs": what_differs(claim, answer.study),
        "study: arm": f"{answer.study.name}: {row.arm}",
    }


def delta_and_interval(row: Row, digits: int) -> str:
    """As "+1.20 [+0.90, +1.50]", or a ratio of times; empty without a pair."""
    if not row.pairs:
        return ""
    interval = delta_interval_text(row.metric, row.delta.interval, digits)
    return f"{delta_text(row.metric, row.delta, digits)} {interval}".strip()


def words_html(table: pd.DataFrame) -> str:
    """A table of words: aligned left, its lines broken between them."""
    made: str = table.to_html(index=False, border=0, na_rep="")
    return made.replace("<td>", '<td class="said">').replace("<th>", '<th class="said">')


def numbers(rows: Sequence[ClaimRow]) -> pd.DataFrame:
    """The rows at full precision for programs; empty where there is nothing."""
    return pd.DataFrame([_numbers(row) for row in rows])


def _numbers(each: ClaimRow) -> dict[str, Any]:
    claim, row, answer = each.claim, each.row, each.answer
    values: dict[str, Any] = {"claim": claim.id, "section": claim.section, "says": claim.says}
    for top in ("top1_error", "top5_error"):
        figure, sides = claim.delta.get(top), claim.exact
        values[f"paper_{top}"] = figure and figure.number
        for side in ("baseline", "ablated"):
            values[f"exact_{side}_{top}"] = sides.get(side, {}).get(top)
    values["paper_data"] = claim.data
    values["independent"] = "; ".join(f"{c.id} {_figures(c, brief=True)}" for c in each.beside)
    values |= {"paper_sign": each.stand, "why": each.why}
    if row is None or answer is None:
        return values
    return values | {
        "study": answer.study.name,
        "arm": row.arm,
        "metric": row.metric.name,
        "delta": row.delta.mean,
        "interval_low": row.delta.interval[0],
        "interval_high": row.delta.interval[1],
        "pairs": row.pairs,
        "p_holm": row.p_holm,
        "verdict": row.verdict,
        "data": answer.setting.data,
        "budget": answer.setting.budget,
        "differs": what_differs(claim, answer.study),
    }


def _figures(claim: Claim, *, brief: bool = False) -> str:
    """Its deltas: "+1.4 top-1, +1.2 top-5", or the first alone."""
    found = [f"{figure.shown} {_measure(name)}".strip() for name, figure in claim.delta.items()]
    if brief:
        return next(iter(claim.delta.values())).shown if claim.delta else ""
    return ", ".join(found)


def _unpublished(claim: Claim) -> bool:
    return (claim.section or "").startswith("unpublished")


def _exact(claim: Claim) -> str:
    """The unrounded deltas: "+1.370 top-1, +1.152 top-5"."""
    sides = claim.exact.get("baseline", {}), claim.exact.get("ablated", {})
    return ", ".join(
        f"{signed(sides[1][name] - sides[0][name], 3)} {_measure(name)}"
        for name in sides[0]
        if name in sides[1]
    )


def _measure(name: str) -> str:
    return {"top1_error": "top-1", "top5_error": "top-5"}.get(name, name)


def _name(claim: Claim) -> str:
    return claim.id.partition("#")[2]
