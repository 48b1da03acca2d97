"""Switches that change how a step is computed, and nothing of what."""

import shutil

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from ablations.nets import AlexNet, CudaConvnet, DanNet
from tests.nets.test_classifier import data, model, trainer

NETS = {
    "alexnet": lambda **how: AlexNet(10, 28, width=0.0625, recipe="as-run", **how),
    "dense": lambda **how: AlexNet(10, 28, width=0.0625, connectivity="dense", **how),
    "80sec": lambda **how: CudaConvnet("80sec", **how),
    "11pct": lambda **how: CudaConvnet("11pct", **how),
    "18pct": lambda **how: CudaConvnet("18pct", **how),
    "dan": lambda **how: DanNet(**how),
}


def step(make, double=True, **how):
    """Logits and gradients of a training step, by name."""
    torch.manual_seed(5)
    net = make(**how).train()
    net = net.double() if double else net
    generator = torch.Generator().manual_seed(1)
    images = 60 * torch.randn(3, *net.shape, generator=generator).to(net.dtype)
    for dropout in net._dropouts:
        dropout.step = (0, 0, 0)
    logits = net(images)
    F.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
    return logits, {name: p.grad for name, p in net.named_parameters()}


@pytest.mark.parametrize("net", NETS)
def test_channels_last_computes_the_same_step(net):
    logits, grads = step(NETS[net])
    last, last_grads = step(NETS[net], channels_last=True)
    torch.testing.assert_close(last, logits)
    torch.testing.assert_close(last_grads, grads)


def test_the_channels_of_weights_and_activations_lie_side_by_side():
    net = NETS["80sec"](channels_last=True)
    seen = []
    net.network.pool1.register_forward_hook(lambda module, given, out: seen.append(out))
    net(torch.randn(2, *net.shape))
    layout = {"memory_format": torch.channels_last}
    assert seen[0].is_contiguous(**layout) and net.network.conv2.weight.is_contiguous(**layout)
    assert not NETS["80sec"]().network.conv2.weight.is_contiguous(**layout)


def test_a_fused_optimizer_takes_the_same_steps():
    made = []
    for fused in (False, True):
        net = model(fused_optimizer=fused, schedule="fixed")
        trainer(max_epochs=2).fit(net, data())
        made.append(net.state_dict())
    torch.testing.assert_close(made[1], made[0])


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles through g++ on a CPU")
def test_a_compiled_net_computes_the_same_step_and_keeps_its_names():
    def small(**how):
        return model(**how)

    logits, grads = step(small, double=False)
    compiled, compiled_grads = step(small, double=False, compiled="default")
    torch.testing.assert_close(compiled, logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(compiled_grads, grads, rtol=1e-4, atol=1e-5)


def test_in_half_precision_losses_and_probabilities_are_whole():
    net = model(schedule="fixed")
    quick = trainer(max_epochs=1, precision="bf16-mixed")
    quick.fit(net, data())
    with quick.precision_plugin.forward_context():
        outputs = net(data().dataset.tensors[0])
    assert outputs.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in net.parameters())


def test_the_time_of_a_step_is_logged_and_kept_in_checkpoints(tmp_path, monkeypatch):
    from ablations.nets import StepTime, timing

    clock = iter([0.0, 9.0, 10.0, 13.0, 20.0, 26.0, 30.0, 33.0])  # three steps an epoch
    monkeypatch.setattr(timing, "_now", lambda module: next(clock))
    timer = StepTime()
    quick = trainer(max_epochs=4, callbacks=[timer])
    quick.fit(model(schedule="fixed"), data())
    assert timer.epochs == [3.0, 1.0, 2.0, 1.0]
    assert quick.callback_metrics["train/seconds_per_step"] == 1.0  # the first epoch warms up
    again = StepTime()
    again.load_state_dict(timer.state_dict())
    assert again.epochs == timer.epochs
    assert isinstance(timer, pl.Callback)
