"""``ablate run``: rehearse every arm, train what waits, say what came out."""

import re
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ablations.commands.stages import (
    OWN,
    planned,
    seeds_told,
    tries_left,
    tuned,
    tuning,
    variants,
    wanted,
)
from ablations.commands.tell import links, own_heading, show_table, time_left
from ablations.study import InputError, Study, Trial, trials
from ablations.study.tuning import check_stage, probes, told_in_space, tuned_arms
from ablations.sweep.executors import LocalExecutor, local_slots
from ablations.sweep.progress import phase
from ablations.workspace import State, Workspace, out_of_space, write_json

if TYPE_CHECKING:
    from ablations.sweep.scheduler import Sweep, Work
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
        timeout: Seconds without progress after which a trial's worker ends.
    """

    workers: int | None = None
    rerun: Sequence[str] = ()
    fail_fast: bool = False
    storage: str | None = None
    report: bool = True
    max_hours: float | None = None
    max_trials: int | None = None
    timeout: float | None = None


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
    if study.tune is not None:
        check_stage(study)
    _check_tracking()
    todo = _todo(study, workspace, options.rerun)
    tries = tries_left(study, workspace)
    ready = threading.Thread(target=_import_libraries, daemon=True)
    ready.start()
    plan = {t.id for _, each in variants(study, workspace) for t in planned(each, workspace)}
    told = f"{study.name}: {len(study.arms)} arms, {seeds_told(study)} seeds, "
    told += f"{tries} tuning trials and then " if tries else ""
    told += f"{len(todo)} trials to run"
    told += f", {len(plan) - len(todo)} already done" if len(plan) > len(todo) else ""
    console.print(told, highlight=False)
    if not todo and not tries:
        return _sweep(study, workspace, console, None, {}, options, started)
    trainer = study.base_config.get("trainer")
    accelerator = str(trainer.get("accelerator")) if isinstance(trainer, dict) else "auto"
    most = max(len(todo), tries, len(study.arms))
    executor = LocalExecutor(local_slots(options.workers, study.threads, accelerator, most))
    from ablations.sweep.sources import missing_sources

    try:
        needed, longest = {trial.arm for trial in todo} | {study.baseline}, options.timeout
        if tries:
            _probe(study, console, executor, longest)
        arms = {study.name: _rehearse(study, workspace, console, needed, executor, longest)}
        for first in missing_sources(study, workspace, todo):
            told = f"{first.study.name}: {len(first.trials)} trials first: others start from them"
            told += f" ({first.again} again, they kept no weights)" if first.again else ""
            console.print(told, markup=False, highlight=False, soft_wrap=True)
            needed = {trial.arm for trial in first.trials} | {first.study.baseline}
            asked = first.study, workspace, console, needed, executor, longest
            arms[first.study.name] = _rehearse(*asked)
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

    unique: dict[str, Trial] = {}
    for _, each in variants(study, workspace):
        missing = {trial.id for trial in waiting(each, workspace, wanted(each, workspace))}
        wants = (t for t in planned(each, workspace) if t.arm in rerun or t.id in missing)
        unique |= {trial.id: trial for trial in wants}
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


def _probe(study: Study, console: Console, executor: LocalExecutor, timeout: float | None) -> None:
    """Rehearse every tuned arm at the ends of its space.

    Raises:
        InputError: The space has a key or a value that the arm does not take.
    """
    from ablations.sweep.scheduler import rehearse_arms

    names = tuned_arms(study)
    with phase(console, f"rehearsing {len(names)} arms at the ends of what is tuned ..."):
        for probe in probes(study):
            for name, rehearsal in rehearse_arms(probe, names, executor, timeout).items():
                if rehearsal.error is not None:
                    raise told_in_space(rehearsal.error, study, name)


def _rehearse(
    study: Study,
    workspace: Workspace,
    console: Console,
    needed: Collection[str],
    executor: LocalExecutor,
    timeout: float | None,
    own: bool = False,
) -> dict[str, Any]:
    """What the rehearsal learns of arms; with their own settings they may turn out alike."""
    from ablations.sweep.rehearsal import changes, check_rehearsals
    from ablations.sweep.scheduler import rehearse_arms

    names = [arm.name for arm in study.arms if arm.name in needed]
    with phase(console, f"rehearsing {len(names)} arms on one batch each ..."):
        rehearsals = rehearse_arms(study, names, executor, timeout)
    errors = check_rehearsals(study, rehearsals)
    if own:
        errors = [rehearsal.error for rehearsal in rehearsals.values() if rehearsal.error]
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
    from ablations.sweep.tuning import Tuning

    if options.storage is not None:
        open_storage(workspace, options.storage)
    workspace.create()
    with workspace.locked():
        plans = (trials(each) for _, each in variants(study, workspace))
        for trial in {t.id for plan in plans for t in plan if t.arm in options.rerun}:
            workspace.set_aside(trial)
        say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        part = _part(study, workspace, arms, options.storage)
        parts = [part]
        hours = options.max_hours
        until = None if hours is None else started + 3600 * hours
        budget = Budget(options.max_trials, until)
        sweep, held = None, 0
        swept = Swept()
        with _kept_in_order(workspace, parts):
            if executor is not None:
                sweep = Sweep(workspace, executor, console, budget, options.timeout)
                swept = sweep.swept
            if study.tune is not None:
                stage = Tuning(study, workspace, part.ledger, part.tracker, say)
                _work_off(stage, sweep, options)
            own = tuned(study, workspace)
            failed = options.fail_fast and swept.failed
            goes_on = not (swept.interrupted or swept.stopped or failed)
            if own is not None:
                if executor is not None and goes_on:
                    stages = tuning(study, workspace)
                    asked = own, workspace, console, executor, options.timeout
                    learned = _rehearse_own(*asked).items()
                    rehearsed = {
                        arm: each and {**each, "tries": stages[arm]["planned"]}
                        for arm, each in learned
                    }
                    arms = {**arms, own.name: rehearsed}
                parts.append(_part(own, workspace, arms, options.storage, mark=OWN))
            shown = parts[:] if study.tune is None or own is not None else []
            if goes_on and shown:
                for source in source_studies(study) if executor is not None else ():
                    parts.append(_part(source, workspace, arms, options.storage, source=True))
                seeds = Sourced(parts, workspace, say)
                _work_off(seeds, sweep, options)
                held = len(seeds.held)
            for each in () if swept.interrupted else shown:
                page = workspace.study_folder(each.study.name) / f"{each.study.name}.html"
                report = options.report and (executor is not None or not page.exists())
                _conclude(each.study, workspace, console, each.tracker, report)
                if own is not None and each is part:
                    own_heading(study, workspace, console)
        for each in parts:
            each.tracker.close("KILLED" if swept.interrupted else "FINISHED")
    for trouble in {each.tracker.trouble for each in parts if each.tracker.trouble}:
        console.print(
            f"MLflow could not be written ({trouble}); nothing is lost: run again to "
            "bring it up to date",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if swept.interrupted:
        console.print("interrupted; run the same command again to go on", highlight=False)
        return 130
    if held and not swept.stopped:
        console.print(f"{held} trials wait for others that failed", highlight=False)
    tries, left = tries_left(study, workspace), len(_todo(study, workspace, ()))
    if swept.stopped and tries + left:
        told = f"stopped by {swept.stopped}, "
        told += f"{tries} tuning trials and then " if tries else ""
        told += f"{left} trials left{time_left(study, workspace)}"
        console.print(f"{told}; run the same command again to go on", highlight=False)
    links(study, workspace, console, part.tracker.ids)
    return 1 if swept.failed else 0


def _work_off(work: "Work", sweep: "Sweep | None", options: Options) -> None:
    """Train what there is; without a sweep, bring the records up to what has ended."""
    if sweep is None:
        work.take()
    else:
        sweep.run(work, fail_fast=options.fail_fast)


def _rehearse_own(
    own: Study,
    workspace: Workspace,
    console: Console,
    executor: LocalExecutor,
    timeout: float | None,
) -> dict[str, Any]:
    todo = _todo(own, workspace, ())
    if not todo:
        return {}
    needed = {trial.arm for trial in todo} | {own.baseline}
    return _rehearse(own, workspace, console, needed, executor, timeout, own=True)


@contextmanager
def _kept_in_order(workspace: Workspace, parts: Sequence["Part"]) -> Iterator[None]:
    """Leave no run RUNNING, whatever breaks off; say in one line what a person has to mend."""
    try:
        yield
    except Exception as error:
        for part in parts:
            part.tracker.close("KILLED")
        if not out_of_space(error):
            raise
        told = "no space is left on its disk; make some, then run the same command again to go on"
        raise InputError(told, file=workspace.root) from error


def _part(
    study: Study,
    workspace: Workspace,
    arms: Mapping[str, Mapping[str, Any]],
    storage: str | None,
    *,
    mark: str = "",
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
    return Part(study, ledger, tracker, partial(wanted, study, workspace), mark)


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


def seconds(text: str) -> float:
    """A time as a person writes it: 90, 90s, 10m, 1.5h.

    Raises:
        InputError: It is not one, or not above zero.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None or not float(match[1]):
        raise InputError("expected a time such as 90, 90s, 10m or 1.5h", file="--timeout", key=text)
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
