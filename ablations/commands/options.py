"""What ``ablate run`` is told beside the study."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ablations.commands.executor import HERE, Where
from ablations.study import InputError, Study


@dataclass(frozen=True)
class Options:
    """How a study is run.

    Attributes:
        workers: Jobs at once; None: as many as there is room for.
        rerun: Arms whose trials are trained again.
        fail_fast: Launch nothing more once a trial fails.
        storage: Optuna's database; None: the workspace's journal.
        report: Write the report at the end.
        max_hours: After which what runs is stopped, its checkpoints kept.
        max_trials: Launched at most.
        timeout: Seconds without progress after which a trial's worker ends.
        where: Where trials run.
        fuse: Trials that are trained as one, at most; 0 for what the rehearsal decides.
    """

    workers: int | None = None
    rerun: Sequence[str] = ()
    fail_fast: bool = False
    storage: str | None = None
    report: bool = True
    max_hours: float | None = None
    max_trials: int | None = None
    timeout: float | None = None
    where: Where = HERE
    fuse: int = 1

    def __post_init__(self) -> None:
        if self.fuse != 1 and self.where.kind != "local":
            raise InputError("goes with --executor local", file="--fuse")


def with_seeds(study: Study, seeds: int | None) -> Study:
    """The study with another number of seeds, the same for every arm.

    Raises:
        InputError: The number is below one.
    """
    if seeds is None:
        return study
    if not 1 <= seeds <= 10_000:
        raise InputError("expected from 1 to 10,000 seeds", file="--seeds")
    return replace(study, seeds=tuple(range(seeds)), plan=None)


def seconds(text: str) -> float:
    """A time as a person writes it: 90, 90s, 10m, 1.5h.

    Raises:
        InputError: It is not one, or not above zero.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None or not float(match[1]):
        raise InputError("expected a time such as 90, 90s, 10m or 1.5h", file="--timeout", key=text)
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
