"""Which runs a store has of a study, when what was remembered of them was lost."""

from collections.abc import Iterator
from typing import Any

from ablations.workspace import Workspace

TAG = "ablations."


def find_runs(client: Any, workspace: Workspace, memory: dict[str, Any]) -> None:
    """Learn from the store what a crash kept from being remembered."""
    runs: dict[str, Any] = {}
    found = set()
    for run in search(client, workspace, memory["experiment"]):
        tags, number = run.data.tags, run.info.run_id
        found.add(number)
        kind = tags.get(f"{TAG}kind")
        if kind == "study":
            twice = memory.setdefault("parent", number) != number
        elif kind == "arm":
            twice = memory["arms"].setdefault(tags[f"{TAG}arm"], number) != number
        else:
            which = run_key(tags[f"{TAG}arm"], tags[f"{TAG}trial"])
            twice = which in runs
            rows, _, sign = tags.get(f"{TAG}mirrored", "").partition(" ")
            whole = bool(sign) and run.info.status != "RUNNING"
            known = {"run": number, "rows": int(rows), "sign": sign} if whole else None
            runs.setdefault(which, known or {"run": number, "rows": None, "sign": None})
        if twice:
            client.delete_run(number)
    memory["runs"] = runs
    memory["arms"] = {arm: run for arm, run in memory["arms"].items() if run in found}
    if memory.get("parent") not in found:
        memory.pop("parent", None)


def search(client: Any, workspace: Workspace, experiment: str, more: str = "") -> Iterator[Any]:
    """This workspace's runs of the study; others may have theirs on the same server."""
    asked, token = f"tags.`{TAG}workspace` = '{workspace.id}'{more}", None
    while True:
        found = client.search_runs([experiment], asked, max_results=1000, page_token=token)
        yield from found
        token = found.token
        if not token:
            return


def run_key(arm: str, trial: str) -> str:
    """Under which a run is remembered: equal trials of two arms have one each."""
    return f"{trial} {arm}"


def replaced(before: str | None, now: str) -> bool:
    """Whether a finished trial was trained again since it was mirrored."""
    return before is not None and before.split()[0] in ("done", "diverged") and before != now
