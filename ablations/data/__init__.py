"""Data sets in one packed format, and the DataModule that serves them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablations.data.module import PackedDataModule as PackedDataModule

__all__ = ["PackedDataModule"]


def __getattr__(name: str) -> object:
    # Lightning is imported when the DataModule is asked for: packing does without
    if name == "PackedDataModule":
        from ablations.data.module import PackedDataModule

        return PackedDataModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
