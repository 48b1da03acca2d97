"""Which executor a sweep runs on, as the command line names it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ablations.study import InputError, Study
from ablations.sweep.executors import Executor
from ablations.sweep.executors.local import LocalExecutor
from ablations.sweep.executors.packing import Packing
from ablations.sweep.executors.placement import local_slots, needs_of
from ablations.sweep.executors.remote import Visit
from ablations.workspace import Workspace

# How many jobs wait in SLURM's queue at once, unless --workers says so.
_QUEUED = 64


@dataclass(frozen=True)
class Where:
    """Where trials run.

    Attributes:
        kind: The executor.
        address: Of a Ray cluster.
        per_gpu: Trials that share a GPU.
        slurm: sbatch's options, as ``key=value``.
    """

    kind: Literal["local", "ray", "slurm"] = "local"
    address: str | None = None
    per_gpu: int = 1
    slurm: Sequence[str] = ()


HERE = Where()


def make_executor(
    where: Where, study: Study, workspace: Workspace, workers: int | None, most: int
) -> Executor:
    """Start an executor.

    Args:
        where: Which.
        study: Whose trials it runs, and those that they start from.
        workspace: Created here where workers on other machines have to see it.
        workers: Jobs at once; None: as many as there is room for.
        most: No more workers on this machine than there is work.

    Raises:
        InputError: It cannot be had, or an option belongs to another.
    """
    for option, given, kind in (
        ("--address", where.address, "ray"),
        ("--slurm", where.slurm, "slurm"),
    ):
        if given and where.kind != kind:
            raise InputError(f"goes with --executor {kind}", file=option)
    from ablations.sweep.sources import source_studies

    needs = needs_of((study, *source_studies(study)), where.per_gpu)
    if where.kind == "local":
        return LocalExecutor(local_slots(workers, needs, most))
    if where.kind == "ray":
        from ablations.sweep.executors.ray import RayExecutor, connect

        cluster = connect(where.address)
        workspace.create()
        visit = Visit.begin(workspace.root)
        return Packing(RayExecutor(cluster, needs, visit, workers))
    from ablations.sweep.executors.slurm import SlurmExecutor, slurm_engine, slurm_options

    folder = workspace.root.resolve() / "slurm"
    engine = slurm_engine(folder, study.name, needs, slurm_options(where.slurm))
    workspace.create()
    made = SlurmExecutor(engine, needs, Visit.begin(workspace.root), workers or _QUEUED)
    return Packing(made, at_once=needs.per_gpu)
