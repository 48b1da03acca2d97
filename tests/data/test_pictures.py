import numpy as np
import pytest
from PIL import Image

from ablations.data.pictures import BadImage, square
from tests.data.images import encoded, jpeg, picture


def test_the_short_side_is_resized_and_the_middle_taken() -> None:
    columns = np.repeat(np.arange(0, 240, 2, dtype=np.uint8), 2)  # 240 wide
    image = Image.fromarray(np.broadcast_to(columns[None, :, None], (120, 240, 3)).copy())
    got, enlarged = square(encoded(image, "PNG"), 60)
    assert got.shape == (60, 60, 3) and got.dtype == np.uint8 and not enlarged
    expected = columns[60:180].reshape(60, 2).mean(axis=1)
    assert np.abs(got[30, 2:-2, 0] - expected[2:-2]).max() <= 1
    tall, _ = square(encoded(image.transpose(Image.Transpose.TRANSPOSE), "PNG"), 60)
    assert np.array_equal(tall, got.transpose(1, 0, 2))


def test_an_image_of_the_right_size_stays_as_it_is() -> None:
    image = picture(1, (32, 32))
    got, enlarged = square(encoded(image, "PNG"), 32)
    assert np.array_equal(got, np.asarray(image)) and not enlarged
    assert square(encoded(image, "PNG"), 33)[1]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_resizing_does_not_alias(kind: str) -> None:
    board = np.indices((1024, 1024)).sum(axis=0) % 2 * 255
    got, _ = square(encoded(Image.fromarray(board.astype(np.uint8)), kind), 100)
    assert np.abs(got[5:-5, 5:-5].astype(int) - 127).max() <= 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = {"CMYK": "JPEG", "YCbCr": "JPEG"}.get(mode, "PNG")
    got, _ = square(encoded(picture(3, mode=mode), kind), 30)
    assert got.shape == (30, 30, 3)
    if mode not in ("1", "P"):
        expected, _ = square(encoded(picture(3, mode=mode).convert("RGB"), "PNG"), 30)
        assert np.abs(got.astype(int) - expected).mean() < 4


def test_exif_orientation_is_followed() -> None:
    upright = picture(3)
    expected, _ = square(encoded(upright, "PNG"), 30)
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    for orientation, stored in turns.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = encoded(upright.transpose(stored), quality=95, exif=exif)
        assert np.abs(square(content, 30)[0].astype(int) - expected).mean() < 3, orientation


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (jpeg(1, (300, 200))[:-2000], "truncated"),
        (encoded(picture(1), "PNG")[:-60], "truncated|broken"),
        (b"no image at all", "not an image"),
        (b"", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (encoded(Image.fromarray(np.zeros((9, 9), np.uint16)), "PNG"), "8 bits"),
    ],
)
def test_a_bad_file_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(BadImage, match=reason):
        square(content, 30)
