"""Several trials as one training, where module and data module can be stacked.

A module offers it by ``stack(members)``: one module that trains all of them, which logs ``k/NAME``
for what the k-th would log as NAME, and whose ``test_step`` returns a list of what each would. A
data module offers it by a ``stack(members)`` of its own. Either raises ValueError where it cannot.
Members are of one arm, or of several: what cannot be trained together is tried arm by arm, then one
by one, and so is a trial whose loss was not finite.
"""

import importlib
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import yaml

from ablations.sweep.build import Built, build
from ablations.sweep.job import Order, Outcome
from ablations.sweep.overhead import less_overhead
from ablations.sweep.process import no_longer_than, output_to
from ablations.sweep.randomness import reset_torch
from ablations.sweep.trial import (
    begin,
    floats,
    in_a_line,
    result_of,
    run_trial,
    test_examples,
    tests,
)
from ablations.sweep.watch import MetricsFile, Predictions, batch_size, make_logger
from ablations.workspace import out_of_space, write_atomic, write_json

# Keys of a trainer with which every seed is still its own, and what they may be.
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "accumulate_grad_batches": (None, 1),
    "callbacks": (None, []),
    "detect_anomaly": (None, False),
    "devices": (1, "1", [0], "auto"),
    "gradient_clip_val": (None, 0),
    "max_time": (None,),
    "num_nodes": (1,),
    "overfit_batches": (0, 0.0),
    "plugins": (None, []),
    "precision": (None, 32, "32", "32-true", "64-true", "bf16-mixed"),
    "strategy": ("auto",),
    "sync_batchnorm": (None, False),
}


class _Alone(Exception):
    """Why trials cannot be trained together."""


def run_fused(orders: Sequence[Order]) -> list[Outcome]:
    """Train orders together, those of an arm in a row; results are written when all have ended.

    No checkpoint is kept: a worker that dies has lost the attempt.
    """
    started = time.time()
    first = orders[0].folder
    ended: dict[str, Outcome] = {}
    why = ""
    try:
        for order in orders:
            begin(order, started)
        with (
            output_to(first / "log.txt"),
            no_longer_than(orders[0].timeout, first) as progressed,
        ):
            try:
                _train(orders, started, progressed, ended)
            except _Alone as told:
                why = str(told)
            except (Exception, SystemExit) as error:
                traceback.print_exc()
                if out_of_space(error):
                    return [Outcome(order.trial, "no space", str(error)) for order in orders]
                if type(error).__name__ == "SIGTERMException":
                    return [Outcome(order.trial, "preempted") for order in orders]
                why = in_a_line(error)
    except OSError as full:
        if not out_of_space(full):
            raise
        return [Outcome(order.trial, "no space", str(full)) for order in orders]
    rest = [order for order in orders if order.trial not in ended]
    arms = [list(each) for _, each in groupby(rest, lambda order: order.recipe.arm)]
    if why and 1 < len(arms) < len(rest):
        made = [outcome for arm in arms for outcome in _of_arm(arm, why)]
    else:
        apart = why != "" and len({order.recipe.arm for order in orders}) == 1
        made = [_alone(order, why or "its loss was not finite", apart) for order in rest]
    ended |= {outcome.trial: outcome for outcome in made}
    return [ended[order.trial] for order in orders]


def _of_arm(orders: Sequence[Order], why: str) -> list[Outcome]:
    return run_fused(orders) if len(orders) > 1 else [_alone(orders[0], why)]


def _alone(order: Order, why: str, apart: bool = False) -> Outcome:
    return replace(run_trial(order), alone=why, apart=apart)


def _train(
    orders: Sequence[Order],
    started: float,
    progressed: Callable[[], None],
    ended: dict[str, Outcome],
) -> None:
    """Train them all; ``ended`` takes each whose result is written, whatever becomes of others."""
    first = orders[0]
    reset_torch(first.threads)
    options = {
        "default_root_dir": str(first.folder),
        "devices": first.devices,
        "enable_checkpointing": False,
    }
    built = []
    for order in orders:
        built.append(build(order.recipe, order.seed, options))
        _check(order, built[-1])
        if _shared(order, built[-1]) != _shared(first, built[0]):
            raise _Alone("their trainers differ")
    try:
        model = built[0].model.stack([each.model for each in built])
        data = built[0].data.stack([each.data for each in built])
    except ValueError as error:
        raise _Alone(str(error)) from error
    files = []
    for order, each in zip(orders, built, strict=True):
        files.append(MetricsFile(order.folder / "metrics.csv"))
        files[-1].path.unlink(missing_ok=True)
        config = yaml.safe_dump(each.config, sort_keys=False)
        write_atomic(order.folder / "config.yaml", config)
    trainer = built[0].trainer
    watch = _make_watch(built[0].namespace, files, progressed)
    trainer.callbacks.append(watch)
    trainer.loggers = [make_logger(built[0].namespace, _Shared(files), trainer)]
    with warnings.catch_warnings(), less_overhead(built[0].namespace, model):
        warnings.simplefilter("ignore")
        trainer.fit(model, datamodule=data)
        metrics = _shares(floats(trainer.callback_metrics), len(files))
        if tests(built[0].model, built[0].data) and not watch.all_diverged:
            trainer.test(model, datamodule=data, verbose=False)
            for own, tested in zip(
                metrics, _shares(floats(trainer.callback_metrics), len(files)), strict=True
            ):
                own |= tested
    seconds = (time.time() - started) / len(orders)
    for k, order in enumerate(orders):
        files[k].flush()
        one = replace(built[k], trainer=trainer)
        result = result_of(order, one, files[k], metrics[k], watch.examples, started)
        if files[k].diverged or None in result["metrics"].values():
            continue
        watch.predictions[k].save(order.folder / "predictions.npz", test_examples(trainer))
        result |= {"seconds": seconds, "fused": len(orders)}
        write_json(order.folder / "result.json", result)
        ended[order.trial] = Outcome(order.trial, result["status"], None, seconds)


def _check(order: Order, built: Built) -> None:
    """Refuse whatever acts on all seeds at once, or is not known not to."""
    for thing in (built.model, built.data):
        if not hasattr(thing, "stack"):
            raise _Alone(f"{type(thing).__name__} has no method stack")
    if order.weights != "last" or order.keep_weights or not order.test or order.devices != 1:
        raise _Alone("weights are kept or chosen, or there are several devices")
    if order.recipe.cli is not None or order.recipe.start is not None:
        raise _Alone("the project has a command line of its own, or starts from weights")
    for key in ("optimizer", "lr_scheduler"):
        if built.config.get(key) is not None:
            raise _Alone(f"{key} is set beside the module")
    trainer = built.config["trainer"]
    for key, allowed in _ALLOWED.items():
        if key in trainer and trainer[key] not in allowed:
            raise _Alone(f"trainer.{key} is {trainer[key]}")


def _shared(order: Order, built: Built) -> list[Any]:
    own = {key: v for key, v in built.config["trainer"].items() if key != "default_root_dir"}
    return [own, order.threads, built.namespace]


def _shares(metrics: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """What was logged, by seed: ``k/NAME`` is NAME of the k-th, any other name is of all."""
    shares: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, value in metrics.items():
        number, _, own = name.partition("/")
        if number.isdecimal() and int(number) < count:
            shares[int(number)][own] = value
        else:
            for share in shares:
                share[name] = value
    return shares


class _Shared(MetricsFile):
    """The files of all seeds, as a logger sees them."""

    def __init__(self, files: Sequence[MetricsFile]) -> None:
        self.files = files

    def note(self, metrics: Mapping[str, Any], step: int, epoch: int) -> None:
        """Give each file its own."""
        for file, own in zip(self.files, _shares(metrics, len(self.files)), strict=True):
            file.note(own, step, epoch)


class _Watch:
    """What `watch.Watch` does for one trial, but for checkpoints, for several."""

    def __init__(self, files: Sequence[MetricsFile], progressed: Callable[[], None]) -> None:
        super().__init__()
        self.files, self.progressed = files, progressed
        self.predictions = [Predictions() for _ in files]
        self.examples = 0.0

    @property
    def all_diverged(self) -> bool:
        return all(file.diverged for file in self.files)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.progressed()
        seen = batch_size(batch[0]) * trainer.num_training_batches
        self.examples = max(self.examples, seen)

    def on_validation_batch_end(self, *_: Any) -> None:
        self.progressed()

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._close_epoch(trainer)
        if self.all_diverged:
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._close_epoch(trainer)

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *position: int
    ) -> None:
        self.progressed()
        for predictions, own in zip(self.predictions, outputs or (), strict=False):
            predictions.take(own)

    def _close_epoch(self, trainer: Any) -> None:
        if trainer.current_epoch == 0:
            return
        kept = _shares(trainer.callback_metrics, len(self.files))
        for file, own in zip(self.files, kept, strict=True):
            file.epochs = int(trainer.current_epoch)
            unseen = {name: value for name, value in own.items() if name not in file.pending}
            file.note(unseen, trainer.global_step, trainer.current_epoch - 1)
            file.flush()


def _make_watch(
    namespace: str, files: Sequence[MetricsFile], progressed: Callable[[], None]
) -> Any:
    callback = importlib.import_module(f"{namespace}.callbacks").Callback
    return type("FusedWatch", (_Watch, callback), {})(files, progressed)
