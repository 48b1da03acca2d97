"""A real PostgreSQL and a real MLflow server on this machine, for as long as a test needs them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.soak.command import wait_for

MLFLOW = {
    **os.environ,
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def postgres_programs() -> Path | None:
    """Debian's folder of initdb and postgres, or wherever PATH has them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        return None
    return found[-1].parent if found else Path(str(on_path)).parent


@dataclass(frozen=True)
class Postgres:
    programs: Path
    port: int

    def create(self, database: str) -> str:
        """The URL of a new, empty database."""
        command = [self.programs / "createdb", "-h", "127.0.0.1", "-p", str(self.port)]
        subprocess.run([*command, "-U", "postgres", database], check=True)
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"


@contextmanager
def postgres(programs: Path) -> Iterator[Postgres]:
    """PostgreSQL refuses to run as root: there it runs as the user whom Debian made for it."""
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="ablations-postgres-"))
    if user:
        shutil.chown(folder, user)
    data, port = folder / "data", free_port()
    initialise = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"]
    subprocess.run(initialise, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
    log = (folder / "log.txt").open("w")
    serve = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder]
    process = subprocess.Popen(serve, user=user, cwd=folder, stdout=log, stderr=log)
    try:
        ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        wait_for(lambda: subprocess.run(ready).returncode == 0)
        yield Postgres(programs, port)
    finally:
        process.send_signal(signal.SIGINT)  # SIGTERM would wait for every client to go
        process.wait(60)
        log.close()
        shutil.rmtree(folder)


class MlflowServer:
    """``mlflow server``, which can be stopped and started again."""

    def __init__(self, store: str, artifacts: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        self._command += ["--backend-store-uri", store, "--artifacts-destination", str(artifacts)]
        self._command += ["--host", "127.0.0.1", "--port", str(self.port)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(
            self._command, env=MLFLOW, stdout=quiet, stderr=quiet, start_new_session=True
        )
        wait_for(self._answers)

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(60)
            wait_for(lambda: not self._answers())
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as told:
                return bool(told.status == 200)
        except OSError:
            return False
