import pytest
import torch
from torch.nn import functional as F

from ablations.nets import AlexNet
from ablations.nets.columns import Exchange, TwoDevices

PAIRS = [("cpu", "cpu")]
if torch.cuda.is_available():
    PAIRS.append(("cuda:0", "cpu"))
if torch.cuda.device_count() > 1:
    PAIRS.append(("cuda:0", "cuda:1"))


def net(columns=None, **arguments):
    torch.manual_seed(4)
    fixed = {"num_classes": 10, "image_size": 32, "width": 0.0625}
    return AlexNet(**{**fixed, **arguments}, columns=columns)


def passed(model, x, labels):
    """Logits, and gradients by the names of the net on one device."""
    for dropout in model._dropouts:
        dropout.step = (0,)
    logits = model(x)
    F.cross_entropy(logits, labels).backward()
    gradients = {
        f"network.{name}": parameter.grad.cpu()
        for name, parameter in model.network.named_parameters()
    }
    return logits.cpu(), gradients


def joined(gradients, names):
    found = {}
    for name in names:
        layer, leaf = name.rsplit(".", 1)
        halves = [gradients.get(f"{layer}.{part}.{leaf}") for part in (0, 1)]
        found[name] = gradients[name] if halves[0] is None else torch.cat(halves)
    return found


SWITCHES = [
    {},
    {"recipe": "as-run"},
    {"connectivity": "independent"},
    {"sixth_conv": True},
    {"lrn": "contrast"},
    {"lrn": "batch"},
    {"without": ["conv4", "fc6"], "pooling": "plain"},
]


@pytest.mark.parametrize("devices", PAIRS)
@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_two_devices_give_the_outputs_and_gradients_of_one(devices, switches):
    if "cuda:0" in devices and "cpu" in devices:
        switches = switches | {"dropout": 0.0}  # the two draw other masks
    one, two = net(**switches), net(devices, **switches)
    x, labels = 60 * torch.randn(6, 3, 32, 32), torch.arange(6)
    logits, gradients = passed(one, x, labels)
    ours, halves = passed(two, x, labels)
    torch.testing.assert_close(ours, logits, rtol=1e-5, atol=1e-5)
    for name, gradient in joined(halves, gradients).items():
        torch.testing.assert_close(gradient, gradients[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("devices", PAIRS)
def test_state_dicts_are_interchangeable(devices):
    one, two = net(lrn="batch"), net(devices, lrn="batch")
    state = two.state_dict()
    assert set(state) == set(one.state_dict())
    for name, value in one.state_dict().items():
        assert torch.equal(state[name].cpu(), value)
    torch.manual_seed(5)
    other = AlexNet(10, 32, width=0.0625, lrn="batch")
    two.load_state_dict(other.state_dict())
    other.load_state_dict(two.state_dict())
    x = 60 * torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(two.eval()(x), other.eval()(x), rtol=1e-5, atol=1e-5)


def placed(model):
    return {
        name: str(parameter.device)
        for name, parameter in model.network.named_parameters()
        if name.endswith("weight")
    }


def test_each_layers_halves_are_on_their_own_devices():
    model = net(["cpu", "meta"])
    layers = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
    expected = {f"{layer}.0.weight": "cpu" for layer in layers}
    expected |= {f"{layer}.1.weight": "meta" for layer in layers} | {"fc8.weight": "cpu"}
    assert placed(model) == expected
    # a Trainer moves a model to its one device
    assert placed(model.to("cpu")) == expected
    assert placed(model.double()) == expected
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}


@pytest.mark.parametrize(
    ("switches", "crossings"),
    [
        ({}, ["conv3", "fc6", "fc7", "fc8"]),
        ({"connectivity": "independent"}, ["fc8"]),
        ({"sixth_conv": True}, ["conv3", "conv6", "fc6", "fc7", "fc8"]),
    ],
)
def test_activations_cross_where_the_paper_crosses(switches, crossings):
    model = net(["cpu", "cpu"], **switches)
    crossed = []
    for name, module in model.network.named_children():
        if isinstance(module, Exchange):
            module.register_forward_hook(lambda *_, name=name: crossed.append(name))
    model(torch.zeros(1, 3, 32, 32))
    assert crossed == [f"{name}_exchange" for name in crossings]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": ["cpu"]}, "expected two devices, got 1"),
        ({"connectivity": "dense"}, "lrn1 cannot be split"),
        ({"lrn_constants": {"across": True}}, "lrn1 cannot be split"),
    ],
)
def test_what_cannot_be_split(arguments, message):
    with pytest.raises(ValueError, match=message):
        net(**{"columns": ["cpu", "cpu"], **arguments})


def test_a_split_net_trains_as_one_on_one_device():
    one, two = net(), net(["cpu", "cpu"])
    assert isinstance(two.network, TwoDevices)
    x, labels = 60 * torch.randn(6, 3, 32, 32), torch.arange(6)
    for model in (one, two):
        optimizer = model.configure_optimizers()["optimizer"]
        for _ in range(3):
            optimizer.zero_grad()
            passed(model, x, labels)
            optimizer.step()
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=1e-5, atol=1e-5)
