"""``ablate ui``: MLflow's server on loopback over a workspace."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress

from rich.console import Console

from ablations.commands.stages import variants
from ablations.commands.tell import compare_page
from ablations.study import InputError, Study
from ablations.workspace import Workspace, read_json


def ui(study: Study | None, workspace: Workspace, console: Console, port: int) -> int:
    """Serve until Ctrl-C, with the address of the study's comparison printed.

    Raises:
        InputError: There is nothing to show yet.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith("http"):
        _show_addresses(uri, study, workspace, console)
        return 0
    if not (workspace.root / "mlflow.db").exists():
        raise InputError("holds no runs yet; `ablate run STUDY` makes them", file=workspace.root)
    port = port or _free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", uri or workspace.tracking_uri, "--workers", "1"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(
        command,
        env={**os.environ, **quiet},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if not _answers(server, address):
            told = server.stderr.read() if server.stderr and server.poll() is not None else ""
            last = (told.strip().splitlines() or ["no answer within a minute"])[-1]
            console.print(f"error: the MLflow server did not start: {last}", markup=False)
            return 1
        _show_addresses(address, study, workspace, console)
        console.print("Ctrl-C stops the server", highlight=False)
        server.communicate()
        return server.returncode
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(10)
        server.kill()


def _show_addresses(
    server: str, study: Study | None, workspace: Workspace, console: Console
) -> None:
    def line(name: str, value: str) -> None:
        console.print(f"{name:<12} {value}", markup=False, highlight=False, soft_wrap=True)

    names = sorted(p.name for p in (workspace.root / "studies").glob("*"))
    if study is not None:
        names = [each.name for _, each in variants(study, workspace)]
    for name in names:
        memory = read_json(workspace.study_folder(name) / "tracking.json")
        if not memory or "experiment" not in memory:
            continue
        runs = f"{server}/#/experiments/{memory['experiment']}/runs"
        line(name, "")
        line("  runs", f"{runs}?workflowType=machine_learning")
        line("  charts", f"{runs}?workflowType=machine_learning&compareRunsMode=CHART")
        line("  comparison", compare_page(server, (memory["experiment"], memory["arms"])))


def _answers(server: "subprocess.Popen[str]", address: str) -> bool:
    for _ in range(240):
        if server.poll() is not None:
            return False
        with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=1):
            return True
        time.sleep(0.25)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 5000))
        except OSError:
            probe.close()
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                return int(other.getsockname()[1])
        return 5000
