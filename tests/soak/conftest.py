"""One project whose trials misbehave when told to, and the table of its undisturbed sweep."""

from pathlib import Path
from typing import Any

import pytest

from tests.soak.command import ablate, table
from tests.toy import edit_base, module_name, write_project

SEEDS, ARMS, EPOCHS = 2, 3, 24

_ACTING = f"""\
import os
import signal
import time
from pathlib import Path

from {module_name("pytorch_lightning")} import TwoClasses


class Acting(TwoClasses):
    '''Does what a file in the folder ABLATIONS_ACTS asks; who takes the file does it, once.'''

    def on_train_batch_start(self, batch, batch_idx):
        time.sleep(float(os.environ.get("ABLATIONS_PAUSE", "0")))
        folder = os.environ.get("ABLATIONS_ACTS")
        if not folder or self.global_step != 400:
            return
        for file in sorted(Path(folder).glob("*.act")):
            taken = file.with_suffix(f".{{os.getpid()}}")
            try:
                file.rename(taken)
            except FileNotFoundError:
                continue
            getattr(self, file.stem)(taken.read_text())
            return

    def preempt(self, _):
        os.kill(os.getpid(), signal.SIGTERM)

    def hang(self, _):
        time.sleep(600)

    def raise_memory_error(self, _):
        bytearray(1 << 60)

    def exhaust_memory(self, group):
        Path(group, "cgroup.procs").write_text(str(os.getpid()))
        held = []
        while True:
            held.append(b"x" * (1 << 24))
"""


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two seeds and three arms, a few seconds of training a trial."""
    folder = tmp_path_factory.mktemp("project")
    write_project(folder, seeds=SEEDS)
    (folder / "acting_classes.py").write_text(_ACTING)
    changes = {"trainer.max_epochs": EPOCHS, "data.init_args.size": 1024}
    edit_base(folder, {"model.class_path": "acting_classes.Acting", **changes})
    return folder


@pytest.fixture(scope="session")
def undisturbed(project: Path) -> dict[str, Any]:
    ablate(project, "run", "toy.yaml", "--workspace", "quiet", "--no-report")
    return table(project, "toy.yaml", "quiet")
