"""Made image files, and the folder with real ones."""

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

REAL = os.environ.get("ABLATIONS_DATA", "")
needs_images = pytest.mark.skipif(
    not REAL, reason="ABLATIONS_DATA does not name a folder with images"
)


def picture(number: int, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Image.Image:
    """A smooth image that differs from number to number."""
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    bands = [x * 200, y * 200, (x + y) * 50 + number * 7 % 150]
    return Image.fromarray(np.stack(bands, axis=-1).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def jpeg(number: int, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> bytes:
    return encoded(picture(number, size, mode), quality=95)


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def tar_of(files: dict[str, bytes], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def class_files(splits: tuple[str, ...] = ("train", "test"), each: int = 3) -> dict[str, bytes]:
    return {
        f"{split}/{name}/{k}.jpg": jpeg(10 * s + 5 * c + k)
        for s, split in enumerate(splits)
        for c, name in enumerate(("cat", "dog"))
        for k in range(each)
    }
