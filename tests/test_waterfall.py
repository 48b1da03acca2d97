"""The ways that the waterfall compares ask the same with the trials that are said."""

from pathlib import Path

import pytest
import yaml

from ablations.study import load_study, shipped_configs, trials
from benchmarks.waterfall import BASES, WAYS, study_of


@pytest.mark.parametrize(("question", "counts"), [("digits", (72, 24)), ("cifar10", (48, 24))])
def test_each_way_is_a_study(tmp_path: Path, question: str, counts: tuple[int, int]) -> None:
    base = shipped_configs() / "bases" / f"{BASES[question]}.yaml"
    (tmp_path / "base.yaml").write_text(base.read_text())
    found = {}
    for way in WAYS:
        file = tmp_path / "asked.yaml"
        file.write_text(yaml.safe_dump(study_of(question, way), sort_keys=False))
        study = load_study(file)
        found[way] = len(trials(study))
        assert (study.plan is not None) is (way == "seeds until clear")
    assert found == {way: counts[way == "fractional design"] for way in WAYS}
