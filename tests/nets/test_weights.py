import pytest
import pytorch_lightning as pl
import torch

from ablations.nets import AlexNet
from ablations.nets.build import build
from ablations.nets.spec import Activation, Conv, Dropout, Linear, Pool
from ablations.nets.weights import from_torchvision, load_into


def net(seed, num_classes=10, **arguments):
    torch.manual_seed(seed)
    return AlexNet(num_classes, image_size=8, channels=1, width=0.03125, **arguments)


@pytest.fixture
def checkpoint(tmp_path):
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(net(1, num_classes=20))
    trainer.save_checkpoint(tmp_path / "pretrained.ckpt")
    return tmp_path / "pretrained.ckpt"


def test_a_net_starts_from_another_trials_weights_with_a_new_head(checkpoint):
    pretrained, scratch = net(1, num_classes=20), net(2)
    tuned = net(2, init_from=str(checkpoint))
    for name, value in tuned.network.state_dict().items():
        source = scratch if name.startswith("fc8.") else pretrained
        assert torch.equal(value, source.network.state_dict()[name])
    assert "init_from" not in tuned.hparams


def test_two_devices_start_from_another_trials_weights(checkpoint):
    split = net(2, init_from=str(checkpoint), columns=["cpu", "cpu"])
    one = net(2, init_from=str(checkpoint))
    for name, value in one.state_dict().items():
        assert torch.equal(split.state_dict()[name], value)


def test_a_state_dict_of_the_same_net_fits_whole(tmp_path):
    torch.save(net(1).network.state_dict(), tmp_path / "weights.pt")
    other = net(2)
    load_into(other.network, other.net, tmp_path / "weights.pt", except_head=False)
    assert torch.equal(other.network.fc8.weight, net(1).network.fc8.weight)


def test_what_does_not_fit_is_named(checkpoint):
    with pytest.raises(ValueError) as caught:
        net(2, init_from=str(checkpoint), without=["conv4", "fc7"], sixth_conv=True)
    told = str(caught.value)
    assert "conv6.bias is missing there" in told
    assert "fc7.weight is not in this net" in told
    assert "fc6.weight" not in told
    with pytest.raises(ValueError, match="conv3.weight is 12x8x3x3 there, 12x4x3x3 here"):
        net(2, init_from=str(checkpoint), connectivity="independent")
    other = net(2)
    with pytest.raises(ValueError, match="fc8.bias is 20 there, 10 here; fc8.weight is 20x128"):
        load_into(other.network, other.net, checkpoint, except_head=False)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        net(2, init_from=str(tmp_path / "none.ckpt"))


def test_torchvisions_layout():
    """https://docs.pytorch.org/vision/stable/models/alexnet.html: 61,100,840 parameters."""
    widths = [(64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1)]
    layers = []
    for number, (channels, kernel, stride, padding) in enumerate(widths, 1):
        layers += [
            Conv(f"conv{number}", channels, kernel, stride, padding),
            Activation(f"relu{number}"),
        ]
        if number in (1, 2, 5):
            layers.append(Pool(f"pool{number}", ceil=False))
    layers += [Dropout("drop6"), Linear("fc6", 4096), Dropout("drop7"), Linear("fc7", 4096)]
    ours = build((*layers, Linear("fc8", 1000)), (3, 224, 224), 0)
    assert sum(p.numel() for p in ours.parameters()) == 61_100_840
    places = [("features", i) for i in (0, 3, 6, 8, 10)] + [("classifier", i) for i in (1, 4, 6)]
    released = {
        f"{part}.{index}.{leaf}": value
        for (part, index), module in zip(
            places, [m for m in ours if hasattr(m, "weight")], strict=True
        )
        for leaf, value in module.state_dict().items()
    }
    ours.load_state_dict(from_torchvision(released))
    with pytest.raises(KeyError):
        from_torchvision({"features.1.weight": torch.zeros(1)})
