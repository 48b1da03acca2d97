"""What workers are told to do: train a trial, rehearse the arms."""

from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path
from typing import Any

from ablations.study import InputError, Study
from ablations.sweep.build import Recipe
from ablations.sweep.executors import Executor
from ablations.sweep.executors.placement import devices_of
from ablations.sweep.job import Job, Order, Rehearsal
from ablations.sweep.weights import started

_REHEARSAL_SECONDS = 60.0


def order_for(study: Study, arm: str, seed: int, trial: str, folder: Path, attempt: int) -> Order:
    """The order that makes a worker train a trial."""
    named = study.arm(arm)
    metrics = tuple(sorted({*study.metric.needs, *study.metric_of(arm).needs}))
    recipe = started(Recipe.of(study, named), study.sources.get(arm), seed, folder.parent)
    return Order(
        recipe,
        seed,
        trial,
        folder,
        metrics,
        study.weights,
        study.threads,
        attempt,
        study.keep_weights,
        devices=devices_of(study, named),
    )


def rehearse_arms(
    study: Study, arms: Sequence[str], executor: Executor, timeout: float | None = None
) -> dict[str, Rehearsal]:
    """Rehearse arms in the workers, each on a batch or two.

    Raises:
        InputError: An arm's rehearsal does not end; its worker was killed.
    """
    # The first one waits for the workers' start.
    longest = None if timeout is None else max(timeout, _REHEARSAL_SECONDS)
    futures: dict[str, Future[Any]] = {}
    for arm in arms:
        order = order_for(study, arm, study.seeds[0], "rehearsal", Path("."), 1)
        futures[arm] = executor.submit(Job((order,), rehearse=True))
    rehearsals = {}
    for arm, future in futures.items():
        try:
            rehearsals[arm] = future.result(longest)[0]
        except TimeoutError:
            executor.stop(kill=True)
            raise InputError(
                f"the rehearsal did not end in {longest:g} s", file=study.file, key=f"arms.{arm}"
            ) from None
        except BrokenExecutor:
            error = InputError(
                "the worker died in the rehearsal (out of memory?)",
                file=study.file,
                key=f"arms.{arm}",
            )
            rehearsals[arm] = Rehearsal(arm, {}, (), None, None, error=error)
    return rehearsals
