"""Trials that start from those of another study: which they are, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from ablations.study import InputError, load_study, source_trial, trials
from ablations.workspace import Workspace
from tests.toy import write_yaml

INIT = "model.init_args.init_from"


def base(**more: Any) -> dict[str, Any]:
    return {"model": {"class_path": "a.B", "init_args": {"width": 1, **more}}}


def study(folder: Path, name: str, arms: dict[str, Any], **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "base.yaml").exists():
        write_yaml(folder / "base.yaml", base())
    content = {"question": "Which?", "base": "base.yaml", "metric": "test/error", "arms": arms}
    file = folder / f"{name}.yaml"
    write_yaml(file, content | {"baseline": next(iter(arms)), "seeds": 3} | more)
    return file


def pair(folder: Path, init: Any, width: int = 2, **more: Any) -> Path:
    """A study of two arms, one of which starts from the other study's."""
    study(folder, "source", {"plain": {}, "wide": {"model.init_args.width": width}})
    return study(folder, "tuned", {"scratch": {}, "tuned": {INIT: init}}, **more)


def ids(file: Path, arm: str) -> list[str]:
    return [trial.id for trial in trials(load_study(file)) if trial.arm == arm]


def test_each_trial_starts_from_that_of_its_own_seed(tmp_path: Path) -> None:
    file = pair(tmp_path, {"study": "source.yaml", "arm": "wide"})
    loaded = load_study(file)
    assert set(loaded.sources) == {"tuned"}
    source = loaded.sources["tuned"]
    starts = [source_trial(source, seed).id for seed in loaded.seeds]
    assert starts == ids(tmp_path / "source.yaml", "wide")
    fixed = load_study(pair(tmp_path, {"study": "source.yaml", "arm": "wide", "seed": 1}))
    assert {source_trial(fixed.sources["tuned"], s).id for s in (0, 1, 2)} == {starts[1]}


def test_a_trial_is_known_by_the_trial_that_it_starts_from(tmp_path: Path) -> None:
    mapping = {"study": "source.yaml", "arm": "wide"}
    file = pair(tmp_path / "one", mapping)
    scratch, tuned = ids(file, "scratch"), ids(file, "tuned")
    assert not set(scratch) & set(tuned)
    # not by how it is written, or where
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    named = pair(tmp_path / "two", {"study": str(tmp_path / "one" / "source.yaml"), "arm": "wide"})
    assert ids(named, "tuned") == tuned
    seed = pair(tmp_path / "three", mapping | {"seed": 1})
    assert [a == b for a, b in zip(ids(seed, "tuned"), tuned, strict=True)] == [False, True, False]
    # a change of the source's configuration is one of the trial, not of the others
    changed = pair(tmp_path / "one", mapping, width=3)
    assert not set(ids(changed, "tuned")) & set(tuned)
    assert ids(changed, "scratch") == scratch
    path = pair(tmp_path / "four", "weights.ckpt")
    assert not load_study(path).sources
    assert not set(ids(path, "tuned")) & set(tuned)


def test_a_base_that_starts_from_another_study(tmp_path: Path) -> None:
    mapping = {"study": "source.yaml", "arm": "wide"}
    file = pair(tmp_path, None)
    write_yaml(tmp_path / "own.yaml", base(init_from=mapping))
    arms = {"all": {}, "narrow": {"model.init_args.width": 0}, "scratch": {INIT: None}}
    file = study(tmp_path, "own-base", arms, base="own.yaml")
    assert set(load_study(file).sources) == {"all", "narrow"}
    write_yaml(tmp_path / "own.yaml", base(init_from=mapping | {"arm": "wid"}))
    with pytest.raises(InputError) as caught:
        load_study(file)
    assert str(caught.value).startswith(f'{tmp_path}/own.yaml: {INIT}.arm: source has no arm "wid"')


@pytest.mark.parametrize(
    ("init", "key", "told"),
    [
        ({"study": "sauce.yaml", "arm": "wide"}, "study", "no such study"),
        ({"study": "sauce.yaml", "arm": "wide"}, "study", 'did you mean "source.yaml"'),
        ({"study": "source.yaml", "arm": "wider"}, "arm", 'did you mean "wide"'),
        ({"study": "source.yaml", "arm": "wide", "seed": 3}, "seed", "has no seed 3; it has 0, 1"),
        ({"study": "source.yaml", "arm": "wide", "seed": True}, "seed", "has no seed True"),
        ({"study": "source.yaml", "arm": "wide", "sed": 1}, "sed", 'did you mean "seed"'),
        ({"study": "source.yaml"}, "arm", "is missing"),
        ({"arm": "wide"}, "study", "is missing"),
        ({"study": 3, "arm": "wide"}, "study", "expected text, got 3"),
        (
            {"study": "tuned.yaml", "arm": "tuned"},
            "study",
            "cannot start from itself (tuned → tuned)",
        ),
    ],
)
def test_a_source_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, init: Any, key: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = pair(tmp_path, init)
    with pytest.raises(InputError) as caught:
        load_study(file)
    assert (caught.value.file, caught.value.key) == (file, f"arms.tuned.{INIT}.{key}")
    assert told in str(caught.value)


def test_studies_that_start_from_each_other(tmp_path: Path) -> None:
    file = pair(tmp_path, {"study": "source.yaml", "arm": "wide"})
    study(
        tmp_path, "source", {"plain": {}, "wide": {INIT: {"study": "tuned.yaml", "arm": "tuned"}}}
    )
    with pytest.raises(InputError, match="itself .tuned → source → tuned"):
        load_study(file)


def test_a_source_of_the_same_name(tmp_path: Path) -> None:
    other = study(tmp_path / "other", "tuned", {"plain": {}, "wide": {"model.init_args.width": 2}})
    file = pair(tmp_path, {"study": str(other), "arm": "wide"})
    with pytest.raises(InputError, match='arms.tuned: starts from another study called "tuned"'):
        load_study(file)


def test_a_source_that_is_tuned_first(tmp_path: Path) -> None:
    file = pair(tmp_path, {"study": "source.yaml", "arm": "wide"})
    space = {"model.init_args.rate": [1, 2]}
    arms = {"plain": {}, "wide": {"model.init_args.width": 2}}
    study(tmp_path, "source", arms, tune={"trials": 2, "space": space, "metric": "val/error"})
    with pytest.raises(InputError, match="source tunes its arms"):
        load_study(file)


def test_the_workspaces_copy_of_a_study_brings_its_sources(tmp_path: Path) -> None:
    home = tmp_path / "home"
    file = pair(home, {"study": "source.yaml", "arm": "wide"})
    study(
        home,
        "chain",
        {"scratch": {}, "more": {f"{INIT}.study": "tuned.yaml", f"{INIT}.arm": "tuned"}},
    )
    loaded = load_study(home / "chain.yaml")
    workspace = Workspace(tmp_path / "runs")
    workspace.create()
    workspace.record_study(loaded)
    workspace.record_study(load_study(file))
    expected = trials(loaded)
    shutil.rmtree(home)
    assert trials(load_study(workspace.study_folder("chain") / "study.yaml")) == expected
