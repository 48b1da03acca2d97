import numpy as np
import pytest
import torch

from ablations import nets
from analysis.filters import count_dead, figure, halves_test, look, selectivity, table
from analysis.trained import kept_by
from tests.analysis.workspaces import write_nets


def test_selectivity_of_known_kernels():
    pattern = np.random.default_rng(0).normal(size=(5, 5))
    kernels = np.zeros((5, 3, 5, 5), np.float32)
    kernels[0] = pattern  # grey: the same in each channel
    kernels[1] = np.array([1, -0.5, -0.5])[:, None, None] * pattern  # channels sum to zero
    kernels[2, 0] = pattern  # red alone: a third of it is grey
    kernels[3] = -3 * pattern
    assert selectivity(kernels) == pytest.approx([0, 1, 2 / 3, 0, 0], abs=1e-6)


def test_columns_that_share_the_colours_out_are_found():
    draws = np.random.default_rng(1)
    grey, colour = draws.uniform(0, 0.3, (3, 24)), draws.uniform(0.5, 1, (3, 24))
    shared = np.hstack([grey, colour])
    shared[1] = shared[1, ::-1]  # which column takes the colours is chance
    chance, p = halves_test(shared)
    assert p < 0.001
    assert chance < 0.15
    mixed = draws.permuted(shared, axis=1)
    assert halves_test(mixed)[1] > 0.05


def test_random_halves_are_seldom_called_specialised():
    draws = np.random.default_rng(2)
    found = [halves_test(draws.uniform(size=(2, 16)), 200)[1] for _ in range(300)]
    assert 0.01 < np.mean(np.array(found) <= 0.05) < 0.10


def test_dead_kernels_are_counted():
    net = nets.AlexNet(num_classes=7, image_size=12, width=0.1).eval()
    images = torch.randn(6, 3, 12, 12)
    conv = net.get_submodule("network.conv1")
    with torch.no_grad():
        conv.bias.fill_(1.0)
        assert count_dead(net, images) == 0
        conv.bias[:3] = -100.0  # never reaches a ReLU
        conv.weight[4] = 0.0  # one number everywhere
    assert count_dead(net, images) == 4


def test_dead_kernels_of_a_net_that_pads_and_one_without_lrn():
    for net in (nets.AlexNet(image_size=224, width=0.03), nets.CudaConvnet("80sec")):
        with torch.no_grad():
            net.get_submodule("network.conv1").bias.fill_(-100.0)
        images = torch.randn(1, *net.shape)
        assert count_dead(net, images) == len(net.get_submodule("network.conv1").bias)


def test_columns_are_told_from_dense_connectivity(tmp_path):
    arms = {"two-column": {}, "dense": {"model.init_args.connectivity": "dense"}}
    values = {arm: [30.0, 31.0, 32.0] for arm in arms}
    study, workspace = write_nets(tmp_path, arms, values, seeds=3, keep_weights=True)
    looked = [look(study, workspace, arm, kept_by(study, workspace, arm)) for arm in arms]
    assert [each.columns for each in looked] == [True, False]
    text, full, notes = table(looked)
    assert list(text["columns"]) == ["two", "none"]
    assert len(full) == 2 * 3 * len(looked[0].kernels[0])
    # The same seed draws the same first layer, so that the arms do not differ.
    assert notes[0].startswith("The halves of two-column differ by +0.000 more than those of dense")
    assert len(figure(looked, {"two-column": "k", "dense": "b"}).axes) == 6


def test_dead_is_left_out_where_the_images_are_not_here(tmp_path):
    study, workspace = write_nets(
        tmp_path,
        {"full": {}, "off": {"model.init_args.lrn": False}},
        {"full": [1.0]},
        seeds=1,
        keep_weights=True,
    )
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    found = look(study, workspace, "full", kept_by(study, workspace, "full"))
    assert found.dead is None
    assert table([found])[0].loc[0, "dead"] == "–"


def test_grey_kernels_have_no_colour():
    assert not selectivity(np.random.default_rng(0).normal(size=(4, 1, 3, 3))).any()
