"""Memory for batches that is used again: fresh pages, which the system has to clear, are slow."""

import math
import weakref
from collections import defaultdict

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Memory:
    """Gives arrays whose memory serves again once nothing refers to them; for several threads."""

    def __init__(self) -> None:
        self._free: defaultdict[int, list[NDArray[np.uint8]]] = defaultdict(list)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:  # type: ignore[type-arg]
        """An array of anything, like `numpy.empty`.

        What outlives it has to hold this very array, as ``torch.from_numpy`` does; numpy's own
        views of it hold the memory below, and would not keep it from serving again.
        """
        size = math.prod(shape) * np.dtype(dtype).itemsize
        free = self._free[size]
        try:
            memory = free.pop()
        except IndexError:  # not asked before: another thread may take the last one
            memory = np.empty(size, np.uint8)
        array = memory.view(dtype).reshape(shape)
        weakref.finalize(array, free.append, memory).atexit = False
        return array
