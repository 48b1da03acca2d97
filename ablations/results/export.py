"""Delta table -> JSON and CSV: full precision, for programs."""

import csv
import io
import json
import math
from typing import Any

from ablations.results.rows import DeltaTable, Row

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
        "arms": [_row_dict(row) for row in table.rows],
    }


def _row_dict(row: Row) -> dict[str, Any]:
    is_baseline = row.verdict == "baseline"
    interval = (math.nan, math.nan) if is_baseline else row.delta.interval
    return {
        "arm": row.arm,
        "changes": {key: _jsonable(list(change)) for key, change in row.changes.items()},
        "n": row.n,
        "pairs": row.pairs,
        "mean": _finite(row.mean),
        "sd": _finite(row.sd),
        "delta": _finite(row.delta.mean),
        "interval": [_finite(end) for end in interval],
        "p": None if is_baseline else _finite(row.delta.p),
        "p_holm": _finite(row.p_holm),
        "verdict": row.verdict,
        "seed_correlation": None if is_baseline else _finite(row.delta.correlation),
        "failed": row.failed,
        "diverged": row.diverged,
        "parameters": _whole(row.parameters),
        "flops": _whole(row.flops),
        "seconds": _finite(row.seconds),
        "claim": _claim_dict(row),
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
    """Full precision, a line per arm, empty where not finite; changes as JSON."""
    lines = []
    for row in to_dict(table)["arms"]:
        claim = row["claim"] or {}
        line: dict[str, Any] = {"study": table.study, "metric": table.metric.name}
        for key, value in row.items():
            if key == "interval":
                line["interval_low"], line["interval_high"] = value
            else:
                line[key] = value
        line |= {"changes": json.dumps(row["changes"]), "claim": claim.get("id")}
        lines.append(line | {"claim_delta": claim.get("delta")})
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
