"""A trial that starts from the weights which another left."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
import yaml

from ablations.nets import AlexNet
from ablations.study import Study, Trial, load_study, source_trial, trials
from ablations.sweep import watch
from ablations.sweep.job import Order
from ablations.sweep.orders import order_for
from ablations.sweep.seeding import Part
from ablations.sweep.sources import Sourced, has_weights, missing_sources, source_studies
from ablations.sweep.trial import run_trial
from ablations.workspace import Workspace, write_json
from tests.toy import write_project, write_yaml


def shortened(study: Study, workspace: Workspace, arm: str, **model: Any) -> Order:
    """The order of the arm's first trial, of three epochs on few images."""
    (trial,) = (t for t in trials(study, (0,)) if t.arm == arm)
    folder = workspace.trial_folder(trial.id)
    made = order_for(study, arm, 0, trial.id, folder, 1)
    overrides = dict(made.recipe.overrides)
    overrides["model"] = {"init_args": {**overrides["model"]["init_args"], **model}}
    overrides["trainer"] = {"max_epochs": 3}
    overrides["data"] = {"init_args": {**overrides["data"]["init_args"], "limit": 100}}
    return replace(made, recipe=replace(made.recipe, overrides=overrides))


@pytest.fixture(autouse=True, scope="module")
def guessing_is_no_failure() -> Iterator[None]:
    """Nets of a few steps, or of a rate of 0, do not learn: here they need not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ablations.sweep.trial.learned_nothing", lambda *_: False)
        yield


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the first source of study `pretraining`."""
    workspace = Workspace(tmp_path_factory.mktemp("pretrained"))
    study = load_study("pretraining-source")
    assert study.keep_weights
    assert run_trial(shortened(study, workspace, "all-images")).status == "done"
    return workspace


def test_weights_are_kept_where_they_are_wanted(pretrained: Workspace, tmp_path: Path) -> None:
    study = load_study("pretraining-source")
    made = shortened(study, pretrained, "all-images")
    content = torch.load(made.folder / "weights.ckpt", weights_only=True)
    assert set(content) == {"state_dict"}
    net = AlexNet(5, image_size=8, channels=1, width=0.125, recipe="as-run")
    net.load_state_dict(content["state_dict"])
    without = replace(made, folder=tmp_path / made.folder.name, keep_weights=False)
    (tmp_path / made.folder.name).mkdir()
    # what an earlier attempt kept is not that of the next
    (without.folder / "weights.ckpt").touch()
    run_trial(without)
    assert not (without.folder / "weights.ckpt").exists()
    one, two = (
        json.loads((folder / "result.json").read_text())["metrics"]
        for folder in (made.folder, without.folder)
    )
    assert one == two


def test_a_trial_that_starts_from_another_resumes(
    pretrained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study("pretraining")
    monkeypatch.setattr(watch, "CHECKPOINT_SECONDS", 0.0)
    made = shortened(study, pretrained, "pretrained")
    whole = replace(made, folder=tmp_path / "whole")
    broken = replace(made, folder=tmp_path / "broken")
    assert run_trial(whole).status == "done"
    with monkeypatch.context() as patched:
        patched.setattr(AlexNet, "on_train_epoch_start", raises_late, raising=False)
        assert run_trial(broken).status == "failed"
    assert (broken.folder / "checkpoint.ckpt").exists()
    assert run_trial(replace(broken, attempt=2)).status == "done"
    one, two = (
        json.loads((folder / "result.json").read_text()) for folder in (whole.folder, broken.folder)
    )
    assert two["resumed"]
    assert one["metrics"] == two["metrics"]
    # the same net from its own weights ends elsewhere
    run_trial(replace(shortened(study, pretrained, "scratch"), folder=tmp_path / "scratch"))
    scratch = json.loads((tmp_path / "scratch" / "result.json").read_text())
    assert scratch["metrics"] != one["metrics"]


def raises_late(self: Any) -> None:
    if self.current_epoch == 2:
        raise RuntimeError("too bad")


def test_weights_that_do_not_fit_are_told_in_a_line(pretrained: Workspace, tmp_path: Path) -> None:
    study = load_study("pretraining")
    made = shortened(study, pretrained, "pretrained", without=["conv4"])
    outcome = run_trial(replace(made, folder=tmp_path))
    assert outcome.status == "failed"
    assert "does not fit: conv4.bias is not in this net; conv4.weight" in str(outcome.error)


def test_what_is_missing(tmp_path: Path) -> None:
    study, workspace = load_study("pretraining"), Workspace(tmp_path)
    todo = trials(replace(study, seeds=(0, 7)))
    found = missing_sources(study, workspace, todo)
    assert [(m.study.name, len(m.trials), m.again) for m in found] == [("pretraining-source", 4, 0)]
    assert missing_sources(study, workspace, [t for t in todo if t.arm == "scratch"]) == []
    (source,) = source_studies(replace(study, seeds=(0, 7)))
    # a seed beyond the source's own is trained all the same
    assert (source.seeds, source.keep_weights) == ((*range(6), 7), True)

    first = source_trial(study.sources["pretrained"], 0).id
    write_json(workspace.trial_folder(first) / "result.json", {"status": "done"})
    assert [(len(m.trials), m.again) for m in missing_sources(study, workspace, todo)] == [(4, 1)]
    (workspace.trial_folder(first) / "weights.ckpt").touch()
    assert has_weights(workspace, first)
    assert [(len(m.trials), m.again) for m in missing_sources(study, workspace, todo)] == [(3, 0)]


def at_once(work: Sourced, workspace: Workspace, slots: int, fails: str = "") -> list[str]:
    """What a sweep of so many slots launches, in order; sources keep weights, others do not."""
    launched: list[str] = []
    running: list[tuple[Trial, Order]] = []
    totals = set()
    while True:
        while len(running) < slots and (trial := work.take()) is not None:
            totals.add(len(launched) - len(running) + work.left.total())
            order = work.launch(trial, 1)
            told = f"{work.named(trial)} {'kept' if order.keep_weights else ''}"
            launched.append(" ".join(told.split()))
            running.append((trial, order))
        if not running:
            # all that is to come is counted from the start
            assert fails or totals <= {len(launched)}
            return launched
        trial, order = running.pop(0)
        result = None if trial.arm == fails else {"status": "done", "seconds": 1.0}
        if result is not None:
            write_json(order.folder / "result.json", result)
            if order.keep_weights:
                (order.folder / "weights.ckpt").touch()
        work.ended(trial, result, "failed" if result is None else "done")


def sourced(folder: Path, arms: dict[str, Any], workspace: Workspace) -> Sourced:
    """A study over the toy project whose source is another one over it; records go nowhere."""
    start = {"model.init_args.init_from": {"study": "source.yaml", "arm": "no-bias"}}
    file = write_project(folder / "source", seeds=2).rename(folder / "source.yaml")
    shutil.copytree(folder / "source", folder, dirs_exist_ok=True)
    content = yaml.safe_load(file.read_text()) | {"baseline": next(iter(arms)), "seeds": 2}
    arms = {name: start if each is None else each for name, each in arms.items()}
    write_yaml(folder / "study.yaml", content | {"arms": arms})
    study = load_study(folder / "study.yaml")
    parts = [Part(study, Mock(), Mock(), lambda: dict.fromkeys(arms, 2))]
    for source in source_studies(study):
        wants = {arm.name: 0 for arm in source.arms}
        parts.append(Part(source, Mock(), Mock(), lambda wants=wants: wants, " of source"))
    return Sourced(parts, workspace, print)


@pytest.mark.parametrize("slots", [1, 3])
def test_sources_go_in_front(tmp_path: Path, slots: int) -> None:
    workspace = Workspace(tmp_path / "runs")
    work = sourced(tmp_path, {"full": {}, "tuned": None}, workspace)
    launched = at_once(work, workspace, slots)
    for seed in (0, 1):
        first = launched.index(f"no-bias of source seed {seed} kept")
        assert first < launched.index(f"tuned seed {seed}")
    assert len(launched) == 6
    assert (work.held, +work.left) == ([], {})
    again = sourced(tmp_path, {"full": {}, "tuned": None}, workspace)
    assert at_once(again, workspace, slots) == []


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("same_first", [True, False])
def test_a_source_that_is_the_studys_own_trial_is_trained_once(
    tmp_path: Path, slots: int, same_first: bool
) -> None:
    workspace = Workspace(tmp_path / "runs")
    same = {"same": {"model.init_args.bias": False}}
    arms = (
        {"full": {}, **same, "tuned": None} if same_first else {"full": {}, "tuned": None, **same}
    )
    work = sourced(tmp_path, arms, workspace)
    launched = at_once(work, workspace, slots)
    assert sorted(launched) == sorted(
        [f"full seed {seed}" for seed in (0, 1)]
        + [f"same seed {seed} kept" for seed in (0, 1)]
        + [f"tuned seed {seed}" for seed in (0, 1)]
    )
    assert (work.held, +work.left) == ([], {})


def test_what_starts_from_a_failed_trial_is_held(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "runs")
    work = sourced(tmp_path, {"full": {}, "tuned": None}, workspace)
    launched = at_once(work, workspace, 2, fails="no-bias")
    assert not any(name.startswith("tuned") for name in launched)
    assert [(trial.arm, trial.seed) for trial in work.held] == [("tuned", 0), ("tuned", 1)]
