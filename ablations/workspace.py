"""The folder that holds everything a sweep makes, and how to write in it without half a file."""

import errno
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock, Timeout

from ablations.study import InputError, Study, trials
from ablations.study.tuning import own_settings_file
from ablations.study.yamlfile import read_yaml

FORMAT = 1
State = Literal["waiting", "running", "done", "failed", "diverged", "interrupted"]


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON under a temporary name and rename it into place."""
    write_atomic(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON in a file, or None where there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def cut_torn_line(path: Path) -> None:
    """Cut off a last line that a kill or a full disk left unfinished."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
            os.fsync(file.fileno())


def out_of_space(error: BaseException) -> bool:
    """Whether a full disk or a spent quota lies behind an error."""
    chain: list[BaseException] = []
    behind: BaseException | None = error
    while behind is not None and behind not in chain:
        chain.append(behind)
        behind = behind.__cause__ or behind.__context__
    full = {errno.ENOSPC, errno.EDQUOT}
    return any(isinstance(link, OSError) and link.errno in full for link in chain)


@dataclass(frozen=True)
class Workspace:
    """Paths and states under one folder; it creates nothing until :meth:`create`."""

    root: Path

    @property
    def lock_file(self) -> Path:
        """Held by the one process that runs a sweep here."""
        return self.root / ".lock"

    @property
    def journal(self) -> Path:
        """Optuna's journal."""
        return self.root / "optuna.journal"

    @property
    def tracking_uri(self) -> str:
        """The workspace's own MLflow store."""
        return f"sqlite:///{(self.root / 'mlflow.db').resolve()}"

    @property
    def artifacts(self) -> Path:
        """Where the workspace's own MLflow store keeps artifacts."""
        return (self.root / "artifacts").resolve()

    @property
    def id(self) -> str:
        """What tells this workspace from others on a server that several write to."""
        return str(read_json(self.root / "workspace.json")["id"])

    def study_folder(self, study: str) -> Path:
        """What belongs to a study as a whole: its copy, its arms, its looks."""
        return self.root / "studies" / study

    def trial_folder(self, trial: str) -> Path:
        """What one trial leaves."""
        return self.root / "trials" / trial

    def check(self) -> None:
        """See that a sweep could write here, without writing.

        Raises:
            InputError: The folder is not writable, or of another format.
        """
        marker = self.root / "workspace.json"
        nearest_folder = next(p for p in (self.root, *self.root.resolve().parents) if p.exists())
        if not nearest_folder.is_dir():
            raise InputError("is not a folder", file=nearest_folder)
        if not os.access(nearest_folder, os.W_OK | os.X_OK) or _read_only(nearest_folder):
            raise InputError("the workspace is not writable", file=self.root)
        try:
            content = read_json(marker)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot be read: {error}", file=marker) from error
        if content is None:
            if self.root.exists() and any(self.root.iterdir()):
                raise InputError(
                    "has files that are not a workspace's; give an empty or new folder",
                    file=self.root,
                )
        elif not isinstance(content, dict) or content.get("format") != FORMAT:
            found = content.get("format") if isinstance(content, dict) else content
            raise InputError(
                f"the workspace has format {found!r}, this version reads {FORMAT}", file=marker
            )

    def create(self) -> None:
        """Make the folder a workspace."""
        try:
            for folder in ("studies", "trials"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            marker = self.root / "workspace.json"
            known = read_json(marker) or {}
            if "id" not in known:
                write_json(marker, {"format": FORMAT, "id": uuid.uuid4().hex[:12]})
        except OSError as error:
            raise InputError(
                f"the workspace is not writable: {error.strerror}", file=self.root
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other sweep out of this workspace.

        Raises:
            InputError: Another process holds it; the line says which.
        """
        lock = FileLock(self.lock_file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            owner = read_json(self.root / "owner.json") or {}
            who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
            raise InputError(f"another sweep is running here ({who})", file=self.root) from None
        try:
            write_json(
                self.root / "owner.json",
                {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()},
            )
            yield
        finally:
            (self.root / "owner.json").unlink(missing_ok=True)
            lock.release()

    def busy_since(self) -> float | None:
        """When the sweep that runs here now was started, None where none runs."""
        if not self.lock_file.exists():
            return None
        lock = FileLock(self.lock_file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            owner = read_json(self.root / "owner.json")
            return float(owner["since"]) if owner else 0.0
        except OSError:
            return None
        lock.release()
        return None

    def result(self, trial: str) -> dict[str, Any] | None:
        """A finished trial's result, None where it has none."""
        result: dict[str, Any] | None = read_json(self.trial_folder(trial) / "result.json")
        return result

    def has_results(self, study: Study) -> bool:
        """Whether any trial of a study has finished here."""
        return any(self.result(trial.id) is not None for trial in trials(study))

    def states(self, ids: set[str]) -> dict[str, State]:
        """The state of each trial."""
        since = self.busy_since()
        return {trial: self._state(trial, since) for trial in ids}

    def _state(self, trial: str, since: float | None) -> State:
        folder = self.trial_folder(trial)
        result = self.result(trial)
        if result is not None:
            return "diverged" if result["status"] == "diverged" else "done"
        attempt = read_json(folder / "attempt.json")
        if attempt is not None and since is not None and attempt["started"] >= since:
            return "failed" if (folder / "failure.json").exists() else "running"
        if (folder / "failure.json").exists():
            return "failed"
        return "waiting" if attempt is None else "interrupted"

    def with_recorded_seeds(self, study: Study) -> Study:
        """The study with every seed that ever finished in it, so that none is left out."""
        copy = self.study_folder(study.name) / "seeds.json"
        recorded = [seed for seed in read_json(copy) or [] if seed not in study.seeds]
        extra = tuple(
            seed
            for seed in sorted(recorded)
            if any(
                (self.trial_folder(trial.id) / "result.json").exists()
                for trial in trials(study, (seed,))
            )
        )
        return replace(study, seeds=study.seeds + extra)

    def record_study(self, study: Study) -> None:
        """Keep a copy of the study that can be read without its first home."""
        folder = self.study_folder(study.name)
        _copy_study(study, folder / "study.yaml", folder / "base.yaml")
        known = read_json(folder / "seeds.json") or []
        write_json(folder / "seeds.json", sorted({*known, *study.seeds}))

    def set_aside(self, trial: str) -> None:
        """Keep the former result of a trial that shall be trained again, out of the way."""
        folder = self.trial_folder(trial)
        if (folder / "result.json").exists():
            number = len(list(folder.glob("superseded-*.json"))) + 1
            (folder / "result.json").rename(folder / f"superseded-{number}.json")
        for name in ("metrics.csv", "checkpoint.ckpt", "failure.json"):
            (folder / name).unlink(missing_ok=True)

    def arms(self, study: str) -> Mapping[str, Any]:
        """What the rehearsal learned of each arm: changes, parameters, flops."""
        return read_json(self.study_folder(study) / "arms.json") or {}


def _copy_study(study: Study, file: Path, base: Path) -> None:
    """Write a study, its base, its claims, and the studies that it starts from."""
    folder = file.parent / "sources" if file.parent.name != "sources" else file.parent
    copies = {}
    for source in study.sources.values():
        copy = folder / f"{source.study.name}.yaml"
        _copy_study(source.study, copy, folder / f"{source.study.name}.base.yaml")
        copies[source.written] = str(copy.relative_to(file.parent))
    raw = _with_sources(read_yaml(study.file), copies)
    raw["base"] = base.name
    if "tune" in raw and study.tune is None:
        raw = own_settings_file(raw, study)
    if study.plan is None:
        raw["seeds"] = list(study.seeds)
    content = read_yaml(study.base)
    told = study.base.read_text(encoding="utf-8")
    if (changed := _with_sources(content, copies)) != content:
        told = yaml.safe_dump(changed, sort_keys=False, allow_unicode=True)
    write_atomic(base, told)
    for claim in set(study.claims.values()):
        source_file = study.file.parent / "claims" / f"{claim.split('#')[0]}.yaml"
        if source_file.is_file():
            write_atomic(file.parent / "claims" / source_file.name, source_file.read_bytes())
    write_atomic(file, yaml.safe_dump(raw, sort_keys=False, allow_unicode=True))


def _with_sources(content: Any, copies: Mapping[str, str], prefix: str = "") -> Any:
    """Every ``init_from.study`` replaced by the copy of what it names."""
    if not isinstance(content, dict):
        named = prefix.endswith("init_from.study.") and isinstance(content, str)
        return copies.get(content, content) if named else content
    return {key: _with_sources(each, copies, f"{prefix}{key}.") for key, each in content.items()}


def _read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY) if hasattr(os, "statvfs") else False
