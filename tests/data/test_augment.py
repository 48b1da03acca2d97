import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ablations.data.augment import (
    Colour,
    Windows,
    centre_windows,
    cut,
    random_windows,
    ten_windows,
)

IMAGE = (7, 6)


@pytest.fixture(autouse=True, params=[0, 10**9], ids=["sliced", "gathered"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of cutting, whatever the windows' size."""
    monkeypatch.setattr("ablations.data.augment.SLICED_FROM", request.param)


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (50, *IMAGE, 3), generator=torch.Generator().manual_seed(0)).byte()


@pytest.fixture
def mean() -> Tensor:
    return torch.rand((*IMAGE, 3), generator=torch.Generator().manual_seed(1)) * 255


def centred(images: Tensor, mean: Tensor) -> Tensor:
    return (images.float() - mean).permute(0, 3, 1, 2)


def test_whole_windows_only_subtract_the_mean(images: Tensor, mean: Tensor) -> None:
    out = cut(images, mean, torch.arange(50), centre_windows(50, IMAGE, IMAGE))
    assert torch.equal(out, centred(images, mean))
    assert out.stride() == (126, 42, 6, 1)


def test_a_flip_is_exact(images: Tensor, mean: Tensor) -> None:
    at = torch.zeros(50, dtype=torch.int64)
    plain, flipped = (
        cut(images, mean, torch.arange(50), Windows(IMAGE, at, at, torch.full((50,), flip)))
        for flip in (False, True)
    )
    assert torch.equal(flipped, plain.flip(3))


@pytest.mark.parametrize("padding", [0, 2])
def test_random_windows_are_slices(images: Tensor, mean: Tensor, padding: int) -> None:
    which = torch.arange(49, -1, -1)
    windows = random_windows(1, 0, which, IMAGE, (4, 3), padding, flip=True)
    out = cut(images, mean, which, windows)
    padded = torch.nn.functional.pad(centred(images, mean), [padding] * 4)
    for b, (top, left, flip) in enumerate(
        zip(windows.top.tolist(), windows.left.tolist(), windows.flip.tolist(), strict=True)
    ):
        top, left = top + padding, left + padding
        expected = padded[which[b], :, top : top + 4, left : left + 3]
        assert torch.equal(out[b], expected.flip(2) if flip else expected)


@pytest.mark.parametrize("padding", [0, 2, 20])
def test_both_ways_of_cutting_give_the_same_bits(
    images: Tensor, mean: Tensor, padding: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    which = torch.arange(50).flip(0)
    windows = random_windows(1, 0, which, IMAGE, (4, 5), padding, flip=True)
    shifts = torch.randn(50, 3, generator=torch.Generator().manual_seed(2))
    outs = []
    for limit in (0, 10**9):
        monkeypatch.setattr("ablations.data.augment.SLICED_FROM", limit)
        outs += [cut(images, mean, which, windows), cut(images, mean, which, windows, shifts)]
    assert torch.equal(outs[0], outs[2]) and torch.equal(outs[1], outs[3])
    assert torch.equal(outs[1], outs[0] + shifts[:, :, None, None])


def test_windows_are_uniform_and_flips_independent_of_them() -> None:
    windows = random_windows(3, 1, torch.arange(50_000), IMAGE, (6, 6), padding=1, flip=True)
    rows, columns, flips = windows.top + 1, windows.left + 1, windows.flip.long()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 3, 0, 2)
    cells = ((rows * 3 + columns) * 2 + flips).bincount().numpy()
    assert len(cells) == 4 * 3 * 2
    assert stats.chisquare(cells).pvalue > 0.01


def test_no_flips_unless_asked() -> None:
    assert not random_windows(3, 1, torch.arange(1000), IMAGE, (3, 3)).flip.any()


def test_flips_move_no_crop() -> None:
    samples = torch.arange(100)
    with_flips = random_windows(3, 1, samples, IMAGE, (3, 3), flip=True)
    without = random_windows(3, 1, samples, IMAGE, (3, 3), flip=False)
    assert torch.equal(with_flips.top, without.top) and torch.equal(with_flips.left, without.left)


@pytest.mark.parametrize("padding", [0, 2])
def test_centred_windows_are_those_of_the_centre(padding: int) -> None:
    samples = torch.arange(100)
    windows = random_windows(3, 1, samples, IMAGE, (4, 3), padding, flip=True, centred=True)
    centre = centre_windows(100, IMAGE, (4, 3))
    assert torch.equal(windows.top, centre.top) and torch.equal(windows.left, centre.left)
    assert torch.equal(windows.flip, random_windows(3, 1, samples, IMAGE, (3, 3), flip=True).flip)


def test_windows_do_not_depend_on_the_batch() -> None:
    samples = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    whole = random_windows(3, 1, samples, IMAGE, (3, 3), 1, True).split(64)
    for batch, part in zip(samples.split(64), whole, strict=True):
        alone = random_windows(3, 1, batch, IMAGE, (3, 3), 1, True)
        assert torch.equal(alone.top, part.top) and torch.equal(alone.flip, part.flip)
        assert part.padded


def test_ten_windows(images: Tensor, mean: Tensor) -> None:
    windows = ten_windows(2, IMAGE, (4, 4))
    out = cut(images, mean, torch.tensor([8, 3]).repeat_interleave(10), windows)
    for b, which in enumerate((8, 3)):
        x = centred(images, mean)[which]
        five = [x[:, :4, :4], x[:, :4, 2:], x[:, 3:, :4], x[:, 3:, 2:], x[:, 1:5, 1:5]]
        expected = torch.stack(five + [view.flip(2) for view in five])
        assert torch.equal(out[10 * b : 10 * b + 10], expected)


def test_the_centre_is_the_fifth_of_ten(images: Tensor, mean: Tensor) -> None:
    centre = cut(images, mean, torch.tensor([8]), centre_windows(1, IMAGE, (4, 4)))
    views = cut(images, mean, torch.tensor([8] * 10), ten_windows(1, IMAGE, (4, 4)))
    assert torch.equal(centre[0], views[4])


def test_windows_larger_than_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        random_windows(1, 0, torch.arange(3), IMAGE, (9, 8), padding=0)
    with pytest.raises(ValueError, match="does not fit"):
        centre_windows(3, IMAGE, (8, 6))


@pytest.fixture
def pixels() -> np.ndarray:
    """Correlated RGB pixels on the 0-255 scale, as many as a small data set has."""
    generator = np.random.default_rng(0)
    grey = generator.normal(120, 50, (20_000, 1))
    return (grey + generator.normal(0, (30, 10, 20), (20_000, 3))).clip(0, 255)


def shifts(pixels: np.ndarray, formula: str, count: int = 200_000) -> np.ndarray:
    values, vectors = np.linalg.eigh(np.cov(pixels.T))
    colour = Colour.of(torch.from_numpy(values), torch.from_numpy(vectors), formula)  # type: ignore[arg-type]
    return colour.shifts(1, 0, torch.arange(count)).numpy()


def test_colour_shifts_as_run_have_a_hundredth_of_the_pixels_covariance(pixels: np.ndarray) -> None:
    got = np.cov(shifts(pixels, "as-run").T)
    expected = 0.01 * np.cov(pixels.T)
    assert np.allclose(got, expected, rtol=0.02, atol=0.01 * expected.max())


def test_colour_shifts_as_printed(pixels: np.ndarray) -> None:
    # [p1, p2, p3] [a1 l1, a2 l2, a3 l3] on pixels from 0 to 1, then on the 0-255 scale
    values, vectors = np.linalg.eigh(np.cov((pixels / 255).T))
    draws = np.random.default_rng(0).normal(0, 0.1, (200_000, 3))
    expected = np.cov((255 * (draws * values) @ vectors.T).T)
    got = np.cov(shifts(pixels, "printed").T)
    assert np.allclose(got, expected, rtol=0.02, atol=0.01 * expected.max())


def test_colour_shifts_are_normal_with_mean_zero_and_new_each_epoch(pixels: np.ndarray) -> None:
    got = shifts(pixels, "as-run", 20_000)
    assert stats.normaltest(got[:, 0]).pvalue > 0.01
    assert (np.abs(got.mean(axis=0)) < 4 * got.std(axis=0) / 20_000**0.5).all()
    colour = Colour(torch.eye(3))
    first, second = (colour.shifts(1, epoch, torch.arange(20_000)) for epoch in (0, 1))
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.03
