"""Which code trained: the git commit of the folder that a class comes from."""

import functools
import inspect
import subprocess
from pathlib import Path
from typing import Any


def code_version(thing: Any) -> tuple[str | None, bool | None]:
    """Commit and whether tracked files differ from it; (None, None) outside a repository."""
    try:
        folder = Path(inspect.getfile(type(thing))).parent
    except (TypeError, OSError):
        return None, None
    return _version(folder)


@functools.cache
def _version(folder: Path) -> tuple[str | None, bool | None]:
    def git(*arguments: str) -> str | None:
        try:
            ran = subprocess.run(
                ["git", "-C", str(folder), *arguments],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return ran.stdout.strip()

    # A package installed inside somebody's repository, but not tracked by it, has no commit.
    if not git("ls-files", "."):
        return None, None
    commit = git("rev-parse", "HEAD")
    status = git("status", "--porcelain", "--untracked-files=no")
    return commit, None if status is None else bool(status)
