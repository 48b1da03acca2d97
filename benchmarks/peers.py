"""The same trainings by others: a bare PyTorch loop, Hydra's joblib launcher, Ray Tune.

    python -m benchmarks.peers loop|hydra|tune SPEC

SPEC is a JSON file that :mod:`benchmarks.sweep` writes: the base's model and data, the arms, the
seeds, the epochs, the workers, and the folder in which each training leaves its test error.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from ablations.data import PackedDataModule
from ablations.nets import AlexNet

TEST = "test/top1_error"


def made(spec: dict[str, Any], arm: str, seed: int) -> tuple[AlexNet, PackedDataModule]:
    """Net and data of a training, as a trial's seed makes them."""
    pl.seed_everything(seed, verbose=False)
    return AlexNet(**{**spec["model"], **spec["arms"][arm]}), PackedDataModule(**spec["data"])


def leave(spec: dict[str, Any], arm: str, seed: int, error: float) -> None:
    (Path(spec["folder"]) / f"{arm} {seed}.json").write_text(json.dumps({TEST: error}))


def bare(spec: dict[str, Any], arm: str, seed: int) -> float:
    """A training without Lightning, as `looped` does it."""
    return looped(*made(spec, arm, seed), spec["epochs"])


def looped(net: Any, data: Any, epochs: int) -> float:
    """Forward, backward, update, and the errors of each epoch; returns the test error."""
    data.setup("fit")
    made_up = net.configure_optimizers()
    optimizer, schedule = made_up["optimizer"], made_up["lr_scheduler"]
    training, validation = data.train_dataloader(), data.val_dataloader()
    for epoch in range(epochs):
        if hasattr(training, "set_epoch"):
            training.set_epoch(epoch)
        net.train()
        sums = torch.zeros(3)
        for step, (images, labels) in enumerate(training):
            for dropout in getattr(net, "_dropouts", ()):
                dropout.step = (epoch, step, 0)
            logits = net(images)
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sums += counted(logits.detach(), labels, loss.detach())
        schedule.step()
        judged(net, validation)
    return judged(net, data.test_dataloader())


def counted(logits: torch.Tensor, labels: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
    wrong = (logits.argmax(1) != labels).sum()
    return torch.stack((wrong, loss * len(labels), torch.tensor(len(labels))))


@torch.no_grad()
def judged(net: torch.nn.Module, batches: Any) -> float:
    """Error in percent."""
    net.eval()
    sums = torch.zeros(3)
    for images, labels in batches:
        logits = net(images)
        sums += counted(logits, labels, F.cross_entropy(logits, labels))
    return float(100 * sums[0] / sums[2])


def lightning(spec: dict[str, Any], arm: str, seed: int) -> float:
    """A training by Lightning's Trainer, as the base has it."""
    torch.set_num_threads(1)
    net, data = made(spec, arm, seed)
    trainer = pl.Trainer(**spec["trainer"], max_epochs=spec["epochs"])
    trainer.fit(net, datamodule=data)
    trainer.test(net, datamodule=data, verbose=False)
    return float(trainer.callback_metrics[TEST])


def loop(spec: dict[str, Any], _: Path) -> None:
    """All trainings in one process, or one by one to so many as there are workers."""
    trainings = [(spec, arm, seed) for seed in spec["seeds"] for arm in spec["arms"]]
    if spec["workers"] == 1:
        for training in trainings:
            one(*training)
        return
    with ProcessPoolExecutor(spec["workers"], get_context("spawn")) as pool:
        for done in [pool.submit(one, *training) for training in trainings]:
            done.result()


def one(spec: dict[str, Any], arm: str, seed: int) -> None:
    torch.set_num_threads(1)
    leave(spec, arm, seed, bare(spec, arm, seed))


def hydra(spec: dict[str, Any], file: Path) -> None:
    """Multirun with the joblib launcher and its defaults: loky's processes."""
    import hydra as library
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store("training", {"spec": str(file), "arm": "", "seed": 0})
    sys.argv = [
        "training",
        "--multirun",
        f"arm={','.join(spec['arms'])}",
        f"seed={','.join(map(str, spec['seeds']))}",
        "hydra/launcher=joblib",
        f"hydra.launcher.n_jobs={spec['workers']}",
        f"hydra.sweep.dir={spec['folder']}/hydra",
    ]
    library.main(version_base=None, config_name="training", config_path=None)(job)()


def job(config: Any) -> None:
    spec = json.loads(Path(config.spec).read_text())
    leave(spec, config.arm, config.seed, lightning(spec, config.arm, config.seed))


def tune(spec: dict[str, Any], _: Path) -> None:
    import ray
    from ray import tune as library

    ray.init(num_cpus=spec["workers"], include_dashboard=False, log_to_driver=False)

    def trial(config: dict[str, Any]) -> dict[str, float]:
        error = lightning(spec, config["arm"], config["seed"])
        leave(spec, config["arm"], config["seed"], error)
        return {"error": error}

    grid = {name: library.grid_search(list(spec[f"{name}s"])) for name in ("arm", "seed")}
    storage = library.RunConfig(storage_path=f"{spec['folder']}/ray", verbose=0)
    library.Tuner(
        library.with_resources(trial, {"cpu": 1}), param_space=grid, run_config=storage
    ).fit()
    ray.shutdown()


if __name__ == "__main__":
    from benchmarks import peers  # by its name, so that workers find what they are to run

    asked = Path(sys.argv[2])
    getattr(peers, sys.argv[1])(json.loads(asked.read_text()), asked)
