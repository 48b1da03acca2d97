import hashlib
import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablations.data import cifar10 as module
from ablations.data.cifar10 import BINARY, CLASSES, PYTHON, cifar10
from tests.data.images import tar_of, write_files

EACH = 4  # images a batch


class _Old(pickle._Pickler):  # type: ignore[name-defined, misc]
    """Writes bytes as the strings of Python 2, in which the published files were written."""

    def save_bytes(self, content: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)

    dispatch = pickle._Pickler.dispatch | {bytes: save_bytes}  # type: ignore[attr-defined]


def old_pickle(content: Any) -> bytes:
    stream = io.BytesIO()
    _Old(stream, 2).dump(content)
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


@pytest.fixture
def planes() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, EACH, 3072), np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 10, (6, EACH))


@pytest.fixture
def python(planes: np.ndarray, labels: np.ndarray) -> dict[str, bytes]:
    return {
        name: old_pickle({b"data": planes[k], b"labels": labels[k].tolist()})
        for k, name in enumerate(PYTHON)
    }


@pytest.fixture
def binary(planes: np.ndarray, labels: np.ndarray) -> dict[str, bytes]:
    records = np.concatenate([labels[..., None].astype(np.uint8), planes], axis=2)
    return {name: records[k].tobytes() for k, name in enumerate(BINARY)}


def known(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    """Lets these files pass for the published ones."""
    md5 = {Path(name).name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    for table in ("ARCHIVES", "PYTHON"):
        mended = {name: md5.get(name, old) for name, old in getattr(module, table).items()}
        monkeypatch.setattr(module, table, mended)
    monkeypatch.setattr(module, "BATCH", EACH)


@pytest.mark.parametrize("version", ["python", "binary"])
@pytest.mark.parametrize("place", ["archive", "beside", "unpacked", "inside"])
def test_every_published_form(
    version: str,
    place: str,
    python: dict[str, bytes],
    binary: dict[str, bytes],
    planes: np.ndarray,
    labels: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = f"cifar-10-batches-{version[:3].replace('pyt', 'py')}"
    files = {f"{folder}/{k}": v for k, v in (python if version == "python" else binary).items()}
    archive = {f"cifar-10-{version}.tar.gz": tar_of(files, "w:gz")}
    known(monkeypatch, files | archive)
    write_files(tmp_path, archive if place in ("archive", "beside") else files)
    where = {"archive": tmp_path / next(iter(archive)), "inside": tmp_path / folder}
    packed = cifar10(where.get(place, tmp_path))
    assert packed.shape == (32, 32, 3) and packed.classes == CLASSES
    expected = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    for name, part in (("train", slice(0, 5 * EACH)), ("test", slice(5 * EACH, None))):
        assert np.array_equal(packed.splits[name].images, expected[part])
        assert np.array_equal(packed.splits[name].labels, labels.ravel()[part])


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("archived", [True, False])
def test_nothing_is_opened_before_its_md5_is_right(
    archived: bool, python: dict[str, bytes], tmp_path: Path
) -> None:
    python["data_batch_1"] = pickle.dumps(Evil(tmp_path / "evil"))
    files = {"cifar-10-python.tar.gz": tar_of(python, "w:gz")} if archived else python
    with pytest.raises(ValueError, match="has md5"):
        cifar10(write_files(tmp_path, files))
    assert not (tmp_path / "evil").exists()


def test_the_reader_makes_nothing_but_arrays(
    python: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python["data_batch_2"] = pickle.dumps(Evil(tmp_path / "evil"))
    known(monkeypatch, python)
    with pytest.raises(ValueError, match=r"posix\.mkdir is not to be in it"):
        cifar10(write_files(tmp_path, python))
    assert not (tmp_path / "evil").exists()


def test_a_cut_binary_file_is_named(binary: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data_batch_1\.bin' has 12292 bytes instead of 30730000"):
        cifar10(write_files(tmp_path, binary))


def test_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"cifar-10-python\.tar\.gz .*kriz/cifar\.html"):
        cifar10(tmp_path)
