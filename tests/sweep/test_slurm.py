"""What sbatch is given, without a cluster to give it to."""

from pathlib import Path
from typing import Any

import pytest

from ablations.study import InputError
from ablations.sweep.executors.placement import Needs
from ablations.sweep.executors.remote import Visit
from ablations.sweep.executors.slurm import (
    SlurmExecutor,
    end_leftovers,
    slurm_engine,
    slurm_options,
)
from ablations.sweep.job import Job

_SBATCH = """\
#!/bin/sh
cat "$1" >> {log}
echo "Submitted batch job 7"
"""
_SACCT = """\
#!/bin/sh
state=RUNNING
grep -q scancel {log} && state=CANCELLED
echo 'JobID|State|NodeList'
for job in 3 7 7_0 7_1 7_2; do echo "$job|$state|node"; done
"""
_SAYS = '#!/bin/sh\necho "$0 $@" >> {log}\n'


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with SLURM's programs; what they are asked is in its log."""
    submitit = pytest.importorskip("submitit")
    # It remembers the jobs that have ended by their numbers.
    monkeypatch.setattr(submitit.SlurmJob, "watcher", type(submitit.SlurmJob.watcher)())
    folder = tmp_path / "bin"
    folder.mkdir()
    log = folder / "log"
    texts = {"sbatch": _SBATCH, "srun": _SAYS, "scancel": _SAYS, "sacct": _SACCT}
    for name, text in texts.items():
        (folder / name).write_text(text.format(log=log))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def test_options() -> None:
    given = ["partition=long", "time=600", "--gpus-per-node=1", "mem=16GB"]
    assert slurm_options(given) == {
        "partition": "long",
        "time": 600,
        "gpus_per_node": 1,
        "mem": "16GB",
    }
    for wrong in ("partition", "=long"):
        with pytest.raises(InputError, match="--slurm: .*expected key=value"):
            slurm_options([wrong])
    with pytest.raises(InputError, match="--slurm: time: expected minutes, got '04:00:00'"):
        slurm_options(["time=04:00:00"])


def written(programs: Path, needs: Needs, jobs: int, **options: Any) -> list[str]:
    """The lines that sbatch got for a few jobs."""
    workspace = programs.parent / "runs"
    engine = slurm_engine(workspace / "slurm", "lrn", needs, options)
    executor = SlurmExecutor(engine, needs, Visit.begin(workspace), 8)
    futures = [executor.submit(Job(())) for _ in range(jobs)]
    while not all(future.running() for future in futures):
        pass
    executor.stop(kill=True)
    assert all(future.exception() is not None for future in futures)
    return (programs / "log").read_text().splitlines()


def test_the_script_of_one_job(programs: Path) -> None:
    lines = written(programs, Needs(2, 4, "always"), 1, partition="long", reservation="mine")
    for flag in (
        "job-name=ablate-lrn",
        "time=240",
        "cpus-per-task=8",
        "gpus-per-node=2",
        "partition=long",
        "reservation=mine",
        "signal=USR2@60",
        "open-mode=append",
    ):
        assert f"#SBATCH --{flag}" in lines
    assert not [line for line in lines if "--array" in line]
    assert any(line.startswith("srun ") and "submitit.core._submit" in line for line in lines)
    assert lines[-1].endswith("scancel 7")


def test_what_waits_together_is_one_array(programs: Path) -> None:
    lines = written(programs, Needs(), 3)
    assert "#SBATCH --array=0-2%3" in lines
    assert not [line for line in lines if "gpus" in line]
    assert [line.split()[-1] for line in lines if "scancel" in line] == ["7_0", "7_1", "7_2"]


def test_a_refused_job_says_why(programs: Path) -> None:
    (programs / "sbatch").write_text("#!/bin/sh\necho 'invalid partition: lon' >&2\nexit 1\n")
    workspace = programs.parent / "runs"
    engine = slurm_engine(workspace / "slurm", "lrn", Needs(), {"partition": "lon"})
    executor = SlurmExecutor(engine, Needs(), Visit.begin(workspace), 8)
    error = executor.submit(Job(())).exception(30)
    executor.stop()
    assert isinstance(error, InputError)
    assert "--slurm: the job was not accepted" in str(error) and "invalid partition" in str(error)


def test_jobs_of_a_sweep_that_was_killed_are_cancelled(programs: Path) -> None:
    slurm = programs.parent / "runs" / "slurm"
    for job, file in (("3", "3_submitted.pkl"), ("4", "4_0_result.pkl")):
        (slurm / job).mkdir(parents=True)
        (slurm / job / file).touch()
    end_leftovers(slurm_engine(slurm, "lrn", Needs(), {}))
    assert (programs / "log").read_text().splitlines() == [f"{programs}/scancel 3"]
    assert [path.name for path in slurm.iterdir()] == ["4"]


def test_no_slurm_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="no srun on the path"):
        slurm_engine(tmp_path, "lrn", Needs(), {})
