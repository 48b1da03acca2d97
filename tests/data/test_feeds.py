import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ablations.data.augment import Colour
from ablations.data.feeds import Batch, Feed, Resident, Streamed
from ablations.data.loaders import Augmentation, EvaluationBatches, Share, TrainBatches
from ablations.data.packed import Packed, Split, pack, read_packed
from ablations.data.writing import Encoding, write_packed

CPU = torch.device("cpu")
COUNT = 103
WHOLE = Augmentation((24, 20))
FULL = Augmentation((17, 19), padding=1, flip=True, colour=Colour(5 * torch.eye(3)))


@pytest.fixture(scope="module", params=["raw", "jpeg"])
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    encoding: Encoding = request.param
    folder = tmp_path_factory.mktemp("data") / encoding
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 24, 20, 3), np.uint8)
    made = pack("made", tuple(map(str, range(COUNT))), {"train": Split(images, np.arange(COUNT))})
    write_packed(made, folder, encoding)
    return read_packed(folder)


SAMPLES = torch.arange(2, COUNT)  # not all of the split


def resident(packed: Packed) -> Resident:
    return Resident.of(packed.splits["train"], SAMPLES, packed.statistics, CPU)


def streamed(packed: Packed, workers: int) -> Streamed:
    return Streamed.of(packed.splits["train"], SAMPLES, packed.statistics, CPU, workers)


def loaders(feed: Feed) -> Iterator[TrainBatches | EvaluationBatches]:
    for augmentation in (WHOLE, FULL):
        yield TrainBatches(feed, 10, augmentation, seed=3)
        yield TrainBatches(feed, 4, augmentation, 3, Share(1, 3))
    yield EvaluationBatches(feed, 7, (24, 20))
    yield EvaluationBatches(feed, 7, (13, 11), share=Share(2, 4))
    yield EvaluationBatches(feed, 7, (13, 11), ten_crop=True)


def same(one: list[Batch], two: list[Batch]) -> bool:
    return len(one) == len(two) and all(
        torch.equal(a, b) for x, y in zip(one, two, strict=True) for a, b in zip(x, y, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 1, 3, 8])
def test_streamed_batches_are_those_of_the_device(packed: Packed, workers: int) -> None:
    pairs = zip(loaders(resident(packed)), loaders(streamed(packed, workers)), strict=True)
    for from_device, from_disk in pairs:
        assert same(list(from_device), list(from_disk))
        assert same(list(from_disk), list(from_disk))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("workers", [0, 3])
def test_streams_of_a_gpu_give_the_same_batches(packed: Packed, workers: int) -> None:
    device, split = torch.device("cuda"), packed.splits["train"]
    lying = Resident.of(split, SAMPLES, packed.statistics, device)
    streaming = Streamed.of(split, SAMPLES, packed.statistics, device, workers)
    for one, two in zip(loaders(lying), loaders(streaming), strict=True):
        for _ in range(3):
            assert same(list(one), list(two))


def test_a_resumed_stream_goes_on_where_it_was(packed: Packed) -> None:
    class Loop:
        batch_idx = 3

    class Trainer:
        current_epoch, fit_loop = 2, Loop()

    whole, rest = (TrainBatches(streamed(packed, 2), 10, FULL, 3, trainer=Trainer()) for _ in "ab")
    rest.load_state_dict({})
    assert same(list(whole)[4:], list(rest))


def test_only_a_few_batches_are_made_ahead(packed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    take = Split.take

    def counted(self: Split, rows: np.ndarray, out: np.ndarray) -> None:
        taken.append(len(rows))
        take(self, rows, out)

    monkeypatch.setattr(Split, "take", counted)
    batches = iter(TrainBatches(streamed(packed, 2), 5, FULL, 3))
    next(batches)
    assert 1 <= len(taken) <= 4
    before = len(taken)
    next(batches)
    assert len(taken) <= before + 1 or len(taken) <= 5


def test_threads_end_with_the_epoch_and_where_it_is_left() -> None:
    images = np.zeros((50, 4, 4, 3), np.uint8)
    made = pack("made", ("a",), {"train": Split(images, np.zeros(50, np.int64))})
    feed = Streamed.of(made.splits["train"], torch.arange(50), made.statistics, CPU, 3)

    def alive() -> list[str]:
        return [t.name for t in threading.enumerate() if t.name.startswith("ablations-data")]

    batches = iter(EvaluationBatches(feed, 2, (4, 4)))
    next(batches)
    assert alive()
    batches.close()  # type: ignore[attr-defined]
    assert not alive()
    assert len(list(EvaluationBatches(feed, 2, (4, 4)))) == 25
    assert not alive()


@pytest.mark.parametrize("workers", [0, 3])
def test_an_error_of_a_thread_is_raised(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.zeros((50, 4, 4, 3), np.uint8)
    made = pack("made", ("a",), {"train": Split(images, np.zeros(50, np.int64))})
    feed = Streamed.of(made.splits["train"], torch.arange(50), made.statistics, CPU, workers)

    def torn(self: Split, rows: np.ndarray, out: np.ndarray) -> None:
        if 20 in rows:
            raise ValueError("packed image 20 is damaged")

    monkeypatch.setattr(Split, "take", torn)
    with pytest.raises(ValueError, match="image 20"):
        list(EvaluationBatches(feed, 2, (4, 4)))


def test_streamed_batches_serve_training_under_inference_mode(packed: Packed) -> None:
    with torch.inference_mode():
        loader = TrainBatches(streamed(packed, 2), 10, FULL, 1)
    weight = torch.ones(1, requires_grad=True)
    (next(iter(loader))[0] * weight).sum().backward()
    assert weight.grad is not None


def test_small_sets_are_resident_and_large_ones_streamed(tmp_path: Path) -> None:
    from ablations.data import PackedDataModule

    kinds = {
        gib: type(PackedDataModule("digits", resident_gib=gib)._feed("train", torch.arange(1000)))
        for gib in (2.0, 64_000 / 2**30, 63_000 / 2**30, 0.0)
    }
    assert list(kinds.values()) == [Resident, Resident, Streamed, Streamed]
    batches = [
        list(PackedDataModule("digits", resident_gib=gib, crop=7).train_dataloader())
        for gib in (2.0, 0.0)
    ]
    assert same(*batches)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_that_are_kept_stay_while_dropped_ones_give_their_memory(
    packed: Packed, workers: int
) -> None:
    feed = streamed(packed, workers)
    loader = TrainBatches(feed, 10, FULL, seed=3)
    fresh = [images.clone() for images, _ in TrainBatches(streamed(packed, 0), 10, FULL, seed=3)]
    for _ in range(3):  # dropped one by one
        assert all(torch.equal(a, b) for (a, _), b in zip(loader, fresh, strict=True))
    places = {images.data_ptr() for _ in range(3) for images, _ in loader}
    assert len(places) < 3 * len(fresh)
    kept = [images[:, :1] for images, _ in loader]  # a view keeps what it is of
    assert all(torch.equal(a, b[:, :1]) for a, b in zip(kept, fresh, strict=True))
    assert len({view.data_ptr() for view in kept}) == len(kept)
