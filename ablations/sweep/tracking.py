"""Trial folders mirrored into MLflow, again and again without doubling. One process writes.

The files are the truth. What was mirrored is remembered beside the study; when that memory was
not closed properly, the runs are found again by their tags.
"""

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ablations.study import Study, Trial
from ablations.study.tuning import TuningTrial
from ablations.sweep.entries import allowed, is_number, moment_of, rows_of, short_name, tags_at_end
from ablations.sweep.mirrored import TAG, find_runs, replaced, run_key, search
from ablations.sweep.stores import made_once, trouble, without_password
from ablations.workspace import State, Workspace, read_json, write_json

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

_ENDED: Mapping[State, str] = {
    "done": "FINISHED",
    "diverged": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
_ARTIFACTS = ("config.yaml", "metrics.csv", "result.json", "failure.json", "log.txt")
_SAVE_SECONDS = 5.0
# A sweep of several studies has a thread for each.
_MAKING = threading.Lock()


def tracking_uri(workspace: Workspace) -> str:
    """MLFLOW_TRACKING_URI where it is set, else the workspace's own store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or workspace.tracking_uri


def preload() -> None:
    """Import MLflow, which takes seconds, while others work."""
    import mlflow  # noqa: F401


def check_uri(uri: str) -> None:
    """See that a tracking server answers.

    Raises:
        InputError: It does not; a store of the workspace's own is always there.
    """
    if uri.startswith("sqlite:"):
        return
    from mlflow import MlflowClient

    with made_once(uri, "MLFLOW_TRACKING_URI"):
        try:
            MlflowClient(uri).search_experiments(max_results=1)
        except Exception as error:
            told = "the tracking server does not answer"
            raise trouble(told, error, "MLFLOW_TRACKING_URI", uri) from error


class Tracker:
    """Mirrors one study.

    All methods but :meth:`close` return at once: a thread does the work, so that a slow or
    absent server never holds the sweep up. What could not be written is written later.
    """

    def __init__(self, study: Study, workspace: Workspace, arms: Mapping[str, Any]) -> None:
        self.study = study
        self.workspace = workspace
        self.arms = arms
        self.uri = tracking_uri(workspace)
        self.trouble: str | None = None
        self._memory_file = workspace.study_folder(study.name) / "tracking.json"
        self._memory: dict[str, Any] = {}
        self._client: Any = None
        self._saved = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mlflow")
        self._wanted: dict[Trial, State] = {}
        self._over = False

    def sync(self, trials: Iterable[Trial], states: Mapping[str, State]) -> None:
        """Mirror the folders of these trials, and of all that could not be mirrored before."""
        chosen = {trial: states[trial.id] for trial in trials}
        self._thread.submit(self._sync, chosen)

    def conclude(
        self,
        summaries: Sequence[Mapping[str, Any]],
        answer: str,
        table: str,
        artifacts: Sequence[Path],
    ) -> None:
        """Write one summary run per arm, the answer to the experiment, all of it to the parent run.

        Args:
            summaries: Of each arm its "arm", "verdict", "sentence", "colour" and "numbers" by name.
            answer: The study's, in one sentence.
            table: In Markdown, which may begin with the answer.
            artifacts: Files that go with the parent run.
        """
        self._thread.submit(self._attempt, self._conclude, summaries, answer, table, artifacts)

    def close(self, status: str) -> None:
        """Wait until all is written, end the parent run, and remember that it was done.

        Closed already, it does nothing; interrupted while it waits, it can be called again.
        """
        if self._over:
            return
        self._thread.submit(self._sync, {}).result()
        self._thread.submit(self._attempt, self._close, status).result()
        self._thread.shutdown()
        self._over = True

    @property
    def ids(self) -> tuple[str, dict[str, str]] | None:
        """The experiment's id and the run id of each arm, once they exist."""
        if "experiment" not in self._memory:
            return None
        return self._memory["experiment"], dict(self._memory["arms"])

    def _sync(self, chosen: Mapping[Trial, State]) -> None:
        self._wanted.update(chosen)
        for trial, state in list(self._wanted.items()):
            if not self._attempt(self._mirror, trial, state):
                return
            del self._wanted[trial]

    def _attempt(self, step: Any, *arguments: Any) -> bool:
        try:
            if self._client is None:
                self._open()
            step(*arguments)
        except Exception as error:
            # A lost server costs nothing: the folders stay and are mirrored when it is back.
            told = (str(error).strip().splitlines() or [""])[0][:200]
            self.trouble = f"{type(error).__name__}: {told}".removesuffix(": ")
            return False
        self.trouble = None
        return True

    def _open(self) -> None:
        import logging

        logging.getLogger("alembic").setLevel(logging.ERROR)
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        from mlflow import MlflowClient

        own = self.uri == self.workspace.tracking_uri
        if own:
            _make_store(self.workspace.root / "mlflow.db")
        client = MlflowClient(self.uri)
        memory = read_json(self._memory_file) or {}
        remembered_uri = "own" if own else without_password(self.uri)
        if memory.get("uri") != remembered_uri:
            memory = {"uri": remembered_uri, "runs": {}, "arms": {}, "closed": False}
        if "experiment" not in memory:
            memory["experiment"] = self._experiment(client, own)
        if not memory["closed"]:
            find_runs(client, self.workspace, memory)
        memory["closed"] = False
        self._memory = memory
        self._save(now=True)
        if "parent" not in memory:
            tags = self._tags("study") | {"mlflow.note.content": self.study.question}
            run = client.create_run(memory["experiment"], run_name=self.study.name, tags=tags)
            memory["parent"] = run.info.run_id
        else:
            client.update_run(memory["parent"], status="RUNNING")
        # MLflow lists the newest first.
        for arm in reversed(self.study.arms):
            if arm.name not in memory["arms"]:
                memory["arms"][arm.name] = self._create_arm(client, memory, arm.name)
        self._client = client
        self._save(now=True)

    def _experiment(self, client: Any, own: bool) -> str:
        known = client.get_experiment_by_name(self.study.name)
        if known is not None and known.lifecycle_stage == "deleted":
            client.restore_experiment(known.experiment_id)
        if known is not None:
            return str(known.experiment_id)
        place = self.workspace.artifacts / self.study.name
        return str(
            client.create_experiment(
                self.study.name,
                artifact_location=place.as_uri() if own else None,
                tags={"mlflow.note.content": self.study.question},
            )
        )

    def _tags(self, kind: str, arm: str | None = None) -> dict[str, str]:
        tags = {f"{TAG}kind": kind, f"{TAG}study": self.study.name}
        tags[f"{TAG}workspace"] = self.workspace.id
        return tags | ({} if arm is None else {f"{TAG}arm": arm})

    def _create_arm(self, client: Any, memory: Mapping[str, Any], arm: str) -> str:
        from mlflow.entities import Param

        # Not nested under the study's run: MLflow folds nested runs away, and arms are the answer.
        tags = self._tags("arm", arm) | {f"{TAG}parent": memory["parent"]}
        run = client.create_run(memory["experiment"], run_name=arm, tags=tags)
        params = {"arm": arm} | self._changed(arm)
        client.log_batch(run.info.run_id, params=[Param(k, v) for k, v in params.items()])
        return str(run.info.run_id)

    def _changed(self, arm: str) -> dict[str, str]:
        """The arm's value of every key that some arm changes, so that arms can be compared."""
        values: dict[str, str] = {}
        for name, learned in self.arms.items():
            for key, (before, after) in learned["changes"].items():
                short = short_name(key)
                if name == arm:
                    values[short] = str(after)[:500]
                else:
                    values.setdefault(short, str(before)[:500])
        return values

    def _mirror(self, trial: Trial, state: State) -> None:
        folder = self.workspace.trial_folder(trial.id)
        known = self._memory["runs"].get(run_key(trial.arm, trial.id))
        rows = rows_of(folder / "metrics.csv")
        result = read_json(folder / "result.json") or {}
        sign = f"{state} {result.get('finished', '')}"
        if known is not None and known["sign"] == sign and known["rows"] == len(rows):
            return
        unsure = known is not None and known["rows"] is None
        if unsure or (known and (len(rows) < known["rows"] or replaced(known["sign"], sign))):
            self._discard(trial, known)
            known = None
        if known is None:
            known = self._create_trial(trial)
        run, start = known["run"], known["rows"]
        # Of what a lost server took nothing is known: unless all is written, it is written anew.
        known["rows"] = None
        first, ended = known["sign"] is None, state in _ENDED
        params = {"arm": trial.arm, "seed": str(trial.seed)} | self._changed(trial.arm)
        if isinstance(trial, TuningTrial):
            params |= {short_name(key): str(value) for key, value in trial.settings.items()}
        metrics, tags = _metrics(rows, start), dict[str, str]()
        if ended:
            metrics += _seconds(result)
            tags = tags_at_end(state, result) | {f"{TAG}mirrored": f"{len(rows)} {sign}"}
        self._log(run, metrics, params if first else {}, tags)
        if ended:
            for name in (*_ARTIFACTS, "predictions.npz"):
                if (folder / name).exists():
                    self._client.log_artifact(run, str(folder / name))
            self._client.set_terminated(run, _ENDED[state], end_time=moment_of(result))
        elif known["sign"] not in (None, sign):
            self._client.update_run(run, status="RUNNING")
        known |= {"rows": len(rows), "sign": sign}
        self._save()

    def _discard(self, trial: Trial, known: Mapping[str, Any]) -> None:
        if known["run"] is not None:
            self._client.delete_run(known["run"])
            return
        mine = f" and tags.`{TAG}trial` = '{trial.id}' and tags.`{TAG}arm` = '{trial.arm}'"
        for run in search(self._client, self.workspace, self._memory["experiment"], mine):
            self._client.delete_run(run.info.run_id)

    def _create_trial(self, trial: Trial) -> dict[str, Any]:
        kind, which = "trial", f"seed {trial.seed}"
        if isinstance(trial, TuningTrial):
            kind, which = "tuning", f"tuning {trial.number}"
        tags = self._tags(kind, trial.arm) | {
            "mlflow.parentRunId": self._memory["arms"][trial.arm],
            f"{TAG}trial": trial.id,
            f"{TAG}seed": str(trial.seed),
        }
        attempt = read_json(self.workspace.trial_folder(trial.id) / "attempt.json") or {}
        known: dict[str, Any] = {"run": None, "rows": None, "sign": None}
        self._memory["runs"][run_key(trial.arm, trial.id)] = known
        run = self._client.create_run(
            self._memory["experiment"],
            start_time=int(1000 * attempt.get("started", time.time())),
            run_name=f"{trial.arm} · {which}",
            tags=tags,
        )
        known |= {"run": run.info.run_id, "rows": 0}
        self._save()
        return known

    def _log(
        self, run: str, metrics: Sequence[Any], params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        """All at once: what a store asks for is a transaction, whatever is in it."""
        from mlflow.entities import Param, RunTag

        more = {
            "params": [Param(name, value) for name, value in params.items()],
            "tags": [RunTag(name, value) for name, value in tags.items()],
        }
        most = 1000 - len(params) - len(tags)
        if metrics or params or tags:
            self._client.log_batch(run, metrics=metrics[:most], **more)
        for start in range(most, len(metrics), 1000):
            self._client.log_batch(run, metrics=metrics[start : start + 1000])

    def _conclude(
        self,
        summaries: Sequence[Mapping[str, Any]],
        answer: str,
        table: str,
        artifacts: Sequence[Path],
    ) -> None:
        from mlflow.entities import Metric, RunTag

        now = int(1000 * time.time())
        for summary in summaries:
            run = self._memory["arms"][summary["arm"]]
            numbers = {k: v for k, v in summary["numbers"].items() if is_number(v)}
            metrics = [Metric(allowed(k), float(v), now, 0) for k, v in numbers.items()]
            tags = {
                f"{TAG}verdict": summary["verdict"],
                "mlflow.note.content": summary["sentence"],
                "mlflow.runColor": summary["colour"],
            }
            tagged = [RunTag(key, value) for key, value in tags.items()]
            self._client.log_batch(run, metrics=metrics, tags=tagged)
            self._client.set_terminated(run, "FINISHED")
        self._client.set_tag(self._memory["parent"], "mlflow.note.content", table)
        told = f"{self.study.question} {answer}"
        self._client.set_experiment_tag(self._memory["experiment"], "mlflow.note.content", told)
        for path in artifacts:
            self._client.log_artifact(self._memory["parent"], str(path))

    def _close(self, status: str) -> None:
        for known in self._memory["runs"].values():
            # Of a trial that a crash left, and that the plan no longer has.
            left = known["sign"] is None or known["sign"].startswith("running")
            if left and known["run"] is not None:
                self._client.set_terminated(known["run"], "KILLED")
                known["sign"] = "interrupted "
        for run in [*self._memory["arms"].values(), self._memory["parent"]]:
            self._client.set_terminated(run, status)
        self._memory["closed"] = not self._wanted
        self._save(now=True)

    def _save(self, *, now: bool = False) -> None:
        if now or time.monotonic() - self._saved > _SAVE_SECONDS:
            write_json(self._memory_file, self._memory)
            self._saved = time.monotonic()


def _make_store(file: Path) -> None:
    """Make the workspace's own store whole or not at all: a kill would leave half of its tables."""
    from mlflow import MlflowClient

    with _MAKING:
        if file.exists():
            return
        new = file.with_name(f"{file.name}.new")
        for left in (new, file.with_name(f"{new.name}-journal")):
            left.unlink(missing_ok=True)
        MlflowClient(f"sqlite:///{new.resolve()}").search_experiments(max_results=1)
        new.replace(file)


def _metrics(rows: Sequence[Mapping[str, str]], start: int) -> list[Any]:
    """The rows from ``start`` on, as MLflow's metrics."""
    from mlflow.entities import Metric

    # Of an epoch repeated after a resume the last row counts, unless one is mirrored already.
    seen = {(row["epoch"], row["name"]) for row in rows[:start]}
    fresh = {(row["epoch"], row["name"]): row for row in rows[start:]}
    return [
        Metric(allowed(name), float(row["value"]), int(1000 * float(row["time"])), int(epoch))
        for (epoch, name), row in fresh.items()
        if (epoch, name) not in seen
    ]


def _seconds(result: Mapping[str, Any]) -> list[Any]:
    from mlflow.entities import Metric

    moment = moment_of(result)
    return [Metric("trial/seconds", float(result["seconds"]), moment, 0)] if result else []
