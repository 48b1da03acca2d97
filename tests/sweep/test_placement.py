"""What a trial takes of a machine, and how it is shared out; no GPU is needed to compute it."""

from pathlib import Path
from typing import Any

import pytest

from ablations.study import InputError, Study, load_study
from ablations.sweep.executors import placement
from ablations.sweep.executors.placement import (
    Needs,
    Slot,
    devices_of,
    local_slots,
    needs_of,
    visible_gpus,
)
from ablations.sweep.orders import order_for
from tests.toy import edit_base, write_project


def cores(slots: list[Slot]) -> list[list[int]]:
    return [sorted(slot.cores) for slot in slots]


@pytest.mark.parametrize(
    ("workers", "threads", "most", "shares"),
    [
        (None, 1, 9, [[0], [1], [2], [3]]),
        (None, 2, 9, [[0, 1], [2, 3]]),
        (None, 8, 9, [[]]),
        (None, 1, 3, [[0], [1], [2]]),
        (1, 1, 9, [[0, 1, 2, 3]]),
        (2, 1, 9, [[0, 1], [2, 3]]),
        (3, 2, 9, [[], [], []]),
        (6, 1, 9, [[]] * 6),
        (2, 1, 0, [[0, 1, 2, 3]]),
    ],
)
def test_shares_of_the_processor(
    monkeypatch: pytest.MonkeyPatch,
    workers: int | None,
    threads: int,
    most: int,
    shares: list[list[int]],
) -> None:
    monkeypatch.setattr(placement, "_available_cores", lambda: {0, 1, 2, 3})
    slots = local_slots(workers, Needs(threads=threads, gpus="never"), most)
    assert cores(slots) == shares
    assert {slot.environment["OMP_NUM_THREADS"] for slot in slots} == {str(threads)}
    assert not any("CUDA_VISIBLE_DEVICES" in slot.environment for slot in slots)


def test_a_slot_for_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, GPU-abc")
    assert visible_gpus() == ["0", "GPU-abc"]
    monkeypatch.setattr(placement, "_available_cores", lambda: {0, 1, 2, 3})

    def devices(workers: int | None) -> list[str]:
        slots = local_slots(workers, Needs(), 9)
        return [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots]

    assert devices(None) == ["0", "GPU-abc"]
    assert devices(3) == ["0", "GPU-abc", "0"]
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert visible_gpus() == []


@pytest.mark.parametrize(
    ("needs", "workers", "shown"),
    [
        (Needs(per_gpu=2), None, ["a", "b", "c", "d", "e"] * 2),
        (Needs(per_gpu=2), 3, ["a", "b", "c"]),
        (Needs(devices=2), None, ["a,b", "c,d"]),
        (Needs(devices=2), 1, ["a,b"]),
        (Needs(devices=5), None, ["a,b,c,d,e"]),
        (Needs(named=2), None, ["a,b", "c,d"]),
    ],
)
def test_gpus_shared_and_joined(
    monkeypatch: pytest.MonkeyPatch, needs: Needs, workers: int | None, shown: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c,d,e")
    slots = local_slots(workers, needs, 99)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots] == shown


def test_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(InputError, match="a trial takes 2 GPUs, this machine has 1"):
        local_slots(None, Needs(devices=2), 9)


def test_ranks_on_a_processor_need_a_core_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "_available_cores", lambda: set(range(8)))
    slots = local_slots(None, Needs(devices=2, threads=2, gpus="never"), 9)
    assert cores(slots) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def study_with(folder: Path, arm: dict[str, Any] | None = None, **trainer: Any) -> Study:
    arms = {"full": {}, "other": arm or {"model.init_args.bias": False}}
    file = write_project(folder, arms=arms)
    edit_base(folder, {f"trainer.{key}": value for key, value in trainer.items()})
    return load_study(file)


@pytest.mark.parametrize(
    ("devices", "count"),
    [(None, 1), ("auto", 1), (3, 3), ("3", 3), ([1, 3], 2), ("0,2", 2), ([1], 1), (-1, 4)],
)
def test_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: Any, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    study = study_with(tmp_path, devices=devices, accelerator="gpu")
    assert needs_of([study]) == Needs(count, 1, "always")
    assert order_for(study, "other", 0, "id", tmp_path, 1).devices == count


@pytest.mark.parametrize("devices", [0, -2, "many", True, 1.5])
def test_no_number_of_devices(tmp_path: Path, devices: Any) -> None:
    with pytest.raises(InputError, match="trainer.devices: expected a number of devices, got"):
        needs_of([study_with(tmp_path, devices=devices)])


def test_the_arm_that_takes_most_decides(tmp_path: Path) -> None:
    study = study_with(tmp_path, {"trainer.devices": 2, "trainer.strategy": "ddp"})
    assert needs_of([study]) == Needs(2, 1, "never")
    assert [devices_of(study, arm) for arm in study.arms] == [1, 2]


def test_several_nodes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trainer.num_nodes: a trial runs on one machine"):
        needs_of([study_with(tmp_path, num_nodes=2)])


def test_sharing_a_gpu(tmp_path: Path) -> None:
    assert needs_of([study_with(tmp_path, accelerator="auto")], 4) == Needs(1, 1, "auto", 4)
    assert needs_of([study_with(tmp_path)], 4).per_gpu == 1
    with pytest.raises(
        InputError, match="--per-gpu: a trial takes 2 devices, so none can share one"
    ):
        needs_of([study_with(tmp_path, accelerator="gpu", devices=2)], 4)


def test_a_net_that_names_its_devices_sees_them(tmp_path: Path) -> None:
    two = {"model.init_args.columns": ["cuda:0", "cuda:1"]}
    study = study_with(tmp_path, two, accelerator="gpu")
    assert needs_of([study]) == Needs(1, 1, "always", named=2)
    assert needs_of([study]).width == 2
    assert order_for(study, "other", 0, "id", tmp_path, 1).devices == 1
    with pytest.raises(InputError, match="--per-gpu: a trial takes 2 devices"):
        needs_of([study], 2)
    (tmp_path / "ddp").mkdir()
    study = study_with(tmp_path / "ddp", two, accelerator="gpu", devices=2)
    with pytest.raises(InputError, match="a net names devices of its own .cuda:1.: it is either"):
        needs_of([study])
