"""What the command line says where an executor cannot be had; nothing is created then."""

import sys
from pathlib import Path

import pytest

from tests.conftest import Ablate
from tests.toy import edit_base, write_project


@pytest.mark.parametrize(
    ("kind", "module", "line"),
    [
        ("ray", "ray", "Ray is not installed: pip install 'ablations[ray]'"),
        ("slurm", "submitit", "submitit is not installed: pip install 'ablations[slurm]'"),
    ],
)
def test_a_missing_extra(
    ablate: Ablate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    module: str,
    line: str,
) -> None:
    write_project(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    told = ablate("run", "toy.yaml", "--executor", kind)
    assert (told.code, told.errors) == (2, [f"error: --executor: {kind}: {line}"])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--address", "here:1"), "--address: goes with --executor ray"),
        (("--slurm", "time=9", "--executor", "ray"), "--slurm: goes with --executor slurm"),
        (("--per-gpu", "2"), "--per-gpu: a trial takes 2 devices, so none can"),
    ],
)
def test_options_that_do_not_fit(
    ablate: Ablate, tmp_path: Path, options: tuple[str, ...], error: str
) -> None:
    write_project(tmp_path)
    edit_base(tmp_path, {"trainer.devices": 2})
    told = ablate("run", "toy.yaml", *options)
    assert told.code == 2
    assert told.errors[-1].startswith(f"error: {error}")
    assert not (tmp_path / "runs").exists()


def test_no_cluster_at_the_address(ablate: Ablate, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    write_project(tmp_path)
    told = ablate("run", "toy.yaml", "--executor", "ray", "--address", "127.0.0.1:1")
    assert told.code == 2
    assert "--address: 127.0.0.1:1: " in told.errors[-1]
    assert not (tmp_path / "runs").exists()
