import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from ablations.commands.pack import pack
from ablations.data.packed import read_packed
from ablations.data.sources import digits
from ablations.study import InputError
from tests.data.images import REAL, class_files, jpeg, needs_images, tar_of, write_files


def packed(source: Any, from_: Path | None, out: Path, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=200)
    pack(source, from_, out, console, **options)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_digits(tmp_path: Path) -> None:
    told = packed("digits", None, tmp_path / "set")
    assert "1,347 to train, 450 to test, 10 classes, 8x8x1 raw, 131.4 kB" in told
    assert read_packed(tmp_path / "set").source == digits().source


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_the_number_of_workers_and_the_form_do_not_show(tmp_path: Path, encoding: str) -> None:
    files = class_files(each=40)
    write_files(tmp_path / "folder", files)
    (tmp_path / "set.tar").write_bytes(tar_of(files))
    options = {"size": 24, "encoding": encoding}
    packed("folder", tmp_path / "folder", tmp_path / "one", workers=1, **options)
    packed("folder", tmp_path / "folder", tmp_path / "three", workers=3, **options)
    packed("folder", tmp_path / "set.tar", tmp_path / "tar", workers=2, **options)
    one, three, tar = (contents(tmp_path / name) for name in ("one", "three", "tar"))
    assert one == three
    assert {n: c for n, c in one.items() if n != "meta.json"} == {
        n: c for n, c in tar.items() if n != "meta.json"
    }
    got = read_packed(tmp_path / "one", verify=True)
    assert got.classes == ("cat", "dog") and got.shape == (24, 24, 3)
    assert got.splits["train"].labels.tolist() == [0] * 40 + [1] * 40
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"folder", "set.tar", "one", "three", "tar"}


def test_large_sets_are_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "folder", class_files())
    for name, limit in (("raw", 12 * 32 * 32 * 3), ("jpeg", 12 * 32 * 32 * 3 - 1)):
        monkeypatch.setattr("ablations.data.packing.ENCODED_ABOVE", limit)
        packed("folder", tmp_path / "folder", tmp_path / name, size=32)
        assert json.loads((tmp_path / name / "meta.json").read_text())["encoding"] == name


BAD = {
    "train/cat/cut.jpg": jpeg(1, (300, 200))[:-2000],
    "test/dog/note.txt": b"not an image",
}


def test_bad_files_are_named_and_skipped_only_when_asked(tmp_path: Path) -> None:
    write_files(tmp_path / "folder", class_files() | BAD)
    with pytest.raises(InputError, match="2 files cannot be used.*--skip-bad") as caught:
        packed("folder", tmp_path / "folder", tmp_path / "set", size=16)
    assert all(name in str(caught.value) for name in BAD)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    told = packed("folder", tmp_path / "folder", tmp_path / "set", size=16, skip_bad=True)
    assert "left out: train/cat/cut.jpg (image file is truncated" in told
    got = read_packed(tmp_path / "set")
    assert [len(split.labels) for split in got.splits.values()] == [6, 6]
    skipped = json.loads((tmp_path / "set" / "meta.json").read_text())["skipped"]
    assert [name.split()[0] for name in skipped] == list(BAD)


def test_nothing_but_bad_files(tmp_path: Path) -> None:
    files = {f"{name}/{k}.jpg": b"" for name in ("cat", "dog") for k in range(60)}
    write_files(tmp_path / "folder", files)
    for skip in (False, True):
        with pytest.raises(InputError, match="files cannot be used"):
            packed("folder", tmp_path / "folder", tmp_path / "set", skip_bad=skip)


def test_a_packed_folder_is_checked_instead(tmp_path: Path) -> None:
    packed("digits", None, tmp_path / "set")
    before = contents(tmp_path / "set")
    assert "is whole, nothing was done" in packed("digits", None, tmp_path / "set")
    assert contents(tmp_path / "set") == before
    (tmp_path / "set" / "mean.npy").write_bytes(before["mean.npy"][:-1])
    with pytest.raises(InputError, match=r"mean\.npy' has 383 bytes instead of 384"):
        packed("digits", None, tmp_path / "set")


def test_some_classes_by_name_or_from_a_file(tmp_path: Path) -> None:
    write_files(tmp_path / "folder", class_files() | {"train/emu/1.jpg": jpeg(1)})
    packed("folder", tmp_path / "folder", tmp_path / "one", size=16, classes="emu, cat")
    (tmp_path / "names.txt").write_text("emu a large bird\ncat\n")
    names = str(tmp_path / "names.txt")
    packed("folder", tmp_path / "folder", tmp_path / "two", size=16, classes=names)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert read_packed(tmp_path / "one").classes == ("cat", "emu")
    with pytest.raises(InputError, match='images of cta .did you mean "cat"'):
        packed("folder", tmp_path / "folder", tmp_path / "three", classes="emu,cta")


def test_a_killed_pack_starts_afresh(tmp_path: Path) -> None:
    files = class_files(each=40)
    folder = write_files(tmp_path / "folder", files)
    blocked = folder / "train" / "dog" / "39.jpg"
    blocked.unlink()
    os.mkfifo(blocked)  # whoever reads it waits
    arguments = ["pack", "folder", "--from", "folder", "--out", "set", "--size", "16"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ablations", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
    )
    partial = tmp_path / ".set.partial"
    deadline = time.monotonic() + 60
    while not partial.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert partial.exists() and not (tmp_path / "set").exists()
    blocked.unlink()
    blocked.write_bytes(files["train/dog/39.jpg"])
    told = packed("folder", folder, tmp_path / "set", size=16)
    assert f"an interrupted pack left {partial}; starting afresh" in told
    assert len(read_packed(tmp_path / "set", verify=True).splits["train"].labels) == 80
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "set"}


@pytest.mark.parametrize("source", ["cifar10", "ilsvrc", "folder"])
def test_refused_input_creates_nothing(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    for from_ in (None, tmp_path / "nothing", tmp_path / "empty"):
        with pytest.raises(InputError, match="--from" if from_ is None else str(from_)):
            packed(source, from_, tmp_path / "data" / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_size_without_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--size 0"):
        packed("folder", tmp_path, tmp_path / "set", size=0)


@needs_images
def test_real_photographs(tmp_path: Path) -> None:
    images, two = Path(REAL) / "imagenette-small.tar", "n01440764,n02979186"
    told = packed("folder", images, tmp_path / "set", encoding="jpeg", classes=two)
    assert "260 to train, 80 to test, 2 classes, 256x256x3 as JPEGs" in told
    got = read_packed(tmp_path / "set")
    assert (np.abs(got.statistics.channel_mean - (118, 116, 110)) < 15).all()
    assert got.statistics.colour_values[0] > 20 * got.statistics.colour_values[2]
