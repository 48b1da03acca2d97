"""CIFAR-10 (Krizhevsky 2009) as published: the python or the binary version, packed or unpacked."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablations.data.packed import Packed, Split, pack

ARCHIVES = {  # md5, as the data set's page prints them
    "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
}
PYTHON = {  # md5, as in torchvision.datasets.CIFAR10
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
BINARY = tuple(f"{name}.bin" for name in PYTHON)
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
BATCH = 10_000  # images a file
RECORD = 1 + 3 * 32 * 32  # bytes an image in the binary version: label, then three planes


def cifar10(path: Path) -> Packed:
    """CIFAR-10: 50,000 images to train on, 10,000 to test, 32x32 in colour.

    Args:
        path: One of the published archives, a folder that holds one, or what was unpacked from one.

    Raises:
        FileNotFoundError: It is none of them; the message says which file to put where.
        ValueError: A file is damaged, or not the published one.
    """
    batches = _batches(path)
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    train = len(labels) - BATCH
    splits = {
        "train": Split(images[:train], labels[:train]),
        "test": Split(images[train:], labels[train:]),
    }
    return pack("CIFAR-10 (Krizhevsky 2009)", CLASSES, splits)


def _batches(path: Path) -> list[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    for file in [path / name for name in ARCHIVES] if path.is_dir() else [path]:
        if file.is_file() and file.name in ARCHIVES:
            return _from_archive(file)
    for folder in (path, path / "cifar-10-batches-py", path / "cifar-10-batches-bin"):
        if all((folder / name).is_file() for name in PYTHON):
            content = {name: (folder / name).read_bytes() for name in PYTHON}
            for name, md5 in PYTHON.items():
                _check(folder / name, hashlib.md5(content[name]).hexdigest(), md5)
            return [_unpickled(content[name]) for name in PYTHON]
        if all((folder / name).is_file() for name in BINARY):
            return [_split((folder / name).read_bytes(), folder / name) for name in BINARY]
    raise FileNotFoundError(
        f"no CIFAR-10 in '{path}': get cifar-10-python.tar.gz (163 MB, md5 "
        f"{ARCHIVES['cifar-10-python.tar.gz']}) from https://www.cs.toronto.edu/~kriz/cifar.html "
        "and name it, or the folder that it is in, with --from (images in class folders are packed "
        "by: ablate pack folder --size 32)"
    )


def _from_archive(file: Path) -> list[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    with file.open("rb") as stream:  # nothing in it is opened before this
        _check(file, hashlib.file_digest(stream, "md5").hexdigest(), ARCHIVES[file.name])
    with tarfile.open(file) as archive:
        members = {PurePosixPath(m.name).name: m for m in archive if m.isreg()}
        python = PYTHON.keys() <= members.keys()

        def content(name: str) -> bytes:
            stream = archive.extractfile(members[name])
            assert stream is not None  # it is so for other than regular files
            return stream.read()

        if python:
            return [_unpickled(content(name)) for name in PYTHON]
        return [_split(content(name), file / name) for name in BINARY]


def _check(file: Path, md5: str, expected: str) -> None:
    if md5 != expected:
        raise ValueError(f"'{file}' has md5 {md5}, not {expected}: damaged, or not the published")


class _Reader(pickle.Unpickler):
    """Makes numpy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not to be in it")


def _unpickled(content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        batch = _Reader(io.BytesIO(content), encoding="bytes").load()
        return _square(batch[b"data"]), np.array(batch[b"labels"], np.int64)
    except (pickle.UnpicklingError, KeyError, TypeError) as error:
        raise ValueError(f"a CIFAR-10 batch holds something else: {error}") from error


def _split(content: bytes, file: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if len(content) != BATCH * RECORD:
        raise ValueError(f"'{file}' has {len(content)} bytes instead of {BATCH * RECORD}")
    records = np.frombuffer(content, np.uint8).reshape(BATCH, RECORD)
    return _square(records[:, 1:]), records[:, 0].astype(np.int64)


def _square(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
