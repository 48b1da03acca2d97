import itertools

import pytest
import torch

from analysis.retrieval import Codes, hamming, precision, train_codes
from analysis.trained import kept_by, load_net, open_data_of
from tests.analysis.workspaces import write_nets


def test_precision_of_known_distances():
    distances = torch.tensor([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]])
    same = torch.tensor([[True, False, True, False], [True, False, False, False]])
    assert precision(distances, same, 1) == 50
    assert precision(distances, same, 2) == 25
    assert precision(distances, same, 3) == pytest.approx(100 * (2 / 3 + 0) / 2)
    assert precision(distances, same, 4) == pytest.approx(100 * (2 / 4 + 1 / 4) / 2)


def test_equal_distances_count_by_their_chance():
    distances = torch.tensor([[0.0, 1.0, 1.0, 1.0, 2.0]])
    same = torch.tensor([[True, True, False, False, True]])
    # By hand: the first is in; two of the three that are equally far follow, any two alike.
    others = [same[0, list(pair)].sum() for pair in itertools.combinations((1, 2, 3), 2)]
    expected = 100 * (1 + float(sum(others)) / 3) / 3
    assert precision(distances, same, 3) == pytest.approx(expected)


def test_hamming_distance_counts_bits():
    a = torch.tensor([[True, False, True], [False, False, False]])
    b = torch.tensor([[True, False, True], [True, True, True], [False, False, True]])
    assert hamming(a, b).tolist() == [[0, 1, 1], [2, 3, 1]]


def test_codes_keep_neighbours_and_are_the_same_each_time():
    torch.manual_seed(0)
    centres = 3 * torch.randn(5, 20)
    labels = torch.arange(200) % 5
    features = centres[labels] + 0.1 * torch.randn(200, 20)
    before = torch.random.get_rng_state()
    net = train_codes(features, 16, epochs=40)
    assert torch.equal(torch.random.get_rng_state(), before)
    codes = net.codes(features)
    assert codes.dtype == torch.bool and codes.shape == (200, 16)
    same = labels[:50, None] == labels[None, 50:]
    assert precision(hamming(codes[:50], codes[50:]), same, 10) > 95
    assert torch.equal(train_codes(features, 16, epochs=40).codes(features), codes)


def test_bits_pass_gradients():
    net = Codes(4, 3)
    net(torch.randn(2, 4)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.encoder.parameters())


def test_a_net_comes_back_as_it_was_trained(tmp_path):
    study, workspace = write_nets(
        tmp_path,
        {"full": {}, "off": {"model.init_args.lrn": False}},
        {"full": [1.0, 2.0]},
        seeds=2,
        keep_weights=True,
    )
    trial = kept_by(study, workspace, "full")[1]
    net = load_net(workspace, trial)
    saved = torch.load(workspace.trial_folder(trial.id) / "weights.ckpt", weights_only=True)
    assert net.state_dict().keys() == saved.keys()
    assert all(torch.equal(net.state_dict()[key], value) for key, value in saved.items())
    assert not net.training


def test_data_come_without_draws(tmp_path):
    study, workspace = write_nets(
        tmp_path,
        {"full": {}, "off": {"data.init_args.flip": True}},
        {"off": [1.0]},
        seeds=1,
        keep_weights=True,
    )
    (trial,) = kept_by(study, workspace, "off")
    once, again = (
        torch.cat([images for images, _ in open_data_of(workspace, trial.id).train_dataloader()])
        for _ in range(2)
    )
    assert once.shape == (63, 3, 12, 12)
    assert torch.equal(once, again)
