"""Workspaces with nets in them, made without training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from ablations import nets
from ablations.data.packed import Split, pack
from ablations.data.writing import write_packed
from ablations.study import Study, load_study, trials
from ablations.study.yamlfile import expand, flatten, merge
from ablations.workspace import Workspace, write_json
from tests.results.fabricate import METRIC, fabricate
from tests.toy import write_yaml

CLASSES = tuple("abcdefg")


def write_images(folder: Path, channels: int = 3, train: int = 70, test: int = 21) -> Path:
    """Packed noise of seven classes, whose brightness tells the class."""
    draws = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = np.arange(count, dtype=np.int64) % len(CLASSES)
        noise = draws.integers(0, 40, (count, 14, 14, channels))
        return Split((noise + 30 * labels[:, None, None, None]).astype(np.uint8), labels)

    write_packed(pack("made", CLASSES, {"train": split(train), "test": split(test)}), folder)
    return folder


def write_nets(
    folder: Path,
    arms: Mapping[str, Mapping[str, Any]],
    values: Mapping[str, Sequence[Any]],
    channels: int = 3,
    **study: Any,
) -> tuple[Study, Workspace]:
    """A study of small AlexNets whose trials have results, initial weights and predictions."""
    folder.mkdir(parents=True, exist_ok=True)
    images = folder / "images"
    if not images.exists():
        write_images(images, channels)
    arguments = {"num_classes": 7, "image_size": 12, "channels": channels, "width": 0.05}
    arguments |= {"without": [], "recipe": "as-run", "activation": "relu", "learning_rate": 0.01}
    data = {"path": str(images), "crop": 12, "batch_size": 32}
    base = {
        "model": {"class_path": "ablations.nets.AlexNet", "init_args": arguments},
        "data": {"class_path": "ablations.data.PackedDataModule", "init_args": data},
    }
    write_yaml(folder / "nets.yaml", base)
    content = {"question": "Does it matter?", "base": "nets.yaml", "metric": METRIC}
    content |= {"baseline": next(iter(arms)), "arms": dict(arms), **study}
    write_yaml(folder / "known.yaml", content)
    made = load_study(folder / "known.yaml")
    workspace = fabricate(made, folder / "runs", values)
    plain = flatten(base)
    learned = {
        arm.name: {
            "changes": {k: [plain.get(k), v] for k, v in flatten(dict(arm.overrides)).items()},
            "parameters": 10_000,
            "flops": 1_000_000,
        }
        for arm in made.arms
    }
    write_json(workspace.study_folder(made.name) / "arms.json", learned)
    for trial in trials(made):
        place = workspace.trial_folder(trial.id)
        if (place / "result.json").exists():
            config = merge(base, expand(dict(made.arm(trial.arm).overrides)))
            (place / "config.yaml").write_text(yaml.safe_dump(config))
            if made.keep_weights:
                _save_net(place / "weights.ckpt", config["model"]["init_args"], trial.seed)
            _save_predictions(place / "predictions.npz", trial.seed)
    return made, workspace


def _save_net(file: Path, arguments: Mapping[str, Any], seed: int) -> None:
    torch.manual_seed(seed)
    torch.save(nets.AlexNet(**arguments).state_dict(), file)


def _save_predictions(file: Path, seed: int) -> None:
    targets = np.arange(21, dtype=np.int64) % len(CLASSES)
    draws = np.random.default_rng(seed)
    ten, one = (draws.dirichlet(np.ones(7), 21).astype(np.float32) for _ in range(2))
    np.savez(file, targets=targets, probabilities=one, probabilities_ten_crop=ten)
