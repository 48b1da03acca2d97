"""A batch or two of an arm before a sweep: what it logs, how big it is, whether it fits."""

import importlib
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ablations.study import InputError
from ablations.sweep.build import Recipe, build
from ablations.sweep.job import Order, Rehearsal
from ablations.sweep.process import output_to
from ablations.sweep.randomness import reset_torch
from ablations.sweep.trial import count_parameters, floats, tests
from ablations.sweep.watch import MetricsFile, batch_size, make_logger
from ablations.sweep.weights import afresh, with_start

# What a row of a module's own ``layer_table()`` tells, as attributes.
LAYER_COLUMNS = ("name", "gives", "parameters", "macs", "flops", "neurons")
# Where an arm would train changes none of its layers: a study for eight GPUs plans on a laptop.
_HERE = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto"}


def rehearse(order: Order) -> Rehearsal:
    """Train an arm on a batch or two, validate and test it on one, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="ablations-") as temporary:
        folder = Path(temporary)
        with output_to(folder / "log.txt"):
            try:
                return _rehearse(order, folder)
            except (Exception, SystemExit) as error:
                told = _told(error, order.recipe, "the rehearsal failed")
                return Rehearsal(order.recipe.arm, {}, (), None, None, error=told)


def _told(error: BaseException, recipe: Recipe, doing: str) -> InputError:
    """An error of the project's own code, with the last line of that code."""
    if isinstance(error, InputError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    homes = recipe.import_paths
    own = [f for f in frames if any(Path(f.filename).is_relative_to(home) for home in homes)]
    place = (own or frames)[-1]
    name = type(error).__name__
    return InputError(
        f"{doing}: {name}: {error} ({Path(place.filename).name}, line {place.lineno})",
        file=recipe.study_file,
        key=f"arms.{recipe.arm}",
    )


def inspect_arm(order: Order) -> Rehearsal:
    """Build an arm without training anything: its configuration, layers, parameters and flops.

    Raises:
        InputError: It cannot be built.
    """
    with tempfile.TemporaryDirectory(prefix="ablations-") as temporary:
        with output_to(Path(temporary) / "log.txt"):
            reset_torch(order.threads)
            try:
                options = {"default_root_dir": temporary, **_HERE}
                built = build(afresh(order.recipe), order.seed, options)
            except (Exception, SystemExit) as error:
                raise _told(error, order.recipe, "cannot be built") from error
        flops = _flops_of_example(built.model)
        size = count_parameters(built.model)
        layers = _layers(built.model)
        config = with_start(built.config, order.recipe)
        return Rehearsal(order.recipe.arm, config, (), size, flops, built.notes, layers=layers)


def _layers(model: Any) -> tuple[dict[str, Any], ...]:
    """The module's own ``layer_table()``; none where it has no such method, or one of its own."""
    try:
        rows = model.layer_table()
        return tuple({key: getattr(row, key) for key in LAYER_COLUMNS} for row in rows)
    except (AttributeError, TypeError):
        return ()


def _rehearse(order: Order, folder: Path) -> Rehearsal:
    reset_torch(order.threads)
    options = {"default_root_dir": str(folder), "fast_dev_run": 2, "devices": order.devices}
    built = build(afresh(order.recipe), order.seed, options)
    built.trainer.limit_val_batches = built.trainer.limit_test_batches = 1
    clock = _Clock()
    built.trainer.callbacks.append(_as_callback(clock, built.namespace))
    metrics = MetricsFile(folder / "metrics.csv")
    counter = _StepCounter()
    flops = _flops_of_example(built.model)
    if flops is None:
        built.trainer.callbacks.append(_as_callback(counter, built.namespace))
    built.trainer.loggers = [make_logger(built.namespace, metrics, built.trainer)]
    with warnings.catch_warnings(), counter.stack:
        warnings.simplefilter("ignore")
        built.trainer.fit(built.model, datamodule=built.data)
        logged = set(floats(built.trainer.callback_metrics))
        if tests(built.model, built.data):
            built.trainer.test(built.model, datamodule=built.data, verbose=False)
            logged |= set(floats(built.trainer.callback_metrics))
    size = count_parameters(built.model)
    flops = counter.flops if flops is None else flops
    return Rehearsal(
        order.recipe.arm,
        with_start(built.config, order.recipe),
        tuple(sorted(logged)),
        size,
        flops,
        built.notes,
        seconds=clock.whole(built.config["trainer"]),
    )


class _Clock:
    """Takes the time of a training batch, and counts how many a training has.

    Of two, since the first waits for all that is made when it is first used; where that one took
    long already, it is the only one.
    """

    LONG = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.started = 0.0
        self.batch: float | None = None
        self.batches = -1

    def whole(self, trainer: Mapping[str, Any]) -> float | None:
        """Seconds of a whole training, going by the batch that was timed last."""
        counts = [self.batches * (trainer.get("max_epochs") or -1), trainer.get("max_steps") or -1]
        known = [count for count in counts if count > 0]
        return min(known) * self.batch if known and self.batch is not None else None

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Start."""
        _wait_for_device(trainer)
        self.started = time.monotonic()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Stop."""
        _wait_for_device(trainer)
        self.batch = time.monotonic() - self.started
        if self.batch > self.LONG:
            trainer.should_stop = True
        with suppress(TypeError, NotImplementedError):
            self.batches = len(trainer.train_dataloader)


def _wait_for_device(trainer: Any) -> None:
    """Until an accelerator has done what it was told, which otherwise only begins with it."""
    device, it = trainer.strategy.root_device, torch.accelerator
    if it.is_available() and (known := it.current_accelerator()) and known.type == device.type:
        it.synchronize(device)


def _flops_of_example(model: Any) -> int | None:
    """Of the forward pass of the module's own ``example_input_array``, per example."""
    example = getattr(model, "example_input_array", None)
    if not isinstance(example, torch.Tensor):
        return None
    was_training = model.training
    model.eval()
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(example)
    finally:
        model.train(was_training)
    return int(counter.get_total_flops()) // len(example)


class _StepCounter:
    """Counts the forward pass of the first training step, up to its backward."""

    def __init__(self) -> None:
        super().__init__()
        self.flops: int | None = None
        self.mode: FlopCounterMode | None = None
        self.size = 1
        self.stack = ExitStack()

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Start counting."""
        if batch_idx:
            return
        self.size = batch_size(batch)
        self.stack.enter_context(counter := FlopCounterMode(display=False))
        self.mode = counter

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Stop counting."""
        if self.mode is not None:
            self.stack.close()
            self.flops = int(self.mode.get_total_flops()) // self.size or None
            self.mode = None

    def on_train_batch_end(self, *_: Any) -> None:
        """Stop where no backward was seen."""
        self.stack.close()


def _as_callback(looks_on: _StepCounter | _Clock, namespace: str) -> Any:
    callback = importlib.import_module(f"{namespace}.callbacks").Callback
    kind = type(looks_on)
    looks_on.__class__ = type(kind.__name__, (kind, callback), {})
    return looks_on
