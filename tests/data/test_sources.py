from pathlib import Path

import numpy as np
import pytest

from ablations.data.packed import read_packed
from ablations.data.sources import digits, open_data
from ablations.data.writing import write_packed


def test_digits() -> None:
    packed = digits()
    assert packed.shape == (8, 8, 1)
    assert packed.classes == tuple("0123456789")
    assert {name: len(split.labels) for name, split in packed.splits.items()} == {
        "train": 1347,
        "test": 450,
    }
    images = np.concatenate([split.images for split in packed.splits.values()])
    assert (images.min(), images.max()) == (0, 255)
    for split in packed.splits.values():
        assert np.bincount(split.labels, minlength=10).min() > 0.07 * len(split.labels)


def test_digits_are_all_there_once() -> None:
    from sklearn.datasets import load_digits

    images = np.concatenate([split.images for split in digits().splits.values()])
    expected = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    rows = [array.reshape(1797, 64) for array in (images, expected)]
    assert np.array_equal(*(row[np.lexsort(row.T)] for row in rows))


def test_digits_as_a_folder(tmp_path: Path) -> None:
    write_packed(digits(), tmp_path / "digits")
    opened = open_data(str(tmp_path / "digits"))
    assert np.array_equal(opened.splits["test"].images, digits().splits["test"].images)
    assert read_packed(tmp_path / "digits").classes == digits().classes


def test_a_wrong_path_names_what_is_there(tmp_path: Path) -> None:
    write_packed(digits(), tmp_path / "numbers")
    with pytest.raises(FileNotFoundError, match=r"built-in set \(digits\).*numbers"):
        open_data(str(tmp_path / "number"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(ValueError, match=r"photos' is no packed folder.*cat\.jpg"):
        open_data(str(tmp_path / "photos"))
