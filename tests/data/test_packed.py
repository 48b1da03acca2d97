import json
from pathlib import Path

import numpy as np
import pytest

from ablations.data.packed import Packed, Split, pack, read_packed
from ablations.data.writing import write_packed


def made(count: int = 40, channels: int = 3) -> Packed:
    generator = np.random.default_rng(0)
    tint = generator.integers(0, 200, (count, 1, 1, channels))
    images = (tint + generator.integers(0, 56, (count, 5, 4, channels))).astype(np.uint8)
    labels = generator.integers(0, 3, count)
    held_out = Split(images[:10], labels[:10])
    return pack(
        "made", ("a", "b", "c"), {"train": Split(images[10:], labels[10:]), "test": held_out}
    )


def test_statistics_are_those_of_the_training_images() -> None:
    packed = made()
    images = packed.splits["train"].images.astype(float)
    pixels = images.reshape(-1, 3)
    got = packed.statistics
    assert np.allclose(got.mean, images.mean(axis=0), atol=1e-4)
    assert np.allclose(got.channel_mean, pixels.mean(axis=0))
    assert np.allclose(got.channel_std, pixels.std(axis=0))
    covariance = np.cov(pixels.T, bias=True)
    rebuilt = got.colour_vectors @ np.diag(got.colour_values) @ got.colour_vectors.T
    assert np.allclose(rebuilt, covariance)
    assert (np.diff(got.colour_values) <= 0).all()


def test_statistics_over_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made().statistics
    monkeypatch.setattr("ablations.data.statistics.PIXELS", 7)
    parts = made().statistics
    assert np.allclose(whole.mean, parts.mean)
    assert np.allclose(whole.colour_values, parts.colour_values)


def test_a_folder_holds_the_data_set(tmp_path: Path) -> None:
    packed = made()
    write_packed(packed, tmp_path / "deep" / "set")
    got = read_packed(tmp_path / "deep" / "set", verify=True)
    assert (got.source, got.classes, got.shape) == ("made", ("a", "b", "c"), (5, 4, 3))
    assert isinstance(got.splits["train"].images, np.memmap)
    for name, split in packed.splits.items():
        assert np.array_equal(got.splits[name].images, split.images)
        assert np.array_equal(got.splits[name].labels, split.labels)
    for key, value in vars(packed.statistics).items():
        assert np.array_equal(getattr(got.statistics, key), value), key
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["set"]


def test_an_existing_folder_stays(tmp_path: Path) -> None:
    write_packed(made(), tmp_path / "set")
    with pytest.raises(FileExistsError, match="set' is there already"):
        write_packed(made(50), tmp_path / "set")
    assert len(read_packed(tmp_path / "set").splits["train"].labels) == 30


def test_an_interrupted_writing_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(OSError, match="no space"):
            write_packed(made(), tmp_path / "set")
    assert not list(tmp_path.iterdir())
    (tmp_path / ".set.partial").mkdir()  # what a killed process leaves
    (tmp_path / ".set.partial" / "torn.npy").touch()
    write_packed(made(), tmp_path / "set")
    assert "torn.npy" not in {path.name for path in (tmp_path / "set").iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("name", ["mean.npy", "train.images.npy", "test.labels.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    write_packed(made(), tmp_path / "set")
    file = tmp_path / "set" / name
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[:-20])
    else:
        at = content.index(b"made") if name == "meta.json" else len(content) - 1
        content[at] ^= 1
        file.write_bytes(content)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        read_packed(tmp_path / "set")


def test_large_files_are_hashed_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_packed(made(), tmp_path / "set")
    file = tmp_path / "set" / "train.images.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    monkeypatch.setattr("ablations.data.packed.VERIFY_BELOW", 1000)
    read_packed(tmp_path / "set")
    with pytest.raises(ValueError, match=r"train\.images\.npy"):
        read_packed(tmp_path / "set", verify=True)


def test_another_format_is_refused(tmp_path: Path) -> None:
    write_packed(made(), tmp_path / "set")
    file = tmp_path / "set" / "meta.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 2}))
    with pytest.raises(ValueError, match="format 2"):
        read_packed(tmp_path / "set")


def smooth(channels: int) -> Packed:
    """Images that JPEG does little harm to."""
    ramp = np.linspace(0, 150, 24)
    images = ramp[:, None, None] / 2 + ramp[:, None] / 2 + 10 * np.arange(channels)
    images = (images + np.arange(20)[:, None, None, None]).astype(np.uint8)
    labels = np.arange(20) % 2
    return pack("smooth", ("a", "b"), {"train": Split(images, labels)})


def taken(split: Split, rows: list[int]) -> np.ndarray:
    out = np.empty((len(rows), *split.images.shape[1:]), np.uint8)
    split.take(np.array(rows), out)
    return out


@pytest.mark.parametrize("channels", [1, 3])
def test_encoded_images(tmp_path: Path, channels: int) -> None:
    packed = smooth(channels)
    write_packed(packed, tmp_path / "set", "jpeg")
    got = read_packed(tmp_path / "set", verify=True)
    assert got.shape == (24, 24, channels)
    split, original = got.splits["train"], packed.splits["train"]
    every = taken(split, list(range(20)))
    assert np.abs(every.astype(int) - np.asarray(original.images)).max() <= 6
    assert np.array_equal(taken(split, [7, 3, 3]), every[[7, 3, 3]])
    assert np.array_equal(split.labels, original.labels)
    # of the images as they are read, not as they were
    assert np.allclose(got.statistics.mean, every.mean(axis=0), atol=1e-4)


def test_encoded_images_of_any_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("one", 256), ("two", 3)):
        monkeypatch.setattr("ablations.data.writing.CHUNK", size)
        write_packed(smooth(3), tmp_path / name, "jpeg")
    one, two = ((tmp_path / name / "meta.json").read_text() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("name", ["train.images.jpegs", "train.offsets.npy"])
def test_a_damaged_encoded_file_is_named(tmp_path: Path, name: str) -> None:
    write_packed(smooth(3), tmp_path / "set", "jpeg")
    file = tmp_path / "set" / name
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        read_packed(tmp_path / "set")


def test_an_encoded_image_that_cannot_be_decoded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_packed(smooth(3), tmp_path / "set", "jpeg")
    monkeypatch.setattr("ablations.data.packed.VERIFY_BELOW", 0)
    file = tmp_path / "set" / "train.images.jpegs"
    offsets = np.load(tmp_path / "set" / "train.offsets.npy")
    content = bytearray(file.read_bytes())
    content[offsets[5] : offsets[5] + 20] = bytes(20)
    file.write_bytes(content)
    split = read_packed(tmp_path / "set").splits["train"]
    taken(split, [4, 6])
    with pytest.raises(ValueError, match="packed image 5 is damaged"):
        taken(split, [4, 5, 6])


def test_splits_that_do_not_fit_are_refused() -> None:
    images, labels = np.zeros((4, 5, 5, 1), np.uint8), np.zeros(4, np.int64)
    good = Split(images, labels)
    wrong = {
        "int64 labels": {"train": Split(images, labels.astype(np.int32))},
        "uint8 images": {"train": Split(images.astype(np.float32), labels)},
        "another size": {"train": good, "test": Split(images[:, :4], labels)},
        "too few labels": {"train": Split(images, labels[:3])},
        "outside 0 .. 0": {"train": Split(images, labels + 1)},
        "no split 'train'": {"test": good},
    }
    for message, splits in wrong.items():
        with pytest.raises(ValueError, match=message):
            pack("made", ("a",), splits)
