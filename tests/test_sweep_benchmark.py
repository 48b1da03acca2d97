"""The contenders of the sweep benchmark train the same nets."""

from pathlib import Path

import pytest
import yaml

from ablations.study import load_study, trials
from benchmarks.peers import bare, lightning
from benchmarks.sweep import CONTENDERS, LABELS, specification, write_study


def test_the_bare_loop_and_lightning_come_to_the_same_error() -> None:
    spec = specification(2, 2)
    spec["model"] |= {"width": 0.0625, "connectivity": "dense"}
    assert bare(spec, "no-lrn", 3) == pytest.approx(lightning(spec, "no-lrn", 3), abs=1e-4)


def test_the_study_asks_for_the_same_trainings(tmp_path: Path) -> None:
    spec = specification(6, 2)
    study = load_study(write_study(spec, tmp_path))
    assert len(trials(study)) == 6
    assert study.seeds == tuple(spec["seeds"])
    arms = yaml.safe_load((tmp_path / "sweep.yaml").read_text())["arms"]
    assert arms["no-lrn"] == {"trainer.max_epochs": 2, "model.init_args.lrn": False}
    assert CONTENDERS.keys() == LABELS.keys()
