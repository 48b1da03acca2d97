"""Trained nets out of a workspace: which trials kept their weights, the net, and its data."""

from typing import Any

from torch import nn

from ablations import nets
from ablations.data import PackedDataModule
from ablations.data.loaders import EvaluationBatches
from ablations.nets.classifier import Classifier
from ablations.nets.weights import load_into
from ablations.results.paper import studies_in
from ablations.results.setting import trial_config
from ablations.study import InputError, Study, Trial, trials
from ablations.workspace import Workspace
from analysis.command import the_one

WEIGHTS = "weights.ckpt"


def study_with_weights(workspace: Workspace, chosen: str | None) -> Study:
    """The study that is asked for, or the only one whose baseline kept weights.

    Raises:
        InputError: None did, or several.
    """
    studies = studies_in(workspace)
    found = [s for s in studies if any(kept(s, workspace, arm.name) for arm in s.arms)]
    name = chosen or (studies[0].name if len(studies) == 1 else "STUDY")
    remedy = f"write `keep_weights: true` into it and run it: ablate run {name} --rerun ARM"
    return the_one(found, chosen, "kept weights", remedy)


def kept(study: Study, workspace: Workspace, arm: str) -> list[Trial]:
    """The finished trials of an arm that kept their weights, by seed."""
    return [
        trial
        for trial in trials(study)
        if trial.arm == arm
        and (workspace.result(trial.id) or {}).get("status") == "done"
        and (workspace.trial_folder(trial.id) / WEIGHTS).is_file()
    ]


def kept_by(study: Study, workspace: Workspace, arm: str) -> list[Trial]:
    """The same, of an arm that must have some.

    Raises:
        InputError: There is no such arm, or none of its trials kept weights.
    """
    found = kept(study, workspace, study.arm(arm).name)
    if not found:
        raise InputError(
            f'no finished trial of "{arm}" kept its weights; write `keep_weights: true` into the '
            f'study and run `ablate run {study.name} --rerun "{arm}"`',
            file=study.file,
        )
    return found


def load_net(workspace: Workspace, trial: Trial) -> Classifier:
    """A trial's net with the weights that it ended with, in evaluation mode.

    Raises:
        InputError: It is no net of ablations.nets, or its files do not fit this version.
    """
    model = trial_config(workspace, trial.id).get("model") or {}
    module, _, name = str(model.get("class_path")).rpartition(".")
    folder = workspace.trial_folder(trial.id)
    if not module.startswith("ablations.nets") or name not in nets.__all__:
        told = f"only nets of ablations.nets can be looked into, this is {module}.{name}"
        raise InputError(told, file=folder)
    own = {"columns": None, "init_from": None}
    try:
        net: Classifier = getattr(nets, name)(**{**model.get("init_args", {}), **own})
        load_into(net.network, net.net, folder / WEIGHTS, except_head=False)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot be built again: {error}", file=folder) from error
    return net.eval()


def open_data_of(workspace: Workspace, trial: str, **changes: Any) -> PackedDataModule:
    """A trial's data with nothing drawn at random: whole or middle crops, in one fixed order.

    Args:
        workspace: Where the trial is.
        trial: Its id.
        **changes: Arguments of the data module to replace.

    Raises:
        InputError: It is no PackedDataModule, or its images are not here.
    """
    data = trial_config(workspace, trial).get("data") or {}
    folder = workspace.trial_folder(trial)
    if not str(data.get("class_path")).startswith("ablations.data."):
        told = f"only packed data can be read again, this is {data.get('class_path')}"
        raise InputError(told, file=folder)
    plain = {"random_crop": False, "padding": 0, "flip": False, "pca_colour": False}
    plain["ten_crop"] = False
    try:
        module = PackedDataModule(**{**data.get("init_args", {}), **plain, **changes})
        module.setup()
    except (FileNotFoundError, TypeError, ValueError) as error:
        raise InputError(str(error), file=folder / "config.yaml", key="data") from error
    return module


def test_batches(data: PackedDataModule) -> EvaluationBatches:
    """The test images in order.

    Raises:
        InputError: There are none.
    """
    loader = data.test_dataloader()
    if isinstance(loader, list):
        raise InputError("the data set has no test images", file=data.path)
    return loader


def class_names(data: PackedDataModule) -> tuple[str, ...]:
    """The names of the classes that the data module serves, by their labels there."""
    names = data.packed.classes
    return names if data.classes is None else tuple(names[label] for label in data.classes)


def hidden(net: Classifier) -> nn.Module:
    """All layers but the last: images to the values of the last hidden layer."""
    return nn.Sequential(*list(net.network.children())[:-1], nn.Flatten())
