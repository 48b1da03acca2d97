"""What a table printed, remembered until something that it is made of changes."""

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import ablations
from ablations.commands.stages import variants
from ablations.study import Study, shipped_configs, trials
from ablations.workspace import Workspace, read_json, write_json


def remembered(study: Study, workspace: Workspace, form: str, make: Callable[[], str]) -> str:
    """What `make` gives, or gave before in this form from the same study, files and code.

    The libraries that make a table take longer to import than all the rest. Nothing is remembered
    while a sweep runs here, or where the workspace cannot be written.
    """
    file = workspace.study_folder(study.name) / "printed.json"
    if not file.parent.is_dir() or workspace.busy_since() is not None:
        return make()
    sign = _sign(study, workspace)
    texts = _known(file, sign)
    if not isinstance(texts.get(form), str):
        texts[form] = make()
        with suppress(OSError):
            write_json(file, {"sign": sign, "texts": texts})
    return str(texts[form])


def _known(file: Path, sign: str) -> dict[str, Any]:
    """The texts under a sign; none where the file is damaged."""
    with suppress(OSError, ValueError):
        match read_json(file):
            case {"sign": known, "texts": dict(texts)} if known == sign:
                return texts
    return {}


def _sign(study: Study, workspace: Workspace) -> str:
    """Changes with the study, its trials, its claims and the code."""
    whole = [each for _, each in variants(study, workspace)]
    files = [workspace.study_folder(study.name) / "tuning.json"]
    for each in whole:
        own = workspace.study_folder(each.name)
        files += [own / "arms.json", own / "looks.jsonl"]
    for folder in (study.file.parent, shipped_configs()):
        files += sorted(folder.glob("claims/*.yaml"))
    files += sorted(Path(ablations.__file__).parent.rglob("*.py"))
    told = [repr(each) for each in whole]
    plans = (trials(each) for each in whole)
    # Whatever is renamed into a trial's folder changes the folder's own time.
    folders = (workspace.trial_folder(trial.id) for plan in plans for trial in plan)
    return hashlib.sha256("\n".join([*told, *_stamps([*files, *folders])]).encode()).hexdigest()


def _stamps(paths: Iterable[Path]) -> Iterable[str]:
    for path in paths:
        try:
            found = os.stat(path)
            yield f"{path} {found.st_mtime_ns} {found.st_size}"
        except OSError:
            yield f"{path} is not there"
