from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ablations.data.draws import bits, integers, normals, shuffle, uniforms

SAMPLES = torch.arange(100_000)


def test_bits_are_splitmix64() -> None:
    # the first outputs of the reference implementation from seed 1234567
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    out = bits(1234567, torch.tensor([1, 2, 3])).numpy().view(np.uint64)
    assert out.tolist() == expected


def test_uniforms_are_uniform() -> None:
    # over many keys the p values must be uniform themselves
    keys = [(seed, epoch, draw) for seed in range(5) for epoch in range(4) for draw in "abc"]
    samples = SAMPLES[:10_000]
    numbers = [uniforms(seed, epoch, samples, draw)[:, 0].numpy() for seed, epoch, draw in keys]
    assert min(u.min() for u in numbers) >= 0 and max(u.max() for u in numbers) < 1
    p_values = [stats.kstest(u, "uniform").pvalue for u in numbers]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_normals_are_normal() -> None:
    z = normals(1, 0, SAMPLES, "colour", 3).numpy()
    assert np.isfinite(z).all()
    assert stats.kstest(z.ravel(), "norm").pvalue > 0.01
    assert np.allclose(np.cov(z.T), np.eye(3), atol=0.02)


def test_integers_are_uniform() -> None:
    counts = integers(1, 0, SAMPLES, "crop-row", 7).bincount().numpy()
    assert len(counts) == 7
    assert stats.chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize(
    "other",
    [
        lambda: uniforms(2, 0, SAMPLES, "flip"),  # another seed
        lambda: uniforms(1, 1, SAMPLES, "flip"),  # another epoch
        lambda: uniforms(1, 0, SAMPLES, "crop-row"),  # another draw
        lambda: uniforms(1, 0, SAMPLES + 1, "flip"),  # another sample
        lambda: uniforms(1, 0, SAMPLES, "flip", 2)[:, 1:],  # another number of the same draw
    ],
)
def test_draws_of_other_keys_are_independent(other: Callable[[], Tensor]) -> None:
    a = uniforms(1, 0, SAMPLES, "flip")[:, 0].numpy()
    b = other()[:, 0].numpy()
    cells, _, _ = np.histogram2d(a, b, bins=10, range=[[0, 1], [0, 1]])
    assert stats.chisquare(cells.ravel()).pvalue > 0.001


def test_the_numbers_of_a_draw_are_independent_of_those_of_other_samples() -> None:
    z = normals(1, 0, SAMPLES, "colour", 3)
    neighbours = torch.cat([z[:-2], z[1:-1], z[2:]], dim=1)
    assert np.allclose(np.corrcoef(neighbours.T), np.eye(9), atol=0.02)


@pytest.mark.parametrize("size", [1, 7, 128])
def test_draws_do_not_depend_on_the_batch(size: int) -> None:
    samples = SAMPLES[:1000].flip(0)
    for draw in (uniforms, normals):
        whole = draw(1, 4, samples, "x", 3)
        parts = torch.cat([draw(1, 4, part, "x", 3) for part in samples.split(size)])
        assert torch.equal(whole, parts)


def test_draws_leave_torch_alone() -> None:
    state = torch.get_rng_state()
    normals(1, 0, SAMPLES, "x")
    shuffle(SAMPLES, 1, "order", 0)
    assert torch.equal(state, torch.get_rng_state())


def test_shuffle_is_a_permutation_of_its_key() -> None:
    one, again = shuffle(SAMPLES, 1, "order", 0), shuffle(SAMPLES, 1, "order", 0)
    other = shuffle(SAMPLES, 1, "order", 1)
    assert torch.equal(one, again)
    assert torch.equal(one.sort().values, SAMPLES)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02


def test_shuffle_keeps_the_relative_order_of_a_part() -> None:
    part = SAMPLES[::3]
    order = SAMPLES[shuffle(SAMPLES, 1, "order", 0)]
    assert torch.equal(part[shuffle(part, 1, "order", 0)], order[order % 3 == 0])
