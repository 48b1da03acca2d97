"""`PackedDataModule` for `lightning.pytorch`, which shares no base class with pytorch_lightning."""

import lightning.pytorch

from ablations.data.module import PackedData


class PackedDataModule(PackedData, lightning.pytorch.LightningDataModule):
    """A packed data set (for `lightning.pytorch`)."""
