import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.functional.classification import multiclass_accuracy

from ablations.data import PackedDataModule
from ablations.nets import AlexNet, CudaConvnet


def data(n=50, batch_size=20, classes=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = 60 * torch.randn(n, 1, 8, 8, generator=generator)
    labels = torch.randint(0, classes, (n,), generator=generator)
    return DataLoader(TensorDataset(images, labels), batch_size=batch_size)


def model(seed=3, **arguments):
    torch.manual_seed(seed)
    fixed = {"num_classes": 10, "image_size": 8, "channels": 1, "width": 0.03125}
    return AlexNet(**{**fixed, **arguments})


def trainer(**arguments):
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
    }
    return pl.Trainer(**{**quiet, **arguments})


def everything(net, batches):
    images, labels = batches.dataset.tensors
    with torch.no_grad():
        return net.eval()(images), labels


def judged(net, batches):
    logged = trainer().test(net, batches, verbose=False)[0]
    return {name: value for name, value in logged.items() if not name.startswith("lrn/")}


def test_logged_values_are_means_over_examples_of_uneven_batches():
    net, batches = model(), data()
    logged = judged(net, batches)
    logits, labels = everything(net, batches)
    top5 = logits.topk(5).indices.eq(labels[:, None]).any(1).float().mean()
    assert logged == {
        "test/loss": pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5),
        "test/top1_error": pytest.approx(100 * (logits.argmax(1) != labels).float().mean().item()),
        "test/top5_error": pytest.approx(100 * (1 - top5.item())),
    }


def test_errors_are_those_of_torchmetrics():
    net, batches = model(), data()
    logged = judged(net, batches)
    logits, labels = everything(net, batches)
    for top in (1, 5):
        accuracy = multiclass_accuracy(logits, labels, 10, average="micro", top_k=top).item()
        assert logged[f"test/top{top}_error"] == pytest.approx(100 * (1 - accuracy), abs=1e-4)


def test_few_classes_have_no_top5_error():
    logged = judged(model(num_classes=3), data(classes=3))
    assert set(logged) == {"test/loss", "test/top1_error"}


def test_test_step_gives_probabilities_and_targets():
    net, batches = model().eval(), data()
    outputs = net.test_step(next(iter(batches)), 0)
    torch.testing.assert_close(outputs["probabilities"].sum(1), torch.ones(20))
    assert torch.equal(outputs["targets"], next(iter(batches))[1])


def test_ten_views_are_judged_by_the_centre_and_by_the_mean_of_ten_in_one_pass():
    net = model()
    views = 60 * torch.randn(50, 10, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = data().dataset.tensors[1]
    logged = judged(net, DataLoader(TensorDataset(views, labels), batch_size=20))
    centre = judged(net, DataLoader(TensorDataset(views[:, 4], labels), batch_size=20))
    net.eval()
    with torch.no_grad():
        mean = torch.stack([net(views[:, i]).softmax(1) for i in range(10)]).mean(0)
    top5 = mean.topk(5).indices.eq(labels[:, None]).any(1).float().mean()
    assert {name: logged.pop(name) for name in centre} == pytest.approx(centre)
    assert logged == {
        "test/loss_ten_crop": pytest.approx(F.nll_loss(mean.log(), labels).item(), rel=1e-5),
        "test/top1_error_ten_crop": pytest.approx(
            100 * (mean.argmax(1) != labels).float().mean().item()
        ),
        "test/top5_error_ten_crop": pytest.approx(100 * (1 - top5.item())),
    }
    outputs = net.test_step((views, labels), 0)
    torch.testing.assert_close(outputs["probabilities_ten_crop"], mean)
    torch.testing.assert_close(outputs["probabilities"], net(views[:, 4]).softmax(1))


def test_a_module_serves_ten_crops_of_real_images():
    digits = PackedDataModule("digits", crop=8, ten_crop=True, limit=60)
    logged = trainer().test(model(), digits, verbose=False)[0]
    assert logged["test/loss"] != logged["test/loss_ten_crop"]


def test_every_stage_is_logged_once_an_epoch():
    fit = trainer(max_epochs=1)
    fit.fit(model(), data(), data(seed=1))
    assert set(fit.callback_metrics) == {
        f"{stage}/{name}"
        for stage in ("train", "val")
        for name in ("loss", "top1_error", "top5_error")
    }


def test_training_images_are_judged_again_in_evaluation_mode():
    digits = PackedDataModule("digits", batch_size=16, limit=60, evaluate_training=50)
    net, fit = model(), trainer(max_epochs=2)
    fit.fit(net, digits)
    batches = list(digits.val_dataloader()[1])
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    with torch.no_grad():
        logits = net.eval()(images)
    wrong = 100 * (logits.argmax(1) != labels).float().mean()
    logged = fit.callback_metrics
    assert len(labels) == 50 and {len(batch[1]) for batch in batches} == {16, 2}
    assert logged["train/eval_top1_error"] == pytest.approx(wrong.item())
    assert logged["train/eval_loss"] == pytest.approx(F.cross_entropy(logits, labels).item())
    # What else is logged is as without it.
    plain = trainer(max_epochs=2)
    plain.fit(model(), PackedDataModule("digits", batch_size=16, limit=60))
    assert plain.callback_metrics.items() <= logged.items()


def test_ten_steps_follow_the_printed_update():
    """v <- 0.9 v - 0.0005 eps w - eps g; w <- w + v (section 5), from fresh gradients."""
    net, twin = model(), model()
    optimizer = net.configure_optimizers()["optimizer"]
    batches = list(data(n=200)) * 2
    velocity = [torch.zeros_like(w) for w in twin.parameters()]
    for step, batch in enumerate(batches[:10]):
        for layers in (net, twin):
            layers.zero_grad()
            for dropout in layers._dropouts:
                dropout.step = (step,)
            F.cross_entropy(layers(batch[0]), batch[1]).backward()
        optimizer.step()
        with torch.no_grad():
            for v, w in zip(velocity, twin.parameters(), strict=True):
                v.mul_(0.9).sub_(0.0005 * 0.01 * w + 0.01 * w.grad)
                w.add_(v)
    for ours, printed in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, printed)


def test_torchs_update_shrinks_the_velocity_with_the_rate_and_the_printed_one_does_not():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    printed, velocity = weight.detach().clone(), torch.zeros(2, dtype=torch.float64)
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.0005)

    def step(eps, gradient):
        optimizer.param_groups[0]["lr"] = eps
        weight.grad = gradient
        optimizer.step()
        velocity.mul_(0.9).sub_(0.0005 * eps * printed + eps * gradient)
        printed.add_(velocity)

    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(11, 2, dtype=torch.float64, generator=generator)
    for gradient in gradients[:10]:
        step(0.1, gradient)
        torch.testing.assert_close(weight.detach(), printed)
    before = velocity.clone()
    step(0.01, gradients[10])
    torch.testing.assert_close(printed - weight.detach(), 0.9 * before * (1 - 0.1))


def learned(net):
    optimizer = net.configure_optimizers()["optimizer"]
    names = {parameter: name for name, parameter in net.network.named_parameters()}
    return {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_layers_learn_at_their_own_rates_and_decays():
    groups = learned(CudaConvnet("11pct", width=0.0625))
    decays = {"conv1": 0, "conv2": 0, "local3": 0.004, "local4": 0.004, "fc10": 0.01}
    for name, decay in decays.items():
        assert groups[f"{name}.weight"] == pytest.approx((0.001, decay))
        assert groups[f"{name}.bias"] == pytest.approx((0.002, 0))


def test_batch_normalisation_does_not_decay():
    groups = learned(model(lrn="batch"))
    assert groups["lrn1.weight"] == groups["lrn1.bias"] == (0.01, 0)
    assert groups["conv1.bias"] == (0.01, 0.0005)


def rates(net, epochs, batches):
    seen = []

    class Watch(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            seen.append(trainer.optimizers[0].param_groups[0]["lr"])

    trainer(max_epochs=epochs, callbacks=[Watch()]).fit(net, batches, batches)
    return pytest.approx(seen)


def test_fixed_schedule_divides_the_rate_at_its_milestones():
    net = model(schedule="fixed", milestones=[1, 3])
    assert rates(net, 5, data()) == [0.01, 0.001, 0.001, 1e-4, 1e-4]


def test_biases_keep_their_rate_where_the_authors_left_it():
    seen = []

    class Watch(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            seen.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    net = model(recipe="as-run", schedule="fixed", milestones=[1])
    trainer(max_epochs=2, callbacks=[Watch()]).fit(net, data())
    assert [pytest.approx(rates) for rates in seen] == [[0.01, 0.02], [0.001, 0.02]]
    images, labels = data().dataset.tensors
    hopeless = DataLoader(TensorDataset(images * float("nan"), labels), batch_size=50)
    seen.clear()
    net = model(recipe="as-run", schedule="plateau", patience=0)
    trainer(max_epochs=3, callbacks=[Watch()]).fit(net, hopeless, hopeless)
    assert seen[-1] == pytest.approx([0.001, 0.02])


def test_plateau_divides_the_rate_by_ten_three_times():
    images, labels = data().dataset.tensors
    hopeless = DataLoader(TensorDataset(images * float("nan"), labels), batch_size=50)
    assert rates(model(patience=0), 6, hopeless) == [0.01, 0.01, 1e-3, 1e-4, 1e-5, 1e-5]


class SaveAt(pl.Callback):
    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("step", [4, 6])  # in the middle of an epoch of three batches; at its end
def test_a_resumed_fit_ends_as_an_undisturbed_one(step, tmp_path):
    def digits():
        return PackedDataModule("digits", batch_size=20, limit=60)

    net, fit = model(), trainer(max_epochs=3, callbacks=[SaveAt(step, tmp_path / "part.ckpt")])
    fit.fit(net, digits())
    again, rest = model(), trainer(max_epochs=3)
    rest.fit(again, digits(), ckpt_path=tmp_path / "part.ckpt", weights_only=True)
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert rest.callback_metrics == fit.callback_metrics


def test_a_checkpoint_loads_with_weights_only(tmp_path):
    net, fit = model(without=["conv3"], milestones=[1], schedule="fixed"), trainer(max_epochs=1)
    fit.fit(net, data())
    fit.save_checkpoint(tmp_path / "last.ckpt")
    loaded = AlexNet.load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    for name, value in net.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])
    assert loaded.hparams.without == ["conv3"]


def test_the_layer_table_of_a_model():
    rows = model().layer_table()
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in model().parameters())
    assert rows[-1].gives == (10,)
