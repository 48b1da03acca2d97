"""Every shipped study plans, and trains a batch, on made images or on those of ABLATIONS_DATA."""

from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from ablations.commands.pack import pack
from ablations.commands.plan import plan
from ablations.data.packed import Split
from ablations.data.packed import pack as in_memory
from ablations.data.writing import write_packed
from ablations.nets.alexnet import spec
from ablations.nets.spec import parameters
from ablations.study import Study, load_study
from ablations.study.design import trials
from ablations.study.yamlfile import expand, merge
from ablations.sweep.differences import check_rehearsals
from ablations.sweep.orders import order_for
from ablations.sweep.rehearsal import rehearse
from ablations.workspace import Workspace
from tests.data.images import REAL

CONFIGS = Path(__file__).parents[1] / "study_configs"
STUDIES = sorted(file.stem for file in CONFIGS.glob("*.yaml"))
# Where the real images of a data set are, their size, and two classes of them.
SHARED: dict[str, tuple[str, int, str]] = {
    "cifar10": ("cifar10-jpeg.tar.gz", 32, "cat,dog"),
    "imagenet": ("imagenette-small.tar", 256, "n01440764,n02979186"),
}
# Eight GPUs and batches of 128 are not needed to see that a study fits together.
ONE_CPU = {
    "trainer.accelerator": "cpu",
    "trainer.devices": 1,
    "trainer.strategy": "auto",
    "data.init_args.batch_size": 2,
}


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Packed folders in place of those that the bases name."""
    folder = tmp_path_factory.mktemp("data")
    for name, (archive, size, classes) in SHARED.items():
        if REAL:
            quiet = Console(quiet=True)
            pack("folder", Path(REAL) / archive, folder / name, quiet, size=size, classes=classes)
        else:
            made = np.random.default_rng(0).integers(0, 256, (60, size, size, 3), np.uint8)
            labels = np.arange(60) % 2
            splits = {"train": Split(made, labels), "test": Split(made[:6], labels[:6])}
            write_packed(in_memory("made", ("a", "b"), splits), folder / name)
    return {f"data/{name}": str(folder / name) for name in SHARED}


def shrunk(name: str, images: dict[str, str], **more: Any) -> Study:
    """A study as it is shipped, on one CPU and other images."""
    study = load_study(CONFIGS / f"{name}.yaml")
    path = study.base_config["data"]["init_args"]["path"]
    changes = ONE_CPU | {"data.init_args.path": images.get(path, path)} | more
    return replace(study, base_config=merge(dict(study.base_config), expand(changes)))


@pytest.mark.parametrize("name", STUDIES)
def test_a_shipped_study_plans_and_trains(
    name: str, images: dict[str, str], tmp_path: Path
) -> None:
    narrow = {"model.init_args.width": 0.03} if name.startswith("imagenet") else {}
    study = shrunk(name, images, **narrow)
    planned = plan(study, Workspace(tmp_path / "runs"))
    assert [row["arm"] for row in planned["arms"]] == [arm.name for arm in study.arms]
    assert all(row["trials"] == len(study.seeds) for row in planned["arms"])
    assert all(row["parameters"] and row["flops"] for row in planned["arms"])
    orders = {
        arm.name: order_for(study, arm.name, study.seeds[0], "rehearsal", tmp_path, attempt=1)
        for arm in (study.arm(study.baseline), study.arms[-1])
    }
    rehearsals = {arm: rehearse(order) for arm, order in orders.items()}
    assert check_rehearsals(study, rehearsals) == []


@pytest.mark.parametrize("data", SHARED)
def test_ten_crops_and_the_centre_are_read_from_the_same_trials(data: str, tmp_path: Path) -> None:
    study = load_study(CONFIGS / f"{data}-ten-crop.yaml")
    assert len({trial.id for trial in trials(study)}) == len(study.seeds)
    planned = plan(study, Workspace(tmp_path / "runs"))
    assert (planned["trials"], planned["done"]) == (len(study.seeds), 0)
    assert len({study.metric_of(arm.name) for arm in study.arms}) == 2


@pytest.mark.parametrize("name", [name for name in STUDIES if name.endswith("depth-control")])
def test_a_control_of_equal_parameters_has_them(name: str) -> None:
    study = load_study(CONFIGS / f"{name}.yaml")
    takes = signature(spec).parameters
    counts = {}
    for arm in study.arms:
        config = merge(dict(study.base_config), dict(arm.overrides))
        given = config["model"]["init_args"]
        shape = (given.get("channels", 3), given["image_size"], given["image_size"])
        net = spec(**{key: value for key, value in given.items() if key in takes})
        counts[arm.name] = parameters(net, shape)
    whole = counts.pop(study.baseline)
    assert all(abs(count / whole - 1) < 0.02 for count in counts.values()), counts


def test_a_study_for_eight_gpus_plans_as_written_on_a_machine_with_none(tmp_path: Path) -> None:
    planned = plan(load_study(CONFIGS / "imagenet-lrn.yaml"), Workspace(tmp_path / "runs"))
    assert {row["arm"]: row["parameters"] for row in planned["arms"]} == dict.fromkeys(
        ("lrn", "no-lrn", "no-lrn1", "no-lrn2"), 60_965_224
    )


def test_the_full_alexnet_trains_a_batch(images: dict[str, str], tmp_path: Path) -> None:
    study = shrunk("imagenet-lrn", images)
    made = rehearse(order_for(study, "lrn", 0, "rehearsal", tmp_path, attempt=1))
    assert made.error is None
    assert made.parameters == 60_965_224
    assert {"test/top1_error", "test/top5_error", "val/top1_error"} <= set(made.logged)


@pytest.mark.parametrize("base", sorted(file.name for file in (CONFIGS / "bases").glob("*.yaml")))
def test_every_base_has_a_study(base: str) -> None:
    bases = {load_study(CONFIGS / f"{name}.yaml").base.name for name in STUDIES}
    assert base in bases


def test_bases_name_the_folders_that_pack_is_told_to_make() -> None:
    for name in SHARED:
        for file in (CONFIGS / "bases").glob(f"{name}_*.yaml"):
            text = file.read_text(encoding="utf-8")
            path = yaml.safe_load(text)["data"]["init_args"]["path"]
            assert path == f"data/{name}" and f"--out {path}" in text
