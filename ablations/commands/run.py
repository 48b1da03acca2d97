"""``ablate run``: rehearse every arm, train what waits, say what came out."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ablations.commands.conclude import conclude
from ablations.commands.executor import make_executor
from ablations.commands.fuse import pays
from ablations.commands.options import Options
from ablations.commands.rehearse import Rehearsing, told_by_trials
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
from ablations.commands.tell import links, own_heading, time_left
from ablations.study import InputError, Study, Trial, trials
from ablations.study.tuning import check_stage
from ablations.workspace import State, Workspace, out_of_space, write_json

if TYPE_CHECKING:
    from ablations.sweep.executors import Executor
    from ablations.sweep.scheduler import Sweep, Work
    from ablations.sweep.seeding import Part


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
    _check_servers(options.storage)
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
    most = max(len(todo), tries, len(study.arms))
    executor = make_executor(options.where, study, workspace, options.workers, most)
    from ablations.sweep.sources import missing_sources

    # In a cluster's queue a rehearsal may wait for as long as it likes.
    timeout = options.timeout if options.where.kind == "local" else None
    rehearsing = Rehearsing(workspace, console, executor, timeout)
    try:
        if tries:
            rehearsing.probe(study)
        arms = {study.name: rehearsing.learn(study, {trial.arm for trial in todo})}
        for first in missing_sources(study, workspace, todo):
            told = f"{first.study.name}: {len(first.trials)} trials first: others start from them"
            told += f" ({first.again} again, they kept no weights)" if first.again else ""
            console.print(told, markup=False, highlight=False, soft_wrap=True)
            needed = {trial.arm for trial in first.trials}
            arms[first.study.name] = rehearsing.learn(first.study, needed)
        ready.join()
        threading.Thread(target=_import_results, daemon=True).start()
        return _sweep(study, workspace, console, rehearsing, arms, options, started)
    except KeyboardInterrupt:
        # A second signal, while the sweep was ending for the first, comes here as well.
        begun = workspace.root.exists()
        told = "; run the same command again to go on" if begun else " before anything was trained"
        console.print(f"interrupted{told}", highlight=False)
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


def _check_servers(storage: str | None) -> None:
    """See that what shall record the sweep is there, before anything is rehearsed."""
    import os

    if storage is not None:
        from ablations.sweep.stores import check_store

        check_store(storage, "--storage")
    if "MLFLOW_TRACKING_URI" in os.environ:
        from ablations.sweep.tracking import check_uri

        check_uri(os.environ["MLFLOW_TRACKING_URI"])


def _import_libraries() -> None:
    """Import what takes seconds while the workers start."""
    import ablations.sweep.ledger
    import ablations.sweep.tracking

    ablations.sweep.tracking.preload()


def _import_results() -> None:
    """Import what the table and its figure need while trials train."""
    import ablations.results.export
    import ablations.results.forest
    import ablations.results.tables  # noqa: F401


def _sweep(
    study: Study,
    workspace: Workspace,
    console: Console,
    rehearsing: Rehearsing | None,
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
        executor = rehearsing.executor if rehearsing is not None else None
        with _kept_in_order(workspace, parts, executor):
            if executor is not None:
                fuse = options.fuse
                if not fuse:
                    fuse, why = pays(study, workspace, arms[study.name])
                    say(f"training {f'up to {fuse} trials as one' if fuse > 1 else 'alone'}: {why}")
                sweep = Sweep(workspace, executor, console, budget, options.timeout, fuse)
                swept = sweep.swept
            if study.tune is not None:
                stage = Tuning(study, workspace, part.ledger, part.tracker, say)
                _work_off(stage, sweep, options)
            own = tuned(study, workspace)
            failed = options.fail_fast and swept.failed
            goes_on = not (swept.interrupted or swept.stopped or failed)
            if own is not None:
                needed = {trial.arm for trial in _todo(own, workspace, ())}
                if rehearsing is not None and goes_on and needed:
                    stages = tuning(study, workspace)
                    learned = rehearsing.learn(own, needed, own=True).items()
                    rehearsed = {
                        arm: each and {**each, "tries": stages[arm]["planned"]}
                        for arm, each in learned
                    }
                    arms = {**arms, own.name: rehearsed}
                parts.append(_part(own, workspace, arms, options.storage, mark=OWN))
            shown = parts[:] if study.tune is None or own is not None else []
            if goes_on and shown:
                for source in source_studies(study) if sweep is not None else ():
                    parts.append(_part(source, workspace, arms, options.storage, source=True))
                seeds = Sourced(parts, workspace, say)
                _work_off(seeds, sweep, options)
                held = len(seeds.held)
            if not goes_on:
                shown = [each for each in shown if _results(each.study, workspace)]
            for each in () if swept.interrupted else shown:
                page = workspace.study_folder(each.study.name) / f"{each.study.name}.html"
                report = options.report and (sweep is not None or not page.exists())
                conclude(each.study, workspace, console, each.tracker, report)
                if own is not None and each is part:
                    own_heading(study, workspace, console)
            for each in parts:
                each.tracker.close("KILLED" if swept.interrupted else "FINISHED")
    for trouble in {each.tracker.trouble for each in parts if each.tracker.trouble}:
        told = "nothing is lost: run again to bring it up to date"
        say(f"MLflow could not be written ({trouble}); {told}")
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
        say(f"{told}; run the same command again to go on")
    links(study, workspace, console, part.tracker.ids)
    return 1 if swept.failed else 0


def _work_off(work: "Work", sweep: "Sweep | None", options: Options) -> None:
    """Train what there is; without a sweep, bring the records up to what has ended."""
    if sweep is None:
        work.take()
    else:
        sweep.run(work, fail_fast=options.fail_fast)


@contextmanager
def _kept_in_order(
    workspace: Workspace, parts: Sequence["Part"], executor: "Executor | None"
) -> Iterator[None]:
    """Leave no run RUNNING, whatever breaks off; say in one line what a person has to mend."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        if interrupted and executor is not None:
            executor.stop(kill=True)
        for part in parts:
            part.tracker.close("KILLED")
        if interrupted or not out_of_space(error):
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
    learned = {name: each for name, each in arms.get(study.name, {}).items() if each is not None}
    known = learned or workspace.arms(study.name)
    if any(arm.name not in known for arm in study.arms):
        known = {**told_by_trials(study, workspace), **known}
    if known:
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
