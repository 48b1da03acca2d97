import json
from pathlib import Path

import numpy as np
import pytest

from ablations.data.packed import Packed, Split, pack, read_packed, write_packed


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
    monkeypatch.setattr("ablations.data.packed.CHUNK", 7)
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
    assert not (tmp_path / "set").exists()
    (tmp_path / ".set.partial" / "torn.npy").touch()
    write_packed(made(), tmp_path / "set")
    assert "torn.npy" not in {path.name for path in (tmp_path / "set").iterdir()}


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
