"""Stacked nets give what each gives alone."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ablations.nets import AlexNet, CudaConvnet
from ablations.nets.classifier import Classifier
from ablations.nets.ranges import Ranges
from ablations.nets.stack import StackedClassifier

# what each of three nets is made with
NETS: dict[str, list[dict[str, Any]]] = {
    "two columns": [{}] * 3,
    "independent columns": [{"connectivity": "independent", "channels_last": True}] * 3,
    "dense": [{"connectivity": "dense", "channels_last": True}] * 3,
    "contrast": [{"lrn": "contrast"}] * 3,
    "dropout": [{"dropout": 0.0}, {"dropout": 0.25}, {}],
    "normalisation": [
        {"lrn_constants": {"n": 3, "k": 1.0, "alpha": 1e-3, "beta": 0.5}, "channels_last": True},
        {"lrn": False, "channels_last": True},
        {"lrn": "contrast", "channels_last": True},
    ],
    "activations and pooling": [
        {"activation": "tanh", "biases_of_one": False, "pooling": "plain"},
        {"activation": "tanh"},
        {"lrn": False},
    ],
}


def made(seed: int, **switches: Any) -> AlexNet:
    torch.manual_seed(seed)
    given = {"width": 0.125, "recipe": "as-run", "schedule": "fixed", **switches}
    return AlexNet(10, 8, 1, **given).double().train()


def batches(step: int, count: int) -> list[tuple[Tensor, Tensor]]:
    draws = torch.Generator().manual_seed(step)
    return [
        (
            60 * torch.randn(16, 1, 8, 8, generator=draws, dtype=torch.float64),
            torch.randint(0, 10, (16,), generator=draws),
        )
        for _ in range(count)
    ]


def optimizer_of(model: Classifier) -> Any:
    return model.configure_optimizers()["optimizer"]  # type: ignore[index,call-overload]


def step(model: Classifier, optimizer: Any, images: Tensor, labels: Tensor, at: int) -> Tensor:
    for dropout in model._dropouts:
        dropout.step = (0, at, 0)
    loss = model._loss(model(images), labels)
    optimizer.zero_grad()
    loss.sum().backward()
    optimizer.step()
    return loss.detach()


@pytest.mark.parametrize("switches", NETS.values(), ids=NETS)
def test_steps_are_those_of_each_alone(switches: list[dict[str, Any]]) -> None:
    members = [made(seed, **own) for seed, own in zip((3, 5, 8), switches, strict=True)]
    together = StackedClassifier(members).double().train()
    optimizers = [optimizer_of(member) for member in members]
    optimizer = optimizer_of(together)
    for at in range(4):
        data = batches(at, 3)
        losses = step(
            together,
            optimizer,
            torch.cat([images for images, _ in data], 1),
            torch.stack([labels for _, labels in data]),
            at,
        )
        alone = [
            step(member, own, *batch, at)
            for member, own, batch in zip(members, optimizers, data, strict=True)
        ]
        torch.testing.assert_close(losses, torch.stack(alone), rtol=1e-9, atol=1e-12)
    images = batches(9, 1)[0][0]
    together.eval()
    expected = torch.stack([member.eval()(images) for member in members])
    torch.testing.assert_close(together(images), expected, rtol=1e-8, atol=1e-10)


def test_a_loss_that_is_not_finite_stays_in_its_own_net() -> None:
    members = [made(seed) for seed in (0, 1, 2)]
    with torch.no_grad():
        members[1].network.conv2.weight[0, 0, 0, 0] = float("nan")
    together = StackedClassifier(members).double().train()
    optimizer, own = optimizer_of(together), optimizer_of(members[2])
    for at in range(3):
        data = batches(at, 3)
        images = torch.cat([images for images, _ in data], 1)
        losses = step(together, optimizer, images, torch.stack([y for _, y in data]), at)
        alone = step(members[2], own, *data[2], at)
    assert losses.isfinite().tolist() == [True, False, True]
    torch.testing.assert_close(losses[2], alone, rtol=1e-9, atol=1e-12)


def test_what_cannot_be_stacked_says_why() -> None:
    with pytest.raises(ValueError, match="plateau"):
        Classifier.stack([made(0, schedule="plateau")])
    with pytest.raises(ValueError, match="compiled"):
        Classifier.stack([made(0, compiled="default")])
    with pytest.raises(ValueError, match="lrn1 is a BatchNorm2d"):
        Classifier.stack([made(0, lrn="batch"), made(1, lrn="batch")])
    with pytest.raises(ValueError, match="conv4 is not the same in each"):
        Classifier.stack([made(0), made(0, without=["conv4"])])
    with pytest.raises(ValueError, match="conv2 is not the same in each"):
        Classifier.stack([made(0), made(0, connectivity="dense")])
    with pytest.raises(ValueError, match="different rates"):
        Classifier.stack([made(0), made(0, learning_rate=0.02)])
    with pytest.raises(ValueError, match="two devices"):
        Classifier.stack([made(0, columns=["cpu", "cpu"])])


class Renamed(AlexNet):
    """Only made otherwise."""

    note = "plain attributes do nothing"

    def __init__(self, **given: Any) -> None:
        super().__init__(10, 8, 1, width=0.125, schedule="fixed", **given)


class Smoothed(Renamed):
    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=0.1)


class Deeper(Smoothed):
    pass


class Reseeded(Renamed):
    common_random_numbers = False


def test_a_class_that_does_something_otherwise_is_not_stacked_as_if_it_did_not() -> None:
    assert isinstance(Renamed.stack([Renamed(), Renamed(lrn=False)]), StackedClassifier)
    net = CudaConvnet("11pct", image_size=7, channels=1, width=0.25, schedule="fixed")
    assert isinstance(CudaConvnet.stack([net, net]), StackedClassifier)
    for kind in (Smoothed, Deeper):
        with pytest.raises(ValueError, match="Smoothed has its own _loss"):
            kind.stack([Renamed(), kind()])
    with pytest.raises(ValueError, match="Reseeded has its own common_random_numbers"):
        Reseeded.stack([Reseeded()])

    class Mixed(_Clipped, Renamed):
        pass

    with pytest.raises(ValueError, match="_Clipped has its own on_before_optimizer_step"):
        Mixed.stack([Mixed()])


class _Clipped:
    def on_before_optimizer_step(self, optimizer: Any) -> None: ...


def test_loss_of_a_stack_is_that_of_cross_entropy() -> None:
    together = StackedClassifier([made(0), made(1)])
    logits, labels = torch.randn(2, 5, 10), torch.arange(5)
    expected = [F.cross_entropy(each, labels) for each in logits]
    torch.testing.assert_close(together._loss(logits, labels), torch.stack(expected))


def test_ranges_are_those_of_each_alone() -> None:
    members = [made(0), made(1, lrn=False), made(2, lrn_constants={"k": 3.0}), made(3)]
    together = StackedClassifier(members).double().eval()
    images = batches(0, 1)[0][0]
    together.on_test_epoch_start()
    together(images)
    assert together._ranges is not None
    found = together._ranges.closed()
    expected = {}
    for k, member in enumerate(members):
        ranges = Ranges(member.eval().network)
        member(images)
        expected |= {f"{k}/{name}": value for name, value in ranges.closed().items()}
    assert found == pytest.approx(expected, rel=1e-5) and len(found) == 18
