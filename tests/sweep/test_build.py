"""A base and an arm become trainer, model and data, as the project's own LightningCLI would."""

import gc
import importlib
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ablations.study import InputError, Study, load_study
from ablations.sweep.build import Built, Recipe, build
from ablations.sweep.parsed import parsed
from tests.toy import NAMESPACES, base_config, edit_base, module_name, write_project, write_yaml

ARGS = "model.init_args"


def built(study: Study, arm: str = "full", seed: int = 0, **options: Any) -> Built:
    return build(Recipe.of(study, study.arm(arm)), seed, options)


def with_arm(folder: Path, changes: dict[str, Any], namespace: str = NAMESPACES[0]) -> Study:
    return load_study(write_project(folder, namespace, arms={"full": {}, "x": changes}))


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_either_namespace(tmp_path: Path, namespace: str) -> None:
    arm = {f"{ARGS}.hidden": 5, "trainer.max_epochs": 9}
    study = with_arm(tmp_path, arm, namespace)
    own = importlib.import_module(namespace)
    full, x = built(study), built(study, "x", default_root_dir=str(tmp_path))
    for made in (full, x):
        assert made.namespace == namespace
        assert isinstance(made.trainer, own.Trainer)
        assert isinstance(made.model, own.LightningModule)
        assert isinstance(made.data, own.LightningDataModule)
        assert made.trainer.loggers == []
        assert made.notes == ()
    assert (full.trainer.max_epochs, x.trainer.max_epochs) == (3, 9)
    assert full.model.net[0].weight.shape == (16, 2)
    assert x.model.net[0].weight.shape == (5, 2)
    assert x.trainer.default_root_dir == str(tmp_path)
    # defaults are resolved, so that arms can be told apart by what they are
    assert full.config["model"]["init_args"] == {
        "hidden": 16,
        "activation": "relu",
        "dropout": 0.25,
        "bias": True,
        "scale": 1.0,
    }
    assert x.config["model"]["init_args"]["hidden"] == 5
    assert full.config["data"]["init_args"]["noise"] == 0.1
    assert x.config["trainer"]["max_epochs"] == 9


def test_nothing_is_changed_or_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = with_arm(tmp_path / "project", {f"{ARGS}.hidden": 5})
    monkeypatch.chdir(tmp_path)
    base, arguments, before = yaml.safe_dump(study.base_config), list(sys.argv), os_files(tmp_path)
    initialiser = importlib.import_module("pytorch_lightning.cli").LightningCLI.__init__
    built(study, "x")
    assert yaml.safe_dump(study.base_config) == base
    assert sys.argv == arguments
    assert os_files(tmp_path) == before
    assert importlib.import_module("pytorch_lightning.cli").LightningCLI.__init__ is initialiser


def os_files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_seeds_decide_the_initial_weights(toy: Study) -> None:
    one, again, other = (built(toy, seed=seed).model.net[0].weight for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def optimizer(made: Built) -> dict[str, Any]:
    config: dict[str, Any] = made.config["optimizer"]
    return config


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_an_arm_is_parsed_once_in_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: str
) -> None:
    study = with_arm(tmp_path, {f"{ARGS}.hidden": 5}, namespace)
    cli = importlib.import_module(f"{namespace}.cli").LightningCLI
    parse, parsings = cli.parse_arguments, []

    def counted(*arguments: Any) -> None:
        parsings.append(arguments)
        parse(*arguments)

    monkeypatch.setattr(cli, "parse_arguments", counted)
    made = [built(study, "x", seed) for seed in (3, 4, 3)]
    assert len(parsings) == 1
    full = built(study, "full", 3)
    assert len(parsings) == 2
    assert full.model.net[0].weight.shape == (16, 2)
    assert [each.config["seed_everything"] for each in made] == [3, 4, 3]
    assert made[0].config == made[2].config
    assert made[0].model.hparams == made[2].model.hparams
    assert len({id(thing) for each in made for thing in (each.model, each.data, each.trainer)}) == 9
    weights = [each.model.net[0].weight for each in made]
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])

    # as parsed anew
    recipe = Recipe.of(study, study.arm("x"))
    elsewhere = build(replace(recipe, import_paths=(*recipe.import_paths, "")), 3, {})
    assert len(parsings) == 3
    assert elsewhere.config == made[0].config
    assert elsewhere.model.hparams == made[0].model.hparams
    assert torch.equal(elsewhere.model.net[0].weight, weights[0])

    longer = replace(recipe, overrides={**recipe.overrides, "trainer": {"max_epochs": 7}})
    assert build(longer, 3, {}).trainer.max_epochs == 7
    assert len(parsings) == 4


def test_one_batch_and_all_batches_are_told_apart_though_1_equals_1_0(toy: Study) -> None:
    recipe = Recipe.of(toy, toy.arm("full"))
    one, whole = (
        replace(recipe, overrides={"trainer": {"limit_train_batches": limit}}) for limit in (1, 1.0)
    )
    build(one, 0, {})
    assert parsed(one) is not None
    assert parsed(whole) is None


def test_a_parsed_arm_keeps_nothing_that_was_made_of_it(toy: Study) -> None:
    made = [weakref.ref(built(toy, seed=seed).model) for seed in (0, 1)]
    gc.collect()
    assert [each() for each in made] == [None, None]


def test_another_class_keeps_the_arguments_that_fit(tmp_path: Path) -> None:
    study = with_arm(tmp_path, {"optimizer.class_path": "torch.optim.Adam"})
    made = built(study, "x")
    assert optimizer(made)["class_path"] == "torch.optim.Adam"
    assert optimizer(made)["init_args"]["lr"] == 0.3
    edit_base(tmp_path, {"optimizer.init_args.momentum": 0.9})
    made = built(load_study(study.file), "x")
    assert optimizer(made)["init_args"]["lr"] == 0.3
    assert "momentum" not in optimizer(made)["init_args"]


def test_another_model_keeps_the_arguments_that_fit(tmp_path: Path) -> None:
    study = with_arm(tmp_path, {"model.class_path": "wider_classes.Wider"})
    text = f"from {module_name(NAMESPACES[0])} import TwoClasses\n\n\nclass Wider(TwoClasses):\n"
    text += "    def __init__(self, dropout: float = 0.5):\n"
    text += "        super().__init__(64, dropout=dropout)\n"
    (tmp_path / "wider_classes.py").write_text(text)
    edit_base(tmp_path, {f"{ARGS}.bias": True})
    made = built(load_study(study.file), "x")
    assert made.config["model"]["init_args"] == {"dropout": 0.25}
    assert made.model.net[0].weight.shape == (64, 2)


def test_a_list_is_replaced(tmp_path: Path) -> None:
    path = "pytorch_lightning.callbacks"
    stopping = {"class_path": f"{path}.EarlyStopping", "init_args": {"monitor": "val/loss"}}
    study = with_arm(
        tmp_path, {"trainer.callbacks": [{"class_path": f"{path}.LearningRateMonitor"}]}
    )
    edit_base(
        tmp_path, {"trainer.callbacks": [stopping, {"class_path": f"{path}.RichProgressBar"}]}
    )
    study = load_study(study.file)
    full, x = ({type(c).__name__ for c in built(study, a).trainer.callbacks} for a in ("full", "x"))
    # bars are for a terminal, which a worker does not have
    assert "EarlyStopping" in full and "RichProgressBar" not in full
    assert "LearningRateMonitor" in x and "EarlyStopping" not in x


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_checkpoints_only_where_the_base_asks_for_them(tmp_path: Path, namespace: str) -> None:
    study = load_study(write_project(tmp_path, namespace))
    assert built(study).trainer.checkpoint_callback is None
    keep = {"class_path": f"{namespace}.callbacks.ModelCheckpoint"}
    edit_base(tmp_path, {"trainer.callbacks": [keep]})
    made = built(load_study(study.file))
    assert len(made.trainer.checkpoint_callbacks) == 1
    edit_base(tmp_path, {"trainer.callbacks": keep})
    assert len(built(load_study(study.file)).trainer.checkpoint_callbacks) == 1


@pytest.mark.parametrize("key", ["trainer.max_epoch", "model.init_args.hid", "seed_every"])
def test_abbreviations_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match="unknown key"):
        built(with_arm(tmp_path, {key: 4}), "x")


def test_a_config_saved_by_fit(tmp_path: Path) -> None:
    study = load_study(write_project(tmp_path))
    edit_base(tmp_path, {"ckpt_path": "last.ckpt", "weights_only": None, "seed_everything": True})
    made = built(load_study(study.file))
    assert made.notes == ("ckpt_path belongs to a subcommand and is left out",)
    assert made.config["seed_everything"] == 0
    edit_base(tmp_path, {"ckpt_path": None})
    saved = yaml.safe_load((tmp_path / "base.yaml").read_text()) | {"ckpt_path": None}
    write_yaml(tmp_path / "base.yaml", {"fit": saved})
    made = built(load_study(study.file), "no-bias")
    assert made.notes == ()
    assert made.config["model"]["init_args"]["bias"] is False


def test_our_data_comes_from_the_namespace_of_the_model(tmp_path: Path) -> None:
    for namespace in NAMESPACES:
        study = load_study(write_project(tmp_path, namespace))
        data = {"class_path": "ablations.data.PackedDataModule", "init_args": {"path": "digits"}}
        edit_base(tmp_path, {"data": data})
        made = built(load_study(study.file))
        own = importlib.import_module(namespace)
        assert isinstance(made.data, own.LightningDataModule)
        assert made.namespace == namespace


_MAIN = """\
from {namespace}.cli import LightningCLI
from {module} import Points, TwoClasses


class Linked(LightningCLI):
    def __init__(self, *args, **kwargs):
        super().__init__(TwoClasses, Points, *args, **kwargs)

    def add_arguments_to_parser(self, parser):
        parser.link_arguments("data.batch_size", "model.hidden")
        parser.add_argument("--width", type=int, default=1)


def main():
    LightningCLI(
        TwoClasses,
        Points,
        trainer_defaults={{"max_epochs": 7}},
        parser_kwargs={{"fit": {{}}, "exit_on_error": True}},
    )
    raise AssertionError("nothing may run behind the command line")


def swallows():
    try:
        main()
    except BaseException:
        pass
"""


@pytest.fixture(params=NAMESPACES)
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Study]:
    """A project with a command line of its own, whose base has no class_path."""

    def make(cli: str, changes: dict[str, Any], base: dict[str, Any] | None = None) -> Study:
        module = module_name(request.param)
        own_main = f"main_of_{module}"
        arms = {"full": {}, "x": changes}
        file = write_project(tmp_path, request.param, cli=f"{own_main}:{cli}", arms=arms)
        (tmp_path / f"{own_main}.py").write_text(
            _MAIN.format(namespace=request.param, module=module)
        )
        content = base_config(request.param)
        plain = {key: content[key]["init_args"] for key in ("model", "data")}
        write_yaml(tmp_path / "base.yaml", content | plain | (base or {}))
        return load_study(file)

    return make


def test_a_project_whose_function_builds_the_command_line(project: Callable[..., Study]) -> None:
    study = project("main", {"model.hidden": 5}, {"trainer": {"accelerator": "cpu"}})
    made = built(study, "x")
    assert made.model.net[0].weight.shape == (5, 2)
    assert made.config["model"]["dropout"] == 0.25
    assert made.trainer.max_epochs == 7
    assert made.trainer.loggers == []


def test_a_project_with_a_class_of_its_own(project: Callable[..., Study]) -> None:
    made = built(project("Linked", {"data.batch_size": 8, "width": 2}), "x")
    assert made.model.net[0].weight.shape == (8, 2)
    assert made.config["width"] == 2


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("model.droput", 0.1, 'model.droput: unknown key (did you mean "dropout"?)'),
        ("modle.dropout", 0.1, 'modle: unknown key (did you mean "model"?)'),
        ("widht", 3, 'widht: unknown key (did you mean "width"?)'),
        ("model.dropout", "low", "model.dropout: expected float, got 'low'"),
        ("width", "low", "width: expected int, got 'low'"),
    ],
)
def test_what_a_projects_own_parser_refuses(
    project: Callable[..., Study], key: str, value: Any, told: str
) -> None:
    with pytest.raises(InputError) as caught:
        built(project("Linked", {key: value}), "x")
    assert str(caught.value).endswith(f"toy.yaml: arms.x.{told}")


def test_a_project_that_never_gets_to_its_command_line(project: Callable[..., Study]) -> None:
    with pytest.raises(InputError, match="ended without building a LightningCLI"):
        built(project("swallows", {"model.hidden": 5}))


def test_a_recipe_travels(toy: Study) -> None:
    import pickle

    recipe = Recipe.of(toy, toy.arm("no-bias"))
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert str(toy.base.parent) in recipe.import_paths
    assert str(Path.cwd()) in recipe.import_paths
    assert replace(recipe, arm="x") != recipe
