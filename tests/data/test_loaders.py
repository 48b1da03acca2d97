from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import Tensor

from ablations.data.augment import Colour
from ablations.data.feeds import Resident
from ablations.data.loaders import Augmentation, EvaluationBatches, Share, TrainBatches
from ablations.data.packed import Split, pack

PLAIN = Augmentation((6, 6))
FULL = Augmentation((5, 5), padding=1, flip=True, colour=Colour(5 * torch.eye(3)))


def made(count: int = 103) -> Resident:
    """Images whose label is their number."""
    images = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), np.uint8)
    packed = pack("made", tuple(map(str, range(count))), {"train": Split(images, np.arange(count))})
    split, samples = packed.splits["train"], torch.arange(count)
    return Resident.of(split, samples, packed.statistics, torch.device("cpu"))


def whole(batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def same(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_an_epoch_gives_every_image_once() -> None:
    store = made()
    loader = TrainBatches(store, 10, PLAIN, seed=1)
    batches = list(loader)
    assert len(batches) == len(loader) == 11
    assert [len(labels) for _, labels in batches] == [10] * 10 + [3]
    images, labels = whole(batches)
    assert torch.equal(labels.sort().values, torch.arange(103))
    expected = (store.images.float() - store.mean).permute(0, 3, 1, 2)
    assert torch.equal(images, expected[labels])
    assert images.dtype == torch.float32 and labels.dtype == torch.int64


@pytest.mark.parametrize("augmentation", [PLAIN, FULL])
def test_batches_depend_on_seed_and_epoch(augmentation: Augmentation) -> None:
    store = made()
    loader = TrainBatches(store, 10, augmentation, seed=1)
    first, again = whole(loader), whole(loader)
    loader.set_epoch(1)
    second = whole(loader)
    assert same(first, again)
    assert not torch.equal(first[1], second[1])
    assert not torch.equal(first[1], whole(TrainBatches(store, 10, augmentation, seed=2))[1])
    torch.manual_seed(5)
    torch.rand(100)
    loader = TrainBatches(store, 10, augmentation, seed=1)
    loader.set_epoch(1)
    assert same(second, whole(loader))


@pytest.mark.parametrize("augmentation", [PLAIN, FULL])
def test_images_do_not_depend_on_the_batch_size(augmentation: Augmentation) -> None:
    store = made()
    small, large = (whole(TrainBatches(store, size, augmentation, seed=1)) for size in (7, 64))
    assert same(small, large)


def test_images_do_not_depend_on_where_they_are_made_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    store = made()
    loaders = [
        lambda: TrainBatches(store, 10, PLAIN, 1),
        lambda: EvaluationBatches(store, 10, (6, 6)),
    ]
    ready = [whole(loader()) for loader in loaders]
    monkeypatch.setattr("ablations.data.feeds.READY_BELOW", 0)
    for before, loader in zip(ready, loaders, strict=True):
        assert same(before, whole(loader()))


def test_what_is_done_to_a_batch_stays_in_it() -> None:
    store = made()
    for loader in (TrainBatches(store, 10, PLAIN, 1), EvaluationBatches(store, 10, (6, 6))):
        before = whole(loader)
        for images, labels in loader:
            images.zero_()
            labels.zero_()
        assert same(before, whole(loader))


def test_colour_shifts_whole_images() -> None:
    store = made()
    colour = Colour(torch.diag(torch.tensor([3.0, 2.0, 1.0])))
    plain, labels = whole(TrainBatches(store, 10, PLAIN, 1))
    coloured, _ = whole(TrainBatches(store, 10, Augmentation((6, 6), colour=colour), 1))
    expected = colour.shifts(1, 0, labels)[:, :, None, None].expand(-1, -1, 6, 6)
    assert torch.allclose(coloured - plain, expected, atol=1e-4)


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_divide_the_batches_of_one_process(world: int) -> None:
    store = made(120)
    alone = list(TrainBatches(store, 12, FULL, seed=1))
    ranks = [
        list(TrainBatches(store, 12 // world, FULL, 1, Share(rank, world))) for rank in range(world)
    ]
    for k, (images, labels) in enumerate(alone):
        for rank in range(world):
            assert same(ranks[rank][k], (images[rank::world], labels[rank::world]))


@pytest.mark.parametrize("count", [103, 101, 96, 97])
def test_every_rank_gets_the_same_number_of_training_batches(count: int) -> None:
    loaders = [TrainBatches(made(count), 8, PLAIN, 1, Share(rank, 4)) for rank in range(4)]
    ranks = [list(loader) for loader in loaders]
    assert {len(rank) for rank in ranks} == {len(loader) for loader in loaders} == {-(-count // 32)}
    for batches in zip(*ranks, strict=True):
        assert len({len(labels) for _, labels in batches}) == 1
    seen = torch.cat([whole(rank)[1] for rank in ranks])
    assert torch.equal(seen.unique(), torch.arange(count))


@pytest.mark.parametrize("count", [103, 97, 96, 33])
def test_evaluation_gives_every_image_once_over_the_ranks(count: int) -> None:
    loaders = [EvaluationBatches(made(count), 8, (6, 6), share=Share(r, 4)) for r in range(4)]
    ranks = [list(loader) for loader in loaders]
    assert len({len(rank) for rank in ranks}) == 1
    assert all(len(labels) for rank in ranks for _, labels in rank)
    seen = torch.cat([whole(rank)[1] for rank in ranks])
    assert torch.equal(seen.sort().values, torch.arange(count))


def test_evaluation_crops() -> None:
    store = made(20)
    centre, labels = whole(EvaluationBatches(store, 8, (4, 4)))
    views, _ = whole(EvaluationBatches(store, 8, (4, 4), ten_crop=True))
    assert torch.equal(labels, torch.arange(20))
    assert views.shape == (20, 10, 3, 4, 4)
    assert torch.equal(views[:, 4], centre)
    expected = (store.images.float() - store.mean).permute(0, 3, 1, 2)[:, :, 1:5, 1:5]
    assert torch.equal(centre, expected)


def test_loaders_made_under_inference_mode_serve_training() -> None:
    with torch.inference_mode():
        loader = TrainBatches(made(), 10, PLAIN, 1)
    images, _ = next(iter(loader))
    weight = torch.ones(1, requires_grad=True)
    (images * weight).sum().backward()
    assert weight.grad is not None
