"""Where data sets come from: built-in sets, and packed folders by their path."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ablations.data.draws import shuffle
from ablations.data.packed import Packed, Split, pack, read_packed

DIGITS_TEST = 450


@cache
def digits() -> Packed:
    """scikit-learn's 1,797 handwritten digits, 8x8 greyscale: 1,347 to train on, 450 to test.

    The data set has no test split of its own: a fixed hash of the image's number draws it.
    """
    rows = _digits_table()
    images = np.rint(rows[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = rows[:, 64].astype(np.int64)
    order = shuffle(torch.arange(len(labels)), "digits", "test").numpy()
    parts = {"train": np.sort(order[DIGITS_TEST:]), "test": np.sort(order[:DIGITS_TEST])}
    return pack(
        source="scikit-learn load_digits: UCI handwritten digits, test part",
        classes=tuple("0123456789"),
        splits={name: Split(images[part], labels[part]) for name, part in parts.items()},
    )


def _digits_table() -> NDArray[np.float64]:
    """A row for each image: its 64 pixels from 0 to 16, then its class."""
    found = find_spec("sklearn")
    home = Path(found.origin).parent if found is not None and found.origin else Path()
    file = home / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        # Read past scikit-learn, which every worker would import for longer than a second.
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    data = load_digits()
    return np.column_stack([data.data, data.target])


BUILT_IN = {"digits": digits}


def open_data(path: str) -> Packed:
    """The data set of a built-in name or of a packed folder's path.

    Raises:
        FileNotFoundError: It is neither; the message names what there is.
        ValueError: The folder is no packed folder, or damaged.
    """
    if path in BUILT_IN:
        return BUILT_IN[path]()
    folder = Path(path)
    if not folder.exists():
        beside = folder.parent
        packed = sorted(str(meta.parent) for meta in beside.glob("*/meta.json"))
        raise FileNotFoundError(
            f"no data set '{path}': it is neither a built-in set ({', '.join(BUILT_IN)}) nor a "
            f"packed folder (in '{beside}': {', '.join(packed) or 'none'})"
        )
    return read_packed(folder)
