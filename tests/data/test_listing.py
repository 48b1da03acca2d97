import io
import tarfile
from pathlib import Path

import pytest

from ablations.data.listing import Listing, by_class
from tests.data.images import class_files, jpeg, tar_of, write_files


def seen(listing: Listing) -> dict[str, list[tuple[bytes, int]]]:
    return {
        split: [(entry.read(), label) for entry, label in files]
        for split, files in listing.splits.items()
    }


def test_folders_and_archives_are_listed_alike(tmp_path: Path) -> None:
    files = class_files()
    expected = {
        split: [
            (content, int("dog" in name))
            for name, content in sorted(files.items())
            if name.startswith(split)
        ]
        for split in ("train", "test")
    }
    around = {f"some/where/{name}": content for name, content in files.items()}
    backwards = dict(reversed(around.items()))
    write_files(tmp_path / "folder", files)
    write_files(tmp_path / "wrapped", around)
    write_files(
        tmp_path,
        {
            "plain.tar": tar_of(files),
            "wrapped.tar": tar_of(backwards),
            "packed.tar.gz": tar_of(around, "w:gz"),
            "packed.tar.xz": tar_of(around, "w:xz"),
        },
    )
    for name in ("folder", "wrapped", "plain.tar", "wrapped.tar", "packed.tar.gz", "packed.tar.xz"):
        listing = by_class(tmp_path / name, tmp_path / "scratch" / name)
        assert listing.classes == ("cat", "dog") and not listing.notes
        assert seen(listing) == expected, name


def test_class_folders_alone_are_all_for_training(tmp_path: Path) -> None:
    files = {
        "cat/1.jpg": jpeg(1),
        "dog/deep/er/2.jpg": jpeg(2),
        "dog/.hidden": b"",
        ".git/x/y": b"",
    }
    listing = by_class(write_files(tmp_path, files), tmp_path)
    assert seen(listing) == {"train": [(jpeg(1), 0), (jpeg(2), 1)]}


def test_validation_images_are_held_out_where_there_are_no_test_images(tmp_path: Path) -> None:
    files = class_files(("train", "val"))
    listing = by_class(write_files(tmp_path / "two", files), tmp_path)
    assert [len(part) for part in listing.splits.values()] == [6, 6]
    three = by_class(write_files(tmp_path / "three", files | class_files(("test",))), tmp_path)
    assert {entry.name.parts[0] for entry, _ in three.splits["test"]} == {"test"}
    assert "val is left out" in three.notes[0]


def test_files_outside_of_classes_are_told(tmp_path: Path) -> None:
    files = class_files() | {"README.md": b"", "train/labels.csv": b"", "extra/cat/1.jpg": b""}
    listing = by_class(write_files(tmp_path, files), tmp_path)
    assert [len(part) for part in listing.splits.values()] == [6, 6]
    (note,) = listing.notes
    assert all(name in note for name in ("3 files", "README.md", "labels.csv", "extra/cat/1.jpg"))


def test_some_classes(tmp_path: Path) -> None:
    files = class_files() | {"train/emu/1.jpg": jpeg(8), "test/emu/1.jpg": jpeg(9)}
    listing = by_class(write_files(tmp_path, files), tmp_path, ["emu", "cat"])
    assert listing.classes == ("cat", "emu")
    assert [label for _, label in listing.splits["train"]] == [0, 0, 0, 1]
    with pytest.raises(ValueError, match="no training images of cow"):
        by_class(tmp_path, tmp_path, ["cow", "cat"])


def test_an_archive_reaches_nothing_outside_of_itself(tmp_path: Path) -> None:
    secret = write_files(tmp_path, {"secret.txt": b"secret"}) / "secret.txt"
    stream = io.BytesIO(tar_of({"../../cat/1.jpg": jpeg(1), "/dog/2.jpg": jpeg(2)}))
    with tarfile.open(fileobj=stream, mode="a") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo("dog/link.jpg")
            link.type, link.linkname = kind, str(secret)
            archive.addfile(link)
    (tmp_path / "inner").mkdir()
    write_files(tmp_path / "inner", {"evil.tar": stream.getvalue()})
    before = set(tmp_path.rglob("*"))
    listing = by_class(tmp_path / "inner" / "evil.tar", tmp_path / "scratch")
    assert seen(listing) == {"train": [(jpeg(1), 0), (jpeg(2), 1)]}
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"cat/1.jpg": b""}, "one class, 'cat'"),
        ({"1.jpg": b"", "2.jpg": b""}, "no train/CLASS/IMAGE"),
        ({"test/cat/1.jpg": b"", "test/dog/1.jpg": b""}, "no train/CLASS/IMAGE"),
        (class_files() | {"test/cow/1.jpg": b""}, "no training images of cow"),
        ({}, "no train/CLASS/IMAGE"),
    ],
)
def test_what_is_no_data_set_is_refused(
    tmp_path: Path, files: dict[str, bytes], complaint: str
) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(ValueError, match=complaint):
        by_class(write_files(tmp_path / "set", files), tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.tar", tar_of(class_files())[:5000]),
        ("cut.tar.gz", tar_of(class_files(), "w:gz")[:-200]),
        ("wrong.tar.gz", tar_of(class_files(), "w:gz")[:200] + bytes(500)),
        ("cats.zip", b"PK\x03\x04 and so on" * 100),
    ],
)
def test_a_damaged_archive_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    write_files(tmp_path, {name: content})
    with pytest.raises(ValueError, match=name):
        by_class(tmp_path / name, tmp_path / "scratch")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no .*nothing"):
        by_class(tmp_path / "nothing", tmp_path)
