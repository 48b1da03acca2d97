"""Where data sets come from: built-in sets, and packed folders by their path."""

from functools import cache
from pathlib import Path

import numpy as np
import torch

from ablations.data.draws import shuffle
from ablations.data.packed import Packed, Split, pack, read_packed

DIGITS_TEST = 450


@cache
def digits() -> Packed:
    """scikit-learn's 1,797 handwritten digits, 8x8 greyscale: 1,347 to train on, 450 to test.

    The data set has no test split of its own: a fixed hash of the image's number draws it.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = data.target.astype(np.int64)
    order = shuffle(torch.arange(len(labels)), "digits", "test").numpy()
    parts = {"train": np.sort(order[DIGITS_TEST:]), "test": np.sort(order[:DIGITS_TEST])}
    return pack(
        source="scikit-learn load_digits: UCI handwritten digits, test part",
        classes=tuple(str(name) for name in data.target_names),
        splits={name: Split(images[part], labels[part]) for name, part in parts.items()},
    )


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
