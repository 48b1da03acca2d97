"""One trial in a worker: build, fit, test, files."""

import importlib.metadata
import math
import os
import pickle
import platform
import signal
import socket
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from ablations import __version__
from ablations.study import InputError
from ablations.sweep.build import Built, build
from ablations.sweep.chance import chance_of, learned_nothing
from ablations.sweep.commit import code_version
from ablations.sweep.job import Order, Outcome
from ablations.sweep.overhead import less_overhead
from ablations.sweep.process import no_longer_than, output_to
from ablations.sweep.randomness import reset_torch
from ablations.sweep.ranks import follower_was_killed, follows, mean_over_ranks, raised_at
from ablations.sweep.watch import MetricsFile, make_logger, make_watch
from ablations.sweep.weights import WEIGHTS
from ablations.workspace import out_of_space, write_atomic, write_json


def run_trial(order: Order) -> Outcome:
    """Train one trial; all that it finds is in its folder, result.json last.

    A checkpoint of an earlier attempt is gone on from. An exception becomes failure.json, but for
    those that say nothing about the trial: SIGTERM and a full disk. A rank that follows the first
    one writes nothing.
    """
    started = time.time()
    if follows(order):
        return _attempt(order, started, lambda: None)
    folder = order.folder
    try:
        begin(order, started)
        with output_to(folder / "log.txt"), no_longer_than(order.timeout, folder) as progressed:
            return _attempt(order, started, progressed)
    except OSError as full:
        if not out_of_space(full):
            raise
        return Outcome(order.trial, "no space", str(full), time.time() - started)


def begin(order: Order, started: float) -> None:
    """Leave a note of an attempt in the trial's folder, and nothing of how another one ended."""
    order.folder.mkdir(parents=True, exist_ok=True)
    attempt = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
    write_json(order.folder / "attempt.json", attempt | {"attempt": order.attempt})
    for name in ("failure.json", "hang.txt"):
        (order.folder / name).unlink(missing_ok=True)


def in_a_line(error: BaseException) -> str:
    """The kind of an error and its first line; what an InputError says is a line already."""
    if isinstance(error, InputError):
        return str(error)
    text = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {text[0]}".removesuffix(": ")


def _attempt(order: Order, started: float, progressed: Callable[[], None]) -> Outcome:
    try:
        status = _train(order, started, progressed)
        return Outcome(order.trial, status, None, time.time() - started)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        seconds = time.time() - started
        if out_of_space(error):
            return Outcome(order.trial, "no space", str(error), seconds, raised_at(error))
        # Raised by Lightning at the end of the batch in which SIGTERM came.
        if type(error).__name__ == "SIGTERMException":
            return Outcome(order.trial, "preempted", None, seconds)
        failure = {
            "error": in_a_line(error),
            "traceback": traceback.format_exc(),
            "attempts": order.attempt,
            "time": raised_at(error),
        }
        if not follows(order):
            write_json(order.folder / "failure.json", failure)
        return Outcome(order.trial, "failed", str(failure["error"]), seconds, raised_at(error))


def _train(order: Order, started: float, progressed: Callable[[], None]) -> Any:
    folder = order.folder
    reset_torch(order.threads)
    leads = not follows(order)
    metrics_file = MetricsFile(folder / "metrics.csv", leads)
    checkpoint = folder / "checkpoint.ckpt"
    resumed = _readable(checkpoint)
    weights = folder / WEIGHTS
    options = {"default_root_dir": str(folder), "devices": order.devices}
    built = build(order.recipe, order.seed, options)
    if leads:
        if not resumed:
            metrics_file.path.unlink(missing_ok=True)
        weights.unlink(missing_ok=True)
        write_atomic(folder / "config.yaml", yaml.safe_dump(built.config, sort_keys=False))
    watch = make_watch(built.namespace, order.seed, checkpoint, metrics_file)
    watch.progressed = progressed
    built.trainer.callbacks.append(watch)
    built.trainer.loggers = [make_logger(built.namespace, metrics_file, built.trainer)]
    with warnings.catch_warnings(), less_overhead(built.namespace, built.model):
        warnings.simplefilter("ignore")
        try:
            metrics = _fit_and_test(built, order, checkpoint if resumed else None)
        except Exception:
            if follower_was_killed(built.trainer):
                os.kill(os.getpid(), signal.SIGKILL)
            raise
    metrics_file.flush()
    watch.predictions.save(folder / "predictions.npz", test_examples(built.trainer), leads)
    if order.keep_weights:
        _save_weights(built, weights)
    result = result_of(order, built, metrics_file, metrics, watch.examples, started)
    result["stopped_early"] |= watch.stopped
    result["resumed"] = resumed
    if watch.told_to_stop and result["status"] == "done":
        result["status"] = "stopped"
    if leads:
        write_json(folder / "result.json", result)
        for left in (checkpoint, checkpoint.with_suffix(".tmp")):
            left.unlink(missing_ok=True)
    return result["status"]


def result_of(
    order: Order,
    built: Built,
    metrics_file: MetricsFile,
    metrics: Mapping[str, float],
    examples: float,
    started: float,
) -> dict[str, Any]:
    """What result.json says of a training that ended."""
    finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    chance = chance_of(built.model, metrics, examples)
    diverged = (
        metrics_file.diverged
        or learned_nothing(chance, metrics)
        or any(
            value is None and ("loss" in name.lower() or name in order.metrics)
            for name, value in finite.items()
        )
    )
    commit, dirty = code_version(built.model)
    return {
        "schema": 1,
        "id": order.trial,
        "status": "diverged" if diverged else "done",
        "seed": order.seed,
        "metrics": finite,
        "epochs": metrics_file.epochs,
        "stopped_early": stopped_early(built.trainer),
        "steps": int(built.trainer.global_step),
        "seconds": time.time() - started,
        "parameters": count_parameters(built.model),
        "chance": chance,
        "attempt": order.attempt,
        "resumed": False,
        "started": datetime.fromtimestamp(started, UTC).isoformat(),
        "finished": datetime.now(UTC).isoformat(),
        "environment": environment(built, order.threads),
        "commit": commit,
        "dirty": dirty,
    }


def _fit_and_test(built: Built, order: Order, resume: Path | None) -> dict[str, float]:
    trainer, model, data = built.trainer, built.model, built.data
    trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True)
    metrics = mean_over_ranks(floats(trainer.callback_metrics))
    if order.test and tests(model, data):
        path = trainer.checkpoint_callback.best_model_path if order.weights == "best" else None
        trainer.test(model, datamodule=data, ckpt_path=path, verbose=False)
        metrics |= mean_over_ranks(floats(trainer.callback_metrics))
    return metrics


def _save_weights(built: Built, path: Path) -> None:
    """Write the module's weights as they were tested, to be loaded with ``weights_only``."""
    state = built.trainer.strategy.lightning_module_state_dict()
    if built.trainer.is_global_zero:
        temporary = path.with_suffix(".tmp")
        # Through a file of Python's, so that a full disk is told from other errors.
        with temporary.open("wb") as file:
            torch.save({"state_dict": {key: value.cpu() for key, value in state.items()}}, file)
        temporary.replace(path)


def test_examples(trainer: Any) -> int | None:
    """Examples in the test set, where its loader tells."""
    dataset: Any = getattr(trainer.test_dataloaders, "dataset", None)
    return len(dataset) if hasattr(dataset, "__len__") else None


def _readable(checkpoint: Path) -> bool:
    """Whether there is a checkpoint that can be read without running what is in it."""
    if not checkpoint.exists():
        return False
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        print(f"starting afresh, {checkpoint} cannot be read safely: {error}")
        checkpoint.unlink(missing_ok=True)
        return False
    return True


def tests(model: Any, data: Any) -> bool:
    """Whether the module has a test step and somebody a test loader."""

    def own(thing: Any, method: str) -> bool:
        found = getattr(type(thing), method, None)
        home = getattr(found, "__module__", "") or ""
        return found is not None and not home.startswith(("pytorch_lightning.", "lightning."))

    loads = own(model, "test_dataloader") or (data is not None and own(data, "test_dataloader"))
    return own(model, "test_step") and loads


def stopped_early(trainer: Any) -> bool:
    """Whether a training ended before the epochs and the steps that its schedule has."""
    epochs, steps = trainer.max_epochs, trainer.max_steps
    through = [trainer.current_epoch >= epochs] if epochs is not None and epochs >= 0 else []
    through += [trainer.global_step >= steps] if steps >= 0 else []
    return bool(through) and not any(through)


def count_parameters(model: torch.nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def environment(built: Built, threads: int) -> dict[str, Any]:
    """What a reader needs to know of the machine."""
    package = built.namespace.split(".")[0]
    device = built.trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": importlib.metadata.version(package.replace("_", "-")),
        "ablations": __version__,
        "platform": platform.platform(),
        "device": name,
        "threads": threads,
        "host": socket.gethostname(),
    }


def floats(metrics: Any) -> dict[str, float]:
    """Logged tensors as numbers."""
    return {name: float(value) for name, value in metrics.items()}


if __name__ == "__main__":
    from ablations.sweep import ranks

    ranks.main()
