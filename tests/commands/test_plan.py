"""What ``ablate plan`` tells of layers."""

import json
from pathlib import Path

from tests.conftest import Ablate
from tests.toy import write_project


def test_layers_of_the_baseline_and_where_arms_differ(ablate: Ablate) -> None:
    told = json.loads(ablate("plan", "depth", "--format", "json").out)
    layers = {row["arm"]: {each["name"]: each for each in row["layers"]} for row in told["arms"]}
    for row in told["arms"]:
        assert sum(each["parameters"] for each in row["layers"]) == row["parameters"]
    assert layers["eight-layers"]["conv1"] == {
        "name": "conv1",
        "gives": [12, 8, 8],
        "parameters": 12 * (9 + 1),
        "macs": 12 * 8 * 8 * 9,
        "flops": 2 * 12 * 8 * 8 * 9,
        "neurons": 12 * 8 * 8,
    }
    assert "conv5" not in layers["no-conv5"]

    lines = [" ".join(line.split()) for line in ablate("plan", "depth").out.splitlines()]
    start = lines.index("eight-layers conv1 12x8x8 120 13.8k 768")
    assert lines[start + 1] == "pool1 12x4x4"
    assert "total 317,794 885k 2,826" in lines
    at = lines.index("no-conv5 conv5 left out")
    assert lines[at : at + 4] == [
        "no-conv5 conv5 left out",
        "pool5 48x1x1",
        "relu5 left out",
        "fc6 512 25,088 49.2k 512",
    ]


def test_all_layers_of_one_arm(ablate: Ablate) -> None:
    out = ablate("plan", "depth", "--layers", "no-conv5").out
    assert "drop6" in out
    assert "left out" not in out
    told = ablate("plan", "depth", "--layers", "no-conv6")
    assert (told.code, told.out) == (2, "")
    assert 'no arm is called "no-conv6"' in told.errors[-1]


def test_a_model_that_tells_nothing_of_its_layers(ablate: Ablate, tmp_path: Path) -> None:
    write_project(tmp_path)
    told = ablate("plan", "toy.yaml")
    assert (told.code, "neurons" in told.out) == (0, False)
    told = ablate("plan", "toy.yaml", "--layers", "no-bias")
    assert told.code == 2
    assert told.errors == [
        "error: toy.yaml: arms.no-bias: its model has no layer_table() to tell of its layers"
    ]
