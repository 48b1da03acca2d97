"""``ablate run``: rehearse every arm, train what waits, say what came out."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ablations.commands.stages import planned, seeds_told, wanted
from ablations.commands.tell import links, show_table, time_left
from ablations.study import InputError, Study, Trial, trials
from ablations.sweep.executors import LocalExecutor, local_slots
from ablations.sweep.progress import phase
from ablations.workspace import State, Workspace, write_json

if TYPE_CHECKING:
    from ablations.sweep.seeding import Part


@dataclass(frozen=True)
class Options:
    """How a study is run.

    Attributes:
        workers: Trials at once; None: one per GPU or core.
        rerun: Arms whose trials are trained again.
        fail_fast: Launch nothing more once a trial fails.
        storage: Optuna's database; None: the workspace's journal.
        report: Write the report at the end.
        max_hours: After which what runs is stopped, its checkpoints kept.
        max_trials: Launched at most.
    """

    workers: int | None = None
    rerun: Sequence[str] = ()
    fail_fast: bool = False
    storage: str | None = None
    report: bool = True
    max_hours: float | None = None
    max_trials: int | None = None


def run(study: Study, workspace: Workspace, console: Console, options: Options) -> int:
    """Run a study to its table.

    Returns:
        The exit code: 0, also where the budget was spent first; 1 where trials failed; 130 where
        interrupted.

    Raises:
        InputError: Something in the study cannot be used; nothing was created.
    """
    started = time.monotonic()
    workspace.check()
    if workspace.busy_since() is not None:
        with workspace.locked():
            pass
    study = workspace.with_recorded_seeds(study)
    for arm in options.rerun:
        study.arm(arm)
    _check_tracking()
    todo = _todo(study, workspace, options.rerun)
    ready = threading.Thread(target=_import_libraries, daemon=True)
    ready.start()
    finished = len({t.id for t in planned(study, workspace)}) - len(todo)
    told = f"{study.name}: {len(study.arms)} arms, {seeds_told(study)} seeds, "
    told += f"{len(todo)} trials to run"
    console.print(told + (f", {finished} already done" if finished else ""), highlight=False)
    if not todo:
        return _sweep(study, workspace, console, None, {}, options, started)
    trainer = study.base_config.get("trainer")
    accelerator = str(trainer.get("accelerator")) if isinstance(trainer, dict) else "auto"
    most = max(len(todo), len(study.arms))
    executor = LocalExecutor(local_slots(options.workers, study.threads, accelerator, most))
    from ablations.sweep.sources import missing_sources

    try:
        arms = {study.name: _rehearse(study, workspace, console, todo, executor)}
        for first in missing_sources(study, workspace, todo):
            told = f"{first.study.name}: {len(first.trials)} trials first: others start from them"
            told += f" ({first.again} again, they kept no weights)" if first.again else ""
            console.print(told, markup=False, highlight=False, soft_wrap=True)
            learned = _rehearse(first.study, workspace, console, first.trials, executor)
            arms[first.study.name] = learned
        ready.join()
        return _sweep(study, workspace, console, executor, arms, options, started)
    except KeyboardInterrupt:
        console.print("interrupted before anything was trained", highlight=False)
        executor.stop(kill=True)
        return 130
    finally:
        executor.stop()


def _todo(study: Study, workspace: Workspace, rerun: Sequence[str]) -> list[Trial]:
    from ablations.sweep.seeding import waiting

    missing = {trial.id for trial in waiting(study, workspace, wanted(study, workspace))}
    unique = {t.id: t for t in planned(study, workspace) if t.arm in rerun or t.id in missing}
    return list(unique.values())


def _check_tracking() -> None:
    import os

    if "MLFLOW_TRACKING_URI" in os.environ:
        from ablations.sweep.tracking import check_uri

        check_uri(os.environ["MLFLOW_TRACKING_URI"])


def _import_libraries() -> None:
    """Import what takes seconds while the workers start."""
    import ablations.sweep.ledger
    import ablations.sweep.tracking

    ablations.sweep.tracking.preload()


def _rehearse(
    study: Study,
    workspace: Workspace,
    console: Console,
    todo: Sequence[Trial],
    executor: LocalExecutor,
) -> dict[str, Any]:
    from ablations.sweep.rehearsal import changes, check_rehearsals
    from ablations.sweep.scheduler import rehearse_arms

    needed = {trial.arm for trial in todo} | {study.baseline}
    names = [arm.name for arm in study.arms if arm.name in needed]
    with phase(console, f"rehearsing {len(names)} arms on one batch each ..."):
        rehearsals = rehearse_arms(study, names, executor)
    errors = check_rehearsals(study, rehearsals)
    if errors:
        for error in errors[:-1]:
            console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        raise errors[-1]
    for note in sorted({note for r in rehearsals.values() for note in r.notes}):
        console.print(f"note: {study.base}: {note}", markup=False, highlight=False)
    baseline = rehearsals[study.baseline].config
    learned = {
        name: {
            "changes": changes(r.config, baseline),
            "parameters": r.parameters,
            "flops": r.flops,
        }
        for name, r in rehearsals.items()
    }
    known = workspace.arms(study.name)
    return {arm.name: learned.get(arm.name, known.get(arm.name)) for arm in study.arms}


def _sweep(
    study: Study,
    workspace: Workspace,
    console: Console,
    executor: LocalExecutor | None,
    arms: Mapping[str, Mapping[str, Any]],
    options: Options,
    started: float,
) -> int:
    from ablations.sweep.ledger import open_storage
    from ablations.sweep.scheduler import Budget, Sweep, Swept
    from ablations.sweep.sources import Sourced, source_studies

    if options.storage is not None:
        open_storage(workspace, options.storage)
    workspace.create()
    with workspace.locked():
        for trial in {t.id for t in trials(study) if t.arm in options.rerun}:
            workspace.set_aside(trial)
        part = _part(study, workspace, arms, options.storage)
        parts, results = [part], _results(study, workspace)
        for source in source_studies(study) if executor is not None else ():
            parts.append(_part(source, workspace, arms, options.storage, source=True))
            results |= _results(source, workspace)
        say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        seeds = Sourced(parts, workspace, results, say)
        swept = Swept()
        if executor is None:
            seeds.take()
        else:
            hours = options.max_hours
            until = None if hours is None else started + 3600 * hours
            sweep = Sweep(workspace, executor, console, Budget(options.max_trials, until))
            swept = sweep.run(seeds, fail_fast=options.fail_fast)
        if not swept.interrupted:
            folder = workspace.study_folder(study.name)
            stale = executor is not None or not (folder / f"{study.name}.html").exists()
            _conclude(study, workspace, console, part.tracker, options.report and stale)
        for each in parts:
            each.tracker.close("KILLED" if swept.interrupted else "FINISHED")
    if troubles := [each.tracker.trouble for each in parts if each.tracker.trouble]:
        console.print(
            f"MLflow could not be written ({troubles[0]}); nothing is lost: run again to "
            "bring it up to date",
            markup=False,
            highlight=False,
        )
    if swept.interrupted:
        console.print("interrupted; run the same command again to go on", highlight=False)
        return 130
    if seeds.held and not swept.stopped:
        console.print(f"{len(seeds.held)} trials wait for others that failed", highlight=False)
    if swept.stopped and (left := len(_todo(study, workspace, ()))):
        told = f"stopped by {swept.stopped}, {left} trials left{time_left(study, workspace)}"
        console.print(f"{told}; run the same command again to go on", highlight=False)
    links(study, workspace, console, part.tracker.ids)
    return 1 if swept.failed else 0


def _part(
    study: Study,
    workspace: Workspace,
    arms: Mapping[str, Mapping[str, Any]],
    storage: str | None,
    *,
    source: bool = False,
) -> "Part":
    """A study's records, brought up to what has ended; of a source nothing is wanted by itself."""
    from ablations.sweep.ledger import Ledger
    from ablations.sweep.seeding import Part
    from ablations.sweep.tracking import Tracker

    workspace.record_study(study)
    learned = arms.get(study.name, {}).items()
    if known := {name: each for name, each in learned if each is not None}:
        write_json(workspace.study_folder(study.name) / "arms.json", known)
    plan = trials(study)
    ledger = Ledger(study, workspace, storage)
    ledger.replay(plan, _results(study, workspace))
    tracker = Tracker(study, workspace, workspace.arms(study.name))
    states = workspace.states({trial.id for trial in plan})
    settled: dict[str, State] = {
        key: "interrupted" if state == "running" else state
        for key, state in states.items()
        if state != "waiting"
    }
    tracker.sync([trial for trial in plan if trial.id in settled], settled)
    if source:
        nothing = {arm.name: 0 for arm in study.arms}
        return Part(study, ledger, tracker, lambda: nothing, mark=f" of {study.name}")
    return Part(study, ledger, tracker, partial(wanted, study, workspace))


def _results(study: Study, workspace: Workspace) -> dict[str, Any]:
    return {t.id: found for t in trials(study) if (found := workspace.result(t.id)) is not None}


def _conclude(
    study: Study, workspace: Workspace, console: Console, tracker: Any, report: bool
) -> None:
    from ablations.results.export import to_dict
    from ablations.results.figures import arm_colours, forest_plot
    from ablations.results.formats import render
    from ablations.results.looks import record_look
    from ablations.results.tables import study_table
    from ablations.results.wording import answer, arm_answer
    from ablations.workspace import write_atomic

    table = study_table(study, workspace)
    show_table(table, console)
    record_look(study, workspace, table)
    folder = workspace.study_folder(study.name)
    artifacts: list[Path] = []
    for name, kind in (("table.md", "markdown"), ("table.csv", "csv"), ("table.json", "json")):
        write_atomic(folder / name, render(table, kind))  # type: ignore[arg-type]
        artifacts.append(folder / name)
    figure = folder / "forest.png"
    forest_plot(table, arm_colours(study)).savefig(figure, dpi=150, bbox_inches="tight")
    artifacts.append(figure)
    if report:
        from ablations.results.notebook import write_report

        with phase(console, "writing the report ..."):
            artifacts += write_report(study, workspace, folder)
    sentences = {row.arm: arm_answer(table, row) for row in table.arms}
    summaries = [
        {**_summary(arm), "sentence": sentences.get(arm["arm"], "the baseline")}
        for arm in to_dict(table)["arms"]
    ]
    text = f"{answer(table)}\n\n{render(table, 'markdown')}"
    tracker.conclude(summaries, text, artifacts)


def _summary(arm: Mapping[str, Any]) -> dict[str, Any]:
    low, high = arm["interval"] or (None, None)
    # MLflow's comparison opens with the first metric.
    first = {"delta": arm["delta"], "interval_low": low, "interval_high": high}
    kept = {k: v for k, v in arm.items() if k not in ("interval", "changes", "claim")}
    return first | kept


def with_seeds(study: Study, seeds: int | None) -> Study:
    """The study with another number of seeds, the same for every arm.

    Raises:
        InputError: The number is below one.
    """
    if seeds is None:
        return study
    if not 1 <= seeds <= 10_000:
        raise InputError("expected from 1 to 10,000 seeds", file="--seeds")
    return replace(study, seeds=tuple(range(seeds)), plan=None)
