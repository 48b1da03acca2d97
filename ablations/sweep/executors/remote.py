"""What a worker on another machine has to see before it works: the parent's own workspace."""

import os
import secrets
import signal
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ablations.study import InputError
from ablations.sweep.executors import Answer, run_job
from ablations.sweep.job import Job
from ablations.workspace import write_atomic

# How long a network file system may take to show what another machine wrote.
_PATIENCE_SECONDS = 15.0


@dataclass(frozen=True)
class Visit:
    """Where a job of this sweep is done, whichever machine does it.

    Attributes:
        home: The parent's working directory, in which relative paths are meant.
        workspace: The folder that all machines see.
        token: What the parent wrote into it; of an earlier sweep it was another.
    """

    home: Path
    workspace: Path
    token: str

    @classmethod
    def begin(cls, workspace: Path) -> "Visit":
        """Leave a token in the workspace, in place of any earlier sweep's."""
        token = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}"
        visit = cls(Path.cwd(), workspace.resolve(), token)
        write_atomic(visit.file, token)
        return visit

    @property
    def file(self) -> Path:
        """Where the token lies."""
        return self.workspace / ".token"

    def end(self) -> None:
        """Take the token away; what has not started by now never does."""
        if self.valid():
            self.file.unlink()

    def valid(self) -> bool:
        """Whether the sweep that this belongs to goes on and its workspace is seen from here."""
        try:
            return self.file.read_text() == self.token
        except OSError:
            return False

    def check(self, patience: float = _PATIENCE_SECONDS) -> None:
        """See that this machine has what the parent has.

        Raises:
            InputError: The workspace or the working directory is another here.
        """
        deadline = time.monotonic() + patience
        while not self.valid():
            if time.monotonic() > deadline:
                raise InputError(
                    f"a worker on {socket.gethostname()} does not see this workspace; it has to "
                    "lie on a file system that all machines share, under the same path",
                    file=self.workspace,
                )
            time.sleep(0.2)
        if not self.home.is_dir():
            raise InputError(
                f"a worker on {socket.gethostname()} does not see this folder, in which the sweep "
                "was started",
                file=self.home,
            )

    def enter(self) -> None:
        """Check, and go where the parent is.

        Raises:
            InputError: The workspace or the working directory is another here.
        """
        self.check()
        os.chdir(self.home)
        # Else Lightning takes the trial for one of several that srun started.
        os.environ["SLURM_JOB_NAME"] = "interactive"

    def work(self, job: Job) -> Answer:
        """Do a job here, deaf to Ctrl-C: it is for the parent."""
        self.enter()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return run_job(job)


def unfinished(job: Job) -> Job:
    """The job without the trials that were finished before it was interrupted."""
    rest = [order for order in job.orders if not (order.folder / "result.json").exists()]
    return job if job.rehearse else replace(job, orders=tuple(rest))
