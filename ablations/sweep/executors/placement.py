"""What a trial takes of a machine, and how a machine is shared out."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from ablations.study import Arm, InputError, Study
from ablations.study.yamlfile import merge

# A device that a net names itself, beside those of the trainer.
_NAMED = re.compile(r"\bcuda:(\d+)\b")


@dataclass(frozen=True)
class Slot:
    """A share of the machine for one worker.

    Attributes:
        environment: Set before torch is imported.
        cores: The processor cores it may use; empty: any.
        ignores: Signals that are not for it.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    cores: frozenset[int] = frozenset()
    ignores: tuple[int, ...] = ()


@dataclass(frozen=True)
class Needs:
    """What one trial takes.

    Attributes:
        devices: Processes, each with a GPU of its own where GPUs are used.
        threads: torch threads of each.
        gpus: Whether it runs on GPUs: always, never, or where there are any.
        per_gpu: Trials that share a GPU.
        named: GPUs that a net names itself, as in ``columns: [cuda:0, cuda:1]``.
    """

    devices: int = 1
    threads: int = 1
    gpus: Literal["always", "never", "auto"] = "auto"
    per_gpu: int = 1
    named: int = 0

    @property
    def width(self) -> int:
        """GPUs of a trial, where it runs on GPUs."""
        return max(self.devices, self.named)


def needs_of(studies: Sequence[Study], per_gpu: int = 1) -> Needs:
    """What any trial of the studies takes: the most that an arm asks for.

    Raises:
        InputError: An arm's trainer asks for devices that no slot can give.
    """
    arms = [(study, arm) for study in studies for arm in study.arms]
    devices = max(devices_of(study, arm) for study, arm in arms)
    named = max(named_gpus(study, arm) for study, arm in arms)
    threads = max(study.threads for study in studies)
    kinds = {str(_trainer(study, arm).get("accelerator", "auto")) for study, arm in arms}
    if per_gpu > 1 and max(devices, named) > 1:
        told = f"a trial takes {max(devices, named)} devices, so none can share one"
        raise InputError(told, file="--per-gpu")
    if named and devices > 1:
        told = (
            f"trainer.devices is {devices}, and a net names devices of its own (cuda:{named - 1})"
        )
        raise InputError(f"{told}: it is either", file=studies[0].file)
    if kinds == {"cpu"} and not named:
        return Needs(devices, threads, "never")
    gpus: Literal["always", "auto"] = "always" if named or kinds & {"gpu", "cuda"} else "auto"
    return Needs(devices, threads, gpus, per_gpu, named)


def devices_of(study: Study, arm: Arm) -> int:
    """How many devices one trial of an arm takes.

    Raises:
        InputError: ``trainer.devices`` cannot be read, or several nodes are asked for.
    """
    trainer = _trainer(study, arm)
    if trainer.get("num_nodes", 1) != 1:
        told = "a trial runs on one machine; give trainer.devices instead"
        raise InputError(told, file=study.base, key="trainer.num_nodes")
    devices = trainer.get("devices", "auto")
    if isinstance(devices, str) and "," in devices:
        devices = [part for part in devices.split(",") if part.strip()]
    if isinstance(devices, list | tuple):
        devices = len(devices)
    if devices in ("auto", None):
        return 1
    if str(devices) == "-1":
        return max(1, 0 if trainer.get("accelerator") == "cpu" else len(visible_gpus()))
    if not str(devices).isdecimal() or int(devices) < 1:
        told = f"expected a number of devices, got {devices!r}"
        raise InputError(told, file=study.base, key="trainer.devices")
    return int(devices)


def named_gpus(study: Study, arm: Arm) -> int:
    """How many GPUs an arm's net has to see, for it names some itself; 0 where it names none."""
    named = _NAMED.findall(str(_config(study, arm).get("model")))
    return max((int(number) + 1 for number in named), default=0)


def _trainer(study: Study, arm: Arm) -> Mapping[str, Any]:
    trainer = _config(study, arm).get("trainer")
    return trainer if isinstance(trainer, dict) else {}


def _config(study: Study, arm: Arm) -> Mapping[str, Any]:
    base = dict(study.base_config)
    if "fit" in base and "model" not in base:
        base = base["fit"]
    return merge(base, dict(arm.overrides))


def local_slots(workers: int | None, needs: Needs, most: int) -> list[Slot]:
    """One slot per GPU or per part of one, or per share of the processor's cores.

    Args:
        workers: How many; None: as many as the GPUs, or else the cores, carry.
        needs: What a trial takes.
        most: No more slots than there is work.

    Raises:
        InputError: A trial takes more GPUs than there are.
    """
    cores = sorted(_available_cores())
    gpus = [] if needs.gpus == "never" else visible_gpus()
    groups = [
        ",".join(gpus[start : start + needs.width])
        for start in range(0, len(gpus) - needs.width + 1, needs.width)
    ]
    if gpus and not groups:
        told = f"a trial takes {needs.width} GPUs, this machine has {len(gpus)}"
        raise InputError(told, key="trainer.devices")
    taken = needs.threads * needs.devices
    count = workers or len(groups) * needs.per_gpu or max(1, len(cores) // taken)
    count = min(count, max(1, most))
    share = len(cores) // count
    slots = []
    for number in range(count):
        threads = str(needs.threads)
        environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        if groups:
            environment["CUDA_VISIBLE_DEVICES"] = groups[number % len(groups)]
        own = cores[number * share : (number + 1) * share] if share >= taken else []
        slots.append(Slot(environment, frozenset(own)))
    return slots


@cache
def _nvidia_gpus() -> tuple[str, ...]:
    if shutil.which("nvidia-smi") is None:
        return ()
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(listed.stdout.split())


def visible_gpus() -> list[str]:
    """Identifiers of the NVIDIA devices that may be used, without importing torch."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [part.strip() for part in allowed.split(",") if part.strip() not in ("", "-1")]
    return list(_nvidia_gpus())


def _available_cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))
