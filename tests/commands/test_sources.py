"""A study that starts from another study's trials: these are trained first, and only if needed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ablations.study import load_study, trials
from tests.conftest import Ablate
from tests.toy import write_yaml

RUN = ("run", "tuned.yaml", "--no-report")
NET = {"image_size": 8, "channels": 1, "width": 0.03125, "recipe": "as-run"}


@pytest.fixture(autouse=True, scope="module")
def guessing_is_no_failure() -> Iterator[None]:
    """Nets of a few steps, or of a rate of 0, do not learn: here they need not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ablations.sweep.trial.learned_nothing", lambda *_: False)
        yield


def write(folder: Path, rate: float = 0.01, **tuned: Any) -> None:
    """A source on three digits and a study of two others, of one epoch on 64 images."""
    base = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "num_sanity_val_steps": 0},
        "model": {
            "class_path": "ablations.nets.AlexNet",
            "init_args": {**NET, "num_classes": 3, "learning_rate": rate},
        },
        "data": {
            "class_path": "ablations.data.PackedDataModule",
            "init_args": {"path": "digits", "limit": 64, "classes": [0, 1, 2]},
        },
    }
    common = {"base": "base.yaml", "metric": "test/top1_error", "seeds": 2}
    write_yaml(folder / "base.yaml", base)
    source = {"question": "Where from?", "baseline": "relu"}
    source["arms"] = {"relu": {}, "tanh": {"model.init_args.activation": "tanh"}}
    write_yaml(folder / "source.yaml", common | source)
    # A rate of 0 leaves the weights as they were loaded.
    two = {
        "model.init_args.num_classes": 2,
        "model.init_args.learning_rate": 0.0,
        "data.init_args.classes": [3, 4],
    }
    start = {"model.init_args.init_from": {"study": "source.yaml", "arm": "relu"}}
    content = {"question": "Where to?", "baseline": "scratch", "keep_weights": True}
    content |= {"arms": {"scratch": two, "tuned": {**two, **start}}}
    write_yaml(folder / "tuned.yaml", common | content | tuned)


def folder_of(study: str, arm: str, seed: int) -> Path:
    (found,) = (t for t in trials(load_study(study)) if (t.arm, t.seed) == (arm, seed))
    return Path("runs") / "trials" / found.id


def weights(study: str, arm: str, seed: int) -> dict[str, torch.Tensor]:
    file = folder_of(study, arm, seed) / "weights.ckpt"
    state: dict[str, torch.Tensor] = torch.load(file, weights_only=True)["state_dict"]
    return state


def trained() -> dict[str, int]:
    files = Path("runs").glob("trials/*/result.json")
    return {file.parent.name: file.stat().st_mtime_ns for file in files}


def test_from_pretraining_to_fine_tuning(ablate: Ablate, tmp_path: Path) -> None:
    write(tmp_path)
    planned = json.loads(ablate("plan", "tuned.yaml", "--format", "json").out)
    assert planned["before"] == [{"study": "source", "trials": 2}]
    assert planned["arms"][1]["changes"] == {"model.init_args.init_from": [None, "source/relu"]}
    assert "before them, 2 trials of source" in ablate("plan", "tuned.yaml").out
    assert not Path("runs").exists()

    told = ablate(*RUN)
    assert (told.code, told.errors) == (0, [])
    assert "source: 2 trials first: others start from them" in told.out
    assert len(trained()) == 2 + 4
    for seed in (0, 1):
        source, tuned = weights("source.yaml", "relu", seed), weights("tuned.yaml", "tuned", seed)
        scratch = weights("tuned.yaml", "scratch", seed)
        for name, value in tuned.items():
            expected = scratch if name.startswith("network.fc8.") else source
            assert torch.equal(value, expected[name])
        assert not torch.equal(tuned["network.fc6.weight"], scratch["network.fc6.weight"])
        config = yaml.safe_load(
            (folder_of("tuned.yaml", "tuned", seed) / "config.yaml").read_text()
        )
        path = Path(config["model"]["init_args"]["init_from"])
        assert path.samefile(folder_of("source.yaml", "relu", seed) / "weights.ckpt")

    # It goes on where it was: nothing is trained again, the table of the source has its holes.
    before = trained()
    assert "0 trials to run" in ablate(*RUN).out
    assert trained() == before
    states = json.loads(ablate("status", "source.yaml", "--format", "json").out)["trials"]
    assert [t["state"] for t in states] == ["done", "done", "waiting", "waiting"]

    # A source without its weights is trained again, but only for a trial that needs it.
    (folder_of("source.yaml", "relu", 0) / "weights.ckpt").unlink()
    (folder_of("source.yaml", "relu", 1) / "weights.ckpt").unlink()
    (folder_of("tuned.yaml", "tuned", 1) / "result.json").unlink()
    told = ablate(*RUN)
    assert (
        "source: 1 trials first: others start from them (1 again, they kept no weights)" in told.out
    )
    after = trained()
    assert {key for key in before if after[key] != before[key]} == {
        folder_of("source.yaml", "relu", 1).name,
        folder_of("tuned.yaml", "tuned", 1).name,
    }

    # Another source is another trial; what does not start from it stays.
    source = yaml.safe_load((tmp_path / "source.yaml").read_text())
    source["arms"]["relu"] = {"model.init_args.learning_rate": 0.02}
    write_yaml(tmp_path / "source.yaml", source)
    told = ablate(*RUN)
    assert "2 trials to run, 2 already done" in told.out
    assert {key: now for key, now in trained().items() if key in after} == after
    assert len(trained()) == len(after) + 4


def test_what_starts_from_a_trial_that_failed_waits(
    ablate: Ablate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    monkeypatch.setattr("ablations.nets.AlexNet.on_train_epoch_end", fails, raising=False)
    told = ablate(*RUN)
    assert told.code == 1
    assert "2 trials wait for others that failed" in told.out
    assert trained() == {}
    states = json.loads(ablate("status", "tuned.yaml", "--format", "json").out)["trials"]
    assert [t["state"] for t in states] == ["failed", "failed", "waiting", "waiting"]


def fails(self: Any) -> None:
    if not self.trainer.fast_dev_run:
        raise RuntimeError("too bad")
