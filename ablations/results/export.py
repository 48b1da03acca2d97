"""Delta table -> JSON and CSV: full precision, for programs."""

import csv
import io
import json
import math
from typing import Any

from ablations.results.rows import DeltaTable, Reading, Row
from ablations.results.statistics import NO_INTERVAL

SCHEMA = 1


def to_dict(table: DeltaTable) -> dict[str, Any]:
    """The table as plain values; None for what is not finite. The baseline's delta is 0."""
    return {
        "schema": SCHEMA,
        "study": table.study,
        "question": table.question,
        "metric": table.metric.name,
        "mode": table.metric.mode,
        "baseline": table.baseline.arm,
        "margin": table.margin,
        # Of a time to a threshold, deltas, their intervals and the margin are of its logarithm.
        "scale": "linear" if table.metric.threshold is None else "log",
        "arms": [_row_dict(row, table.margin) for row in table.rows],
        **{section.key: list(section.values) for section in table.sections},
    }


def _row_dict(row: Row, margin: float | None) -> dict[str, Any]:
    delta, judgement, further = row.delta, row.judgement, row.further
    is_baseline = row.verdict == "baseline"

    def tested(number: float) -> float | None:
        return None if is_baseline else _finite(number)

    return {
        "arm": row.arm,
        "changes": {key: _jsonable(list(change)) for key, change in row.changes.items()},
        "n": row.n,
        "pairs": row.pairs,
        "n_pairs": row.pairs,
        "mean": _finite(row.mean),
        "sd": _finite(row.sd),
        "delta": _finite(delta.mean),
        "interval": [tested(end) for end in delta.interval],
        "interval_90": [tested(end) for end in delta.interval_90],
        "margin": margin,
        "p": tested(delta.p),
        "p_holm": tested(row.p_holm),
        "p_sign_flip": tested(delta.p_sign_flip),
        "p_equivalent": tested(judgement.p_equivalent),
        "p_equivalent_holm": tested(judgement.p_equivalent_holm),
        "verdict": row.verdict,
        "flags": list(judgement.flags),
        "marks": [mark for mark in row.marks if mark != "*"],
        "detectable": tested(judgement.detectable),
        "further_seeds": further and [further.low, further.high],
        "seed_correlation": tested(delta.correlation),
        "failed": row.failed,
        "diverged": row.diverged,
        "p_diverged": tested(row.divergence_p),
        "planned_look": _standing_dict(row),
        "parameters": _whole(row.parameters),
        "flops": _whole(row.flops),
        "seconds": _finite(row.seconds),
        "beside": [_reading_dict(reading, is_baseline) for reading in row.beside],
        "claim": _claim_dict(row),
    }


def _standing_dict(row: Row) -> dict[str, Any] | None:
    if row.standing is None:
        return None
    return {"seeds": row.standing.seeds, "open": row.standing.open, "early": row.standing.early}


def _reading_dict(reading: Reading, is_baseline: bool) -> dict[str, Any]:
    interval = NO_INTERVAL if is_baseline else reading.delta.interval
    return {
        "metric": reading.metric.name,
        "mode": reading.metric.mode,
        "n": reading.n,
        "n_pairs": reading.delta.n,
        "mean": _finite(reading.mean),
        "sd": _finite(reading.sd),
        "delta": _finite(reading.delta.mean),
        "interval": [_finite(end) for end in interval],
    }


def _claim_dict(row: Row) -> dict[str, Any] | None:
    if row.claim is None:
        return None
    figure = row.claim.delta_for(row.metric)
    return {
        "id": row.claim.id,
        "delta": figure and figure.number,
        "shown": figure and figure.shown,
        "says": row.claim.says,
        "section": row.claim.section,
        "data": row.claim.data,
        "source": row.claim.source,
        "doi": row.claim.doi,
    }


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _whole(number: float) -> int | None:
    return int(number) if math.isfinite(number) else None


def to_json(table: DeltaTable) -> str:
    """Full precision, null for what is not finite."""
    return json.dumps(to_dict(table), indent=1, allow_nan=False)


def to_csv(table: DeltaTable) -> str:
    """Full precision, a line per arm on the deciding metric, empty where not finite."""
    lines = []
    for row in to_dict(table)["arms"]:
        claim = row.pop("claim") or {}
        del row["beside"]
        line: dict[str, Any] = {"study": table.study, "metric": table.metric.name}
        for key, value in row.items():
            if key.startswith("interval"):
                line[f"{key}_low"], line[f"{key}_high"] = value
            else:
                line[key] = json.dumps(value) if isinstance(value, dict | list) else value
        lines.append(line | {"claim": claim.get("id"), "claim_delta": claim.get("delta")})
    out = io.StringIO()
    writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue().rstrip("\n")


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner) for inner in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return _finite(value) if isinstance(value, float) else str(value)
