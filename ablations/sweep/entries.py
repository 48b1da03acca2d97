"""A trial's files as MLflow keeps them: names, tags, moments, rows."""

import csv
import math
import re
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ablations.sweep.mirrored import TAG
from ablations.workspace import State


def short_name(key: str) -> str:
    """A dotted key as the name of a parameter."""
    return allowed(key.replace("init_args.", ""))


def allowed(name: str) -> str:
    """A name without what a store refuses."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def is_number(value: Any) -> bool:
    """Whether a store takes it for a metric."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def tags_at_end(state: State, result: Mapping[str, Any]) -> dict[str, str]:
    """What a run says of a trial that ended."""
    tags: dict[str, str] = {f"{TAG}state": state}
    if result:
        tags |= {f"{TAG}dirty": str(result["dirty"]).lower()}
        if result["commit"]:
            tags |= {"mlflow.source.git.commit": result["commit"]}
    return tags


def moment_of(result: Mapping[str, Any]) -> int:
    """When a trial ended, now where it left no result, in milliseconds since 1970."""
    finished = result.get("finished")
    seconds = datetime.fromisoformat(finished).timestamp() if finished else time.time()
    return int(1000 * seconds)


def rows_of(file: Path) -> list[dict[str, str]]:
    """The whole rows of a metrics file; a line being written is left for the next time."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
