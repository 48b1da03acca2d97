"""One image file, of whatever kind and size, as a square of 8-bit RGB."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

# Pillow would hand PostScript to another program
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")


class BadImage(ValueError):
    """A file that cannot be used as an image; str() says why."""


def square(content: bytes, size: int) -> tuple[NDArray[np.uint8], bool]:
    """The middle square of an image, its short side made ``size`` pixels.

    Turned as its EXIF data says; greyscale, CMYK and palettes become RGB, transparency is dropped.
    Resized by Pillow's bicubic filter, which widens with the reduction and so does not alias.

    Args:
        content: The file.
        size: Pixels a side.

    Returns:
        uint8 (size, size, 3), and whether the image was enlarged.

    Raises:
        BadImage: It is truncated, no image, or not of 8 bits a channel.
    """
    try:
        opened: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
        enlarged = min(opened.size) < size
        opened.draft(None, (2 * size, 2 * size))  # large JPEGs are decoded at half size or less
        image = ImageOps.exif_transpose(opened)
    except Exception as error:  # whatever Pillow meets in a damaged file: it has no common base
        raise BadImage(_reason(error)) from error
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise BadImage(f"not of 8 bits a channel (mode {image.mode})")
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    box = (left, top, left + short, top + short)
    rgb = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(rgb), enlarged


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return str(error) or type(error).__name__
