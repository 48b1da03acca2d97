"""Modules that know nothing of common random numbers see the same examples in every arm."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, TensorDataset

from ablations.seeds import stream_seed
from ablations.study import load_study
from ablations.sweep.randomness import EpochOrder, give_common_order, reseed
from ablations.sweep.trial import run_trial
from tests.sweep.conftest import order
from tests.toy import NAMESPACES, edit_base, module_name, write_project


def test_an_epochs_order() -> None:
    sampler = EpochOrder(50, seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(50)) != first
    assert list(sampler) == first and len(sampler) == 50
    sampler.set_epoch(1)
    assert list(sampler) not in (first, list(range(50)))
    assert list(EpochOrder(50, 3, epoch=1)) == list(sampler)
    assert list(EpochOrder(50, 4)) != first


def test_an_order_that_is_gone_on_with() -> None:
    sampler = EpochOrder(10, seed=0, epoch=2, skip=4)
    assert list(sampler) == list(EpochOrder(10, 0, 2))[4:]
    # only the epoch that was broken off is short
    assert list(sampler) == list(EpochOrder(10, 0, 2))


def test_a_reseed_is_torchs_and_queues_nothing_for_devices_that_are_not_in_use() -> None:
    if torch.cuda.is_initialized():
        pytest.skip("a CUDA device is in use")
    queued = len(torch.cuda._queued_calls)
    reseed(3, "step", 7)
    drawn = torch.rand(3)
    assert len(torch.cuda._queued_calls) == queued
    torch.manual_seed(stream_seed(3, "step", 7))
    assert torch.equal(drawn, torch.rand(3))


def loader(**options: Any) -> "DataLoader[Any]":
    return DataLoader(TensorDataset(torch.arange(10)), batch_size=4, **options)


def seen(batches: "DataLoader[Any]") -> list[int]:
    return [int(example) for (batch,) in batches for example in batch]


def test_a_shuffling_loader_is_given_the_order() -> None:
    shuffling = loader(shuffle=True)
    give_common_order(shuffling, 5, 0, 0)
    torch.manual_seed(1)
    first = seen(shuffling)
    torch.manual_seed(2)
    assert seen(shuffling) == first == list(EpochOrder(10, 5))
    resumed = loader(shuffle=True)
    give_common_order(resumed, 5, 0, 2)
    assert seen(resumed) == first[8:]


def test_an_epoch_takes_nothing_from_the_global_stream() -> None:
    shuffling = loader(shuffle=True)
    give_common_order(shuffling, 5, 0, 0)
    state = torch.get_rng_state()
    seen(shuffling)
    assert torch.equal(state, torch.get_rng_state())


def test_loaders_with_a_logic_of_their_own_are_left_alone() -> None:
    data = TensorDataset(torch.arange(10))
    replacing = RandomSampler(data, replacement=True)
    for sampler in (SequentialSampler(data), replacing, [3, 1, 2]):
        own = loader(sampler=sampler)
        give_common_order(own, 5, 0, 0)
        assert own.batch_sampler is not None
        assert own.batch_sampler.sampler is sampler  # type: ignore[attr-defined]
    data_of_its_own = DataLoader(data, batch_sampler=[[0, 1], [2]])
    for other in (data_of_its_own, DataLoader(data, batch_size=None, shuffle=True), [1, 2], None):
        before = getattr(other, "batch_sampler", None)
        give_common_order(other, 5, 0, 0)
        assert getattr(other, "batch_sampler", None) is before


def test_reseed() -> None:
    def draws() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    reseed(0, "step", 3)
    one = draws()
    reseed(0, "step", 3)
    assert draws() == one
    reseed(0, "step", 4)
    assert not set(draws()) & set(one)


_RECORDS = """\
from {module} import TwoClasses


class Records(TwoClasses):
    def __init__(self, file: str = "", **kwargs):
        super().__init__(**kwargs)
        self.file = file

    def on_train_batch_start(self, batch, batch_idx):
        with open(self.file, "a") as file:
            file.write(f"{{self.current_epoch}} {{batch[0].double().sum().item()}}\\n")
"""


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_arm_sees_the_same_batches(tmp_path: Path, namespace: str) -> None:
    module = module_name(namespace)
    file = write_project(tmp_path, namespace)
    (tmp_path / f"records_{module}.py").write_text(_RECORDS.format(module=module))
    edit_base(tmp_path, {"model.class_path": f"records_{module}.Records"})
    study = load_study(file)
    seen = {}
    for name, seed, changes in [
        ("one", 0, {}),
        ("no dropout", 0, {"dropout": 0.0}),
        ("wider", 0, {"hidden": 33, "dropout": 0.5}),
        ("other seed", 1, {}),
    ]:
        batches = tmp_path / f"{name}.txt"
        outcome = run_trial(order(study, tmp_path / name, seed=seed, file=str(batches), **changes))
        assert outcome.status == "done"
        seen[name] = batches.read_text().splitlines()
    assert len(seen["one"]) == len(set(seen["one"])) == 12
    assert seen["one"] == seen["no dropout"] == seen["wider"]
    assert not set(seen["one"]) & set(seen["other seed"])


def test_modules_that_bring_their_own_draws_are_not_reseeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = module_name("pytorch_lightning")
    file = write_project(tmp_path)
    (tmp_path / f"records_{module}.py").write_text(_RECORDS.format(module=module))
    edit_base(tmp_path, {"model.class_path": f"records_{module}.Records"})
    study = load_study(file)

    def trained(name: str) -> tuple[list[str], list[str]]:
        batches = tmp_path / f"{name}.txt"
        run_trial(order(study, tmp_path / name, file=str(batches)))
        rows = (tmp_path / name / "metrics.csv").read_text().splitlines()
        losses = [row.split(",")[3] for row in rows if "train/loss" in row]
        return losses, batches.read_text().splitlines()

    reseeded = trained("reseeded")
    import two_classes_pytorch_lightning as own  # type: ignore[import-not-found]

    monkeypatch.setattr(own.TwoClasses, "common_random_numbers", True, raising=False)
    # the data's own draws might still follow what the module consumes
    assert trained("module") == reseeded
    monkeypatch.setattr(own.Points, "common_random_numbers", True, raising=False)
    losses, batches = trained("both")
    assert losses != reseeded[0]
    assert batches == reseeded[1]
