import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ablations.data import PackedDataModule
from ablations.data.packed import Split, pack
from ablations.data.writing import write_packed

CLASS_PATHS = {
    "pytorch_lightning": "ablations.data.PackedDataModule",
    "lightning.pytorch": "ablations.data.unified.PackedDataModule",
}
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Steps:
    """A linear model that notes what it is given, for either namespace."""

    trainer: Any

    def __init__(self, greedy: bool = False) -> None:
        super().__init__()
        self.greedy = greedy
        self.net = nn.Linear(64, 10)
        nn.init.zeros_(self.net.weight)
        nn.init.zeros_(self.net.bias)
        self.given: list[tuple[int, Tensor, Tensor]] = []
        self.tested = 0

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        if self.greedy:
            torch.rand(7)
        self.given.append((self.trainer.current_epoch, *batch))
        return nn.functional.cross_entropy(self.net(batch[0].flatten(1) / 100), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None: ...

    def test_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        self.tested += len(batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)


class Model(Steps, pl.LightningModule): ...


def same(a: list[tuple[int, Tensor, Tensor]], b: list[tuple[int, Tensor, Tensor]]) -> bool:
    return len(a) == len(b) and all(
        x[0] == y[0] and torch.equal(x[1], y[1]) and torch.equal(x[2], y[2])
        for x, y in zip(a, b, strict=True)
    )


def digits(seed: int = 0, **arguments: Any) -> PackedDataModule:
    torch.manual_seed(seed)
    return PackedDataModule("digits", **arguments)


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> str:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    labels = np.arange(40) % 10
    folder = tmp_path_factory.mktemp("data") / "coloured"
    write_packed(pack("made", tuple("0123456789"), {"train": Split(images, labels)}), folder)
    return str(folder)


@pytest.mark.parametrize("namespace", CLASS_PATHS)
def test_a_lightning_cli_fits_and_tests(namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["fit"])
    lightning = pytest.importorskip(namespace)
    cli_class = importlib.import_module(f"{namespace}.cli").LightningCLI
    model = type("TestModel", (Steps, lightning.LightningModule), {"__module__": __name__})
    globals()["TestModel"] = model
    cli = cli_class(
        lightning.LightningModule,
        lightning.LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        run=False,
        save_config_callback=None,
        seed_everything_default=3,
        trainer_defaults=QUIET | {"max_epochs": 2},
        args={
            "model": {"class_path": f"{__name__}.TestModel"},
            "data": {
                "class_path": CLASS_PATHS[namespace],
                "init_args": {"path": "digits", "batch_size": 256},
            },
        },
    )
    cli.trainer.fit(cli.model, cli.datamodule)
    cli.trainer.test(cli.model, cli.datamodule, verbose=False)
    assert cli.datamodule.seed == 3
    assert [epoch for epoch, *_ in cli.model.given] == [0] * 5 + [1] * 5
    assert cli.model.tested == 450
    loader = digits(3, batch_size=256).train_dataloader()
    expected = []
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        expected += [(epoch, *batch) for batch in loader]
    assert same(cli.model.given, expected)
    assert not torch.equal(expected[0][2], expected[5][2])


def test_the_order_does_not_depend_on_what_the_model_draws() -> None:
    given = []
    for greedy in (False, True):
        data, model = digits(batch_size=256), Model(greedy)
        torch.rand(3 if greedy else 0)
        pl.Trainer(**QUIET, max_epochs=2).fit(model, data)
        given.append(model.given)
    assert same(*given)


class Interrupted(Exception): ...


class Interrupt(pl.Callback):
    """Saves a checkpoint at a step's hook, and ends the fit there."""

    def __init__(self, hook: str, step: int, file: Path) -> None:
        def stop(trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step == step:
                trainer.save_checkpoint(file)
                raise Interrupted

        setattr(self, hook, stop)


@pytest.mark.parametrize("limits", [{"max_epochs": 3}, {"max_epochs": -1, "max_steps": 13}])
@pytest.mark.parametrize(
    ("hook", "step"),
    [
        ("on_train_batch_end", 1),
        ("on_train_batch_end", 7),
        ("on_train_batch_start", 7),  # the batch is given, but nothing learnt from it
        ("on_train_batch_end", 10),  # the last of an epoch
        ("on_validation_end", 5),
        ("on_train_epoch_end", 10),
    ],
)
def test_a_resumed_fit_gets_the_batches_that_were_left(
    tmp_path: Path, hook: str, step: int, limits: dict[str, int]
) -> None:
    arguments = {"batch_size": 256, "crop": 8, "padding": 1, "flip": True}
    options = QUIET | limits | {"num_sanity_val_steps": 0}
    undisturbed = Model()
    pl.Trainer(**options).fit(undisturbed, digits(**arguments))
    first, second = Model(), Model()
    callback = Interrupt(hook, step, tmp_path / "mid.ckpt")
    with pytest.raises(Interrupted):
        pl.Trainer(**options, callbacks=[callback]).fit(first, digits(**arguments))
    data = digits(**arguments)
    torch.manual_seed(99)
    pl.Trainer(**options).fit(second, data, ckpt_path=str(tmp_path / "mid.ckpt"))
    assert same(first.given + second.given, undisturbed.given)
    assert torch.equal(second.net.weight, undisturbed.net.weight)


def test_splits_are_disjoint_and_the_same_for_every_seed() -> None:
    one, two = digits(0, validation=0.2), digits(1, validation=0.2)
    training, validation = one._training_and_validation()
    assert all(
        torch.equal(a, b)
        for a, b in zip(one._training_and_validation(), two._training_and_validation(), strict=True)
    )
    assert (len(training), len(validation)) == (1078, 269)
    assert torch.equal(torch.cat([training, validation]).sort().values, torch.arange(1347))


def test_the_test_set_is_in_no_other_split() -> None:
    data = digits()
    split = {
        name: {image.numpy().tobytes() for images, _ in loader for image in images}
        for name, loader in (
            ("train", data.train_dataloader()),
            ("val", data.val_dataloader()),
            ("test", data.test_dataloader()),
        )
    }
    assert not split["test"] & (split["train"] | split["val"])
    assert not split["train"] & split["val"]


def test_a_limit_leaves_the_other_splits_alone() -> None:
    few, all_ = digits(limit=100), digits()
    assert len(few._training_and_validation()[0]) == 100
    assert torch.equal(few._training_and_validation()[1], all_._training_and_validation()[1])
    assert set(few._training_and_validation()[0].tolist()) < set(
        all_._training_and_validation()[0].tolist()
    )


def test_no_validation_and_no_test_images(coloured: str) -> None:
    data = PackedDataModule(coloured, validation=0.0)
    assert data.val_dataloader() == [] and data.test_dataloader() == []
    assert sum(len(labels) for _, labels in data.train_dataloader()) == 40


def first_images(data: PackedDataModule, model: Any = None) -> Tensor:
    if model is not None:
        data.trainer = pl.Trainer(**QUIET)
        data.trainer.strategy._lightning_module = model
    images: Tensor = next(iter(data.train_dataloader()))[0]
    return images


def test_colour_is_asked_for_by_the_data_or_by_the_model(coloured: str) -> None:
    torch.manual_seed(0)
    plain, asked = PackedDataModule(coloured), PackedDataModule(coloured, pca_colour=True)
    printed = PackedDataModule(coloured, pca_colour=True, pca_formula="printed")
    model = Model()
    shifted = first_images(asked) - first_images(plain)
    assert shifted.abs().max() > 1
    assert shifted.flatten(2).std(dim=2).max() < 1e-4
    assert not torch.equal(first_images(asked), first_images(printed))
    assert torch.equal(first_images(plain, model), first_images(plain))
    model.pca_colour = True
    assert torch.equal(first_images(plain, model), first_images(asked))


def test_stacked_modules_give_what_each_gives_alone(coloured: str) -> None:
    members = []
    for seed, own in enumerate([{}, {"pca_colour": True}, {"flip": True, "padding": 2}, {}]):
        torch.manual_seed(seed)
        members.append(PackedDataModule(coloured, **own))  # type: ignore[arg-type]
    together = PackedDataModule.stack(members)
    models = [Model(), Model(), Model(), Model()]
    models[3].pca_colour = True  # type: ignore[assignment]
    together.trainer = pl.Trainer(**QUIET)
    together.trainer.strategy._lightning_module = stack = Model()
    stack.pca_colour = [False, False, False, True]  # type: ignore[assignment]
    batch = next(iter(together.train_dataloader()))
    for member, model, (images, _) in zip(members, models, batch, strict=True):
        assert torch.equal(images, first_images(member, model))
    with pytest.raises(ValueError, match="more than augmentation"):
        PackedDataModule.stack([digits(), digits(batch_size=7)])

    class Shuffled(PackedDataModule):
        def train_dataloader(self) -> Any: ...

    with pytest.raises(ValueError, match="Shuffled has its own train_dataloader"):
        Shuffled.stack([Shuffled("digits"), Shuffled("digits")])


def test_colour_leaves_greyscale_and_held_out_images_alone(coloured: str) -> None:
    assert torch.equal(first_images(digits(pca_colour=True)), first_images(digits()))
    for plain, asked in zip(
        PackedDataModule(coloured).val_dataloader(),
        PackedDataModule(coloured, pca_colour=True, flip=True, padding=2).val_dataloader(),
        strict=True,
    ):
        assert torch.equal(plain[0], asked[0])


def test_training_crops_may_stay_in_the_middle() -> None:
    still, random = (digits(crop=6, random_crop=r).train_dataloader() for r in (False, True))
    whole = digits().train_dataloader()
    pairs = zip(whole, still, random, strict=True)
    for (images, _), (middle, _), (anywhere, _) in pairs:
        assert torch.equal(middle, images[:, :, 1:7, 1:7])
        assert not torch.equal(anywhere, middle)


def test_ten_crop_is_for_the_test_images() -> None:
    data = digits(crop=6, ten_crop=True)
    assert next(iter(data.test_dataloader()))[0].shape == (128, 10, 1, 6, 6)
    assert next(iter(data.val_dataloader()))[0].shape == (128, 1, 6, 6)
    assert next(iter(data.train_dataloader()))[0].shape == (128, 1, 6, 6)


def test_training_images_are_given_again_as_they_are_tested() -> None:
    def seen(loader: Any) -> set[bytes]:
        return {image.numpy().tobytes() for images, _ in loader for image in images}

    data = digits(evaluate_training=300, crop=6, flip=True)
    validation, again = data.val_dataloader()
    plain = digits(crop=6, random_crop=False)
    trained, held_out = seen(plain.train_dataloader()), seen(plain.val_dataloader())
    assert sum(len(labels) for _, labels in again) == 300
    assert seen(again) <= trained and seen(validation) == held_out
    assert seen(again) == seen(digits(3, evaluate_training=300, crop=6).val_dataloader()[1])
    assert not seen(again) & (held_out - trained)


def test_wrong_arguments_are_refused() -> None:
    wrong: list[dict[str, Any]] = [
        {"batch_size": 0},
        {"crop": 0},
        {"padding": -1},
        {"validation": 1.0},
        {"limit": 0},
        {"evaluate_training": -1},
        {"evaluate_training": 5, "validation": 0},
    ]
    for arguments in wrong:
        with pytest.raises(ValueError, match="must be"):
            digits(**arguments)
    with pytest.raises(ValueError, match="the images of 'digits' are 8x8"):
        digits(crop=9).setup()
    with pytest.raises(FileNotFoundError, match="digits"):
        PackedDataModule("digit").setup()


def test_a_choice_of_classes_is_relabelled_in_every_split() -> None:
    whole, odd = digits(), digits(classes=[7, 1, 3])
    for module in (whole, odd):
        module.setup()
    (images, labels), (own, relabelled) = (
        [torch.cat(each) for each in zip(*module.test_dataloader(), strict=True)]
        for module in (whole, odd)
    )
    chosen = torch.isin(labels, torch.tensor([7, 1, 3]))
    assert torch.equal(own, images[chosen])
    assert torch.equal(torch.tensor([7, 1, 3])[relabelled], labels[chosen])
    parts = [
        torch.cat([labels for _, labels in loader])
        for loader in (odd.train_dataloader(), odd.val_dataloader())
    ]
    train = whole.packed.splits["train"].labels
    for new, old in enumerate((7, 1, 3)):
        assert sum(int((part == new).sum()) for part in parts) == (train == old).sum()
    limited = digits(classes=[7, 1, 3], limit=40).train_dataloader()
    assert sum(len(labels) for _, labels in limited) == 40


@pytest.mark.parametrize("classes", [[], [10], [-1, 2], [3, 3]])
def test_classes_that_are_none_are_refused(classes: list[int]) -> None:
    with pytest.raises(ValueError, match="classes"):
        digits(classes=classes).setup()
