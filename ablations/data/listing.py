"""The image files of a folder or a tar archive, by class, without unpacking anything."""

import bz2
import gzip
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_OPENERS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}


@dataclass(frozen=True)
class Entry:
    """A file in a folder, or in a tar archive.

    Attributes:
        name: Its path below the folder or in the archive.
        file: The file that holds its bytes.
        offset: Where they begin.
        size: How many they are; None for the whole file.
    """

    name: PurePosixPath
    file: Path
    offset: int = 0
    size: int | None = None

    def read(self) -> bytes:
        """The bytes."""
        with self.file.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(-1 if self.size is None else self.size)


@dataclass(frozen=True)
class Listing:
    """Labelled files.

    Attributes:
        classes: The classes' names in the order of the labels.
        splits: For "train", and "test" where files are held out, the files with their labels.
        notes: What was left out, for the reader.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Sequence[tuple[Entry, int]]]
    notes: tuple[str, ...] = ()


def files_of(path: Path, scratch: Path) -> list[Entry]:
    """All files of a folder or a tar archive, by name; hidden ones are left out.

    Args:
        path: A folder, or a tar archive.
        scratch: A folder to make for the decompressed archive, where it is compressed.

    Raises:
        FileNotFoundError: There is nothing at the path.
        ValueError: It is a file, but no tar archive.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no '{path}'")
    found = _in_folder(path) if path.is_dir() else in_tar(_plain(path, scratch))
    shown = [e for e in found if not any(part.startswith(".") for part in e.name.parts)]
    return sorted(shown, key=lambda entry: entry.name)


def _in_folder(path: Path) -> Iterator[Entry]:
    for folder, _, names in os.walk(path, followlinks=True):
        for name in names:
            file = Path(folder) / name
            yield Entry(PurePosixPath(file.relative_to(path).as_posix()), file)


def in_tar(path: Path, offset: int = 0) -> Iterator[Entry]:
    """The regular files of an uncompressed tar archive that begins at an offset of a file.

    Nothing is unpacked: names are only read, wherever they may point.

    Raises:
        ValueError: It is no tar archive, or damaged.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            # tarfile gives offsets from the start of the file, not of the archive
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                for member in archive:
                    if member.isreg():
                        name = PurePosixPath(member.name)
                        name = PurePosixPath(*(p for p in name.parts if p not in ("/", "..")))
                        yield Entry(name, path, member.offset_data, member.size)
    except tarfile.TarError as error:
        raise ValueError(f"'{path}' is no tar archive, or damaged: {error}") from error


def _plain(path: Path, scratch: Path) -> Path:
    """The archive itself, or a decompressed copy: files are read from any place in it."""
    with path.open("rb") as stream:
        start = stream.read(6)
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
    if opener is None:
        return path
    scratch.mkdir(parents=True, exist_ok=True)
    copy = scratch / f"{path.name}.tar"
    try:
        with opener(path) as packed, copy.open("wb") as plain:
            shutil.copyfileobj(packed, plain, 2**20)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"'{path}' is damaged: {error}") from error
    return copy


def by_class(path: Path, scratch: Path, only: Sequence[str] = ()) -> Listing:
    """Files in class folders: ``train/CLASS/...`` and ``test/CLASS/...``, or ``CLASS/...`` alone.

    ``val`` is held out where there is no ``test``. A single folder around all that is passed over.
    Labels number the classes by name.

    Args:
        path: A folder, or a tar archive of one.
        scratch: A folder to make for a decompressed archive.
        only: Names of classes; all without it.

    Raises:
        FileNotFoundError: There is nothing at the path.
        ValueError: There are no two classes, no training files, or a class is missing.
    """
    entries = files_of(path, scratch)
    start = _depth(entries)
    parts = [(entry, entry.name.parts[start:]) for entry in entries]
    split = any(part[0] in SPLITS for _, part in parts if len(part) > 2)
    found: dict[str, list[tuple[Entry, str]]] = {}
    outside = []
    for entry, part in parts:
        name = (SPLITS.get(part[0]) if split else "train") if len(part) > 1 + split else None
        if name is None:
            outside.append(str(entry.name))
        else:
            found.setdefault(name, []).append((entry, part[split]))
    notes = []
    if outside:
        notes.append(f"{len(outside)} files outside of class folders are left out: {some(outside)}")
    if "test" in found and "val" in found:
        notes.append("test is held out; val is left out, since a share of train validates")
    held_out = found.get("test") or found.get("val")
    if "train" not in found:
        raise ValueError(f"'{path}' holds no train/CLASS/IMAGE and no CLASS/IMAGE files")
    splits = {"train": found["train"]} | ({"test": held_out} if held_out else {})
    return labelled(splits, path, only, notes)


def labelled(
    splits: Mapping[str, Sequence[tuple[Entry, str]]],
    path: Path,
    only: Sequence[str],
    notes: Sequence[str] = (),
    names: Mapping[str, str] = {},
) -> Listing:
    """Files with labels instead of classes; the classes are sorted, and only some may be wanted.

    Args:
        splits: The files with their classes.
        path: Where they are, for errors.
        only: The wanted classes; all without it.
        notes: What was left out so far.
        names: Longer names for classes.

    Raises:
        ValueError: There are no two classes, or a class has no training files.
    """
    known = {name for _, name in splits["train"]}
    missing = set(only) - known or {name for _, name in splits.get("test", ())} - known
    if missing:
        near = get_close_matches(min(missing), known, n=1) if len(missing) == 1 else []
        hint = f' (did you mean "{near[0]}"?)' if near else ""
        raise ValueError(f"'{path}' has no training images of {some(sorted(missing))}{hint}")
    classes = sorted(set(only) or known)
    if len(classes) < 2:
        raise ValueError(f"'{path}' has one class, '{classes[0]}': there is nothing to tell apart")
    label = {name: k for k, name in enumerate(classes)}
    kept = {
        split: [(entry, label[name]) for entry, name in files if name in label]
        for split, files in splits.items()
    }
    return Listing(tuple(names.get(name, name) for name in classes), kept, tuple(notes))


def some(names: Sequence[str], most: int = 5) -> str:
    """The first of some names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _depth(entries: Sequence[Entry]) -> int:
    """How many folders stand around all class and split folders."""
    depth = 0
    while True:
        tops = {e.name.parts[depth] for e in entries if len(e.name.parts) > depth + 1}
        deep = any(len(e.name.parts) > depth + 2 for e in entries)
        if len(tops) != 1 or tops & SPLITS.keys() or not deep:
            return depth
        depth += 1
