"""The scripts of analysis/ over a sweep that was really trained."""

import importlib
from pathlib import Path

import pytest

from tests.conftest import Ablate
from tests.toy import write_yaml


@pytest.mark.soak
def test_after_a_real_sweep(
    ablate: Ablate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nets of a few steps guess, which is no failure here.
    monkeypatch.setattr("ablations.sweep.trial.learned_nothing", lambda *_: False)
    data = {"path": "digits", "batch_size": 64, "limit": 128, "validation": 0.0}
    net = {"num_classes": 10, "image_size": 8, "channels": 1, "width": 0.05, "recipe": "as-run"}
    base = {
        "trainer": {"accelerator": "cpu", "devices": 1, "max_epochs": 2},
        "model": {
            "class_path": "ablations.nets.AlexNet",
            "init_args": {**net, "schedule": "fixed"},
        },
        "data": {"class_path": "ablations.data.PackedDataModule", "init_args": data},
    }
    study = {
        "question": "Does it matter?",
        "base": "base.yaml",
        "metric": "test/top1_error",
        "baseline": "relu",
        "arms": {"relu": {}, "tanh": {"model.init_args.activation": "tanh"}},
        "seeds": 2,
        "keep_weights": True,
        "claims": {"tanh": "alexnet#relu"},
    }
    write_yaml(tmp_path / "base.yaml", base)
    write_yaml(tmp_path / "small.yaml", study)
    assert ablate("run", "small.yaml", "--no-report").code == 0
    for name in ("error_deltas", "results_tables", "convergence", "filters", "predictions"):
        module = importlib.import_module(f"analysis.{name}")
        assert all(path.is_file() for path in getattr(module, name)())
    module = importlib.import_module("analysis.retrieval")
    written = module.retrieval(train_images=100, test_images=50)
    assert "last hidden layer" in written[2].read_text(encoding="utf-8")
