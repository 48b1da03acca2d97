"""The contract kept on a Ray cluster of two nodes and by submitit, and sweeps through both."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path

import psutil
import pytest

from ablations.study import InputError, Study
from ablations.sweep.executors import Executor
from ablations.sweep.executors.placement import Needs
from ablations.sweep.executors.ray import RayExecutor, connect
from ablations.sweep.executors.remote import Visit
from ablations.sweep.executors.slurm import SlurmExecutor
from tests.soak.command import ENVIRONMENT
from tests.sweep.conftest import order
from tests.sweep.contract import Contract, Start, endless, process_in, trained, wait_until

ray = pytest.importorskip("ray")
submitit = pytest.importorskip("submitit")
pytestmark = pytest.mark.soak


@pytest.fixture(scope="module", autouse=True)
def here() -> Iterator[None]:
    """Workers on a cluster find the package as they would if it were installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
        patch.setenv("ABLATIONS_CHECKPOINT_SECONDS", "0.3")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        # Ray's workers let everybody else go first, by 15, and on a busy machine never come to it.
        patch.setenv("RAY_worker_niceness", "0")
        yield


@pytest.fixture(scope="module")
def cluster(here: None) -> Iterator[str]:
    """The address of two nodes of one processor each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield str(made.address)
    made.shutdown()


class TestRay(Contract):
    @pytest.fixture(scope="class")
    @classmethod
    def start(cls, cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Start:
        def start() -> Executor:
            visit = Visit.begin(tmp_path_factory.mktemp("workspace"))
            return RayExecutor(connect(cluster), Needs(), visit)

        return start

    def test_a_workspace_that_workers_do_not_see(
        self, cluster: str, toy: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        executor = RayExecutor(connect(cluster), Needs(), Visit(Path.cwd(), tmp_path, "other"))
        try:
            failed = executor.submit(trained(order(toy, tmp_path / "a"))).exception()
            assert isinstance(failed, InputError)
            assert "does not see this workspace" in str(failed)
        finally:
            executor.stop()

    def test_a_trial_larger_than_any_node(self, cluster: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no node of the cluster .* 2 CPU"):
            RayExecutor(connect(cluster), Needs(devices=2), Visit.begin(tmp_path))


def made(workspace: Path) -> SlurmExecutor:
    engine = submitit.LocalExecutor(workspace / "slurm" / "%j")
    engine.update_parameters(timeout_min=10)
    return SlurmExecutor(engine, Needs(), Visit.begin(workspace), 2)


class TestSlurm(Contract):
    @pytest.fixture(scope="class")
    @classmethod
    def start(cls, tmp_path_factory: pytest.TempPathFactory) -> Start:
        return lambda: made(tmp_path_factory.mktemp("workspace"))

    def test_a_preempted_job_goes_on_from_the_checkpoint(
        self, unruly: Study, tmp_path: Path
    ) -> None:
        executor = made(tmp_path)
        long = endless(order(unruly, tmp_path / "long"), epochs=600)
        try:
            future = executor.submit(trained(order(unruly, tmp_path / "first", seed=1), long))
            wait_until((tmp_path / "long" / "checkpoint.ckpt").exists, 90)
            stamp = (tmp_path / "first" / "result.json").stat().st_mtime_ns
            worker = process_in(tmp_path / "long")
            psutil.Process(worker).parent().send_signal(signal.SIGUSR2)
            (outcome,) = future.result(300)
        finally:
            executor.stop(kill=True)
        assert outcome.status == "done"  # type: ignore[union-attr]
        result = json.loads((tmp_path / "long" / "result.json").read_text())
        assert result["resumed"] is True
        assert process_in(tmp_path / "long") != worker
        assert (tmp_path / "first" / "result.json").stat().st_mtime_ns == stamp

    def test_a_node_that_dies(self, unruly: Study, tmp_path: Path) -> None:
        executor = made(tmp_path)
        try:
            future = executor.submit(trained(endless(order(unruly, tmp_path / "a"))))
            wait_until((tmp_path / "a" / "metrics.csv").exists, 90)
            worker = process_in(tmp_path / "a")
            os.kill(psutil.Process(worker).ppid(), signal.SIGKILL)
            assert isinstance(future.exception(90), BrokenExecutor)
            wait_until(lambda: not psutil.pid_exists(worker))
        finally:
            executor.stop(kill=True)

    def test_a_job_of_a_sweep_that_another_has_followed(
        self, unruly: Study, tmp_path: Path
    ) -> None:
        executor = made(tmp_path)
        executor.submit(trained(endless(order(unruly, tmp_path / "a"))))
        wait_until((tmp_path / "a" / "metrics.csv").exists, 90)
        worker = process_in(tmp_path / "a")
        Visit.begin(tmp_path)
        wait_until(lambda: not psutil.pid_exists(worker), 60)
        executor.stop(kill=True)
