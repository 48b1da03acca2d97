"""``ablate pack``: a data set as published into a packed folder."""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
from rich import filesize
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ablations.data.cifar10 import cifar10
from ablations.data.ilsvrc import ilsvrc
from ablations.data.listing import Listing, by_class
from ablations.data.packed import read_packed
from ablations.data.packing import Tally, pack_files
from ablations.data.sources import digits
from ablations.data.writing import Encoding, partial_of, write_packed
from ablations.study import InputError
from ablations.sweep.progress import phase

Source = Literal["digits", "cifar10", "ilsvrc", "folder"]


def pack(
    source: Source,
    from_: Path | None,
    out: Path,
    console: Console,
    *,
    size: int = 256,
    encoding: Encoding | None = None,
    classes: str = "",
    workers: int | None = None,
    skip_bad: bool = False,
) -> None:
    """Pack a data set; a folder that is packed already is checked instead.

    Args:
        source: What is packed.
        from_: Where it is; digits need none.
        out: The packed folder.
        console: Where to print.
        size: Pixels a side, for ilsvrc and folder.
        encoding: ``raw`` or ``jpeg``; by default what the size of the set asks for.
        classes: Which ones, for ilsvrc and folder: names with commas between, or a file with a
            name at the start of each line. All where it is empty.
        workers: Threads; one per core by default.
        skip_bad: Leave files out that are no whole images.

    Raises:
        InputError: Something is missing, damaged or cannot be used.
    """
    if size < 1:
        raise InputError(f"--size {size}: at least 1 pixel")
    try:
        if out.exists():
            _check(out, console)
            return
        if partial_of(out).exists():
            _line(console, f"note: an interrupted pack left {partial_of(out)}; starting afresh")
        if source == "digits":
            write_packed(digits(), out, encoding or "raw")
        elif from_ is None:
            raise InputError(f"{source} needs --from PATH, the files as published")
        elif source == "cifar10":
            with phase(console, f"reading {from_} ..."):
                packed = cifar10(from_)
            write_packed(packed, out, encoding or "raw")
        else:
            _pack_files(source, from_, out, console, size, encoding, classes, workers, skip_bad)
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error
    _conclude(out, console)


def _check(out: Path, console: Console) -> None:
    with phase(console, f"{out} is there already: checking it ..."):
        packed = read_packed(out, verify=True)
    _line(console, f"{out} is whole, nothing was done: {packed.source}")


def _pack_files(
    source: Source,
    path: Path,
    out: Path,
    console: Console,
    size: int,
    encoding: Encoding | None,
    classes: str,
    workers: int | None,
    skip_bad: bool,
) -> None:
    scratch = out.with_name(f".{out.name}.scratch")
    listed = ilsvrc if source == "ilsvrc" else by_class
    told = "ILSVRC-2012" if source == "ilsvrc" else f"images of {path.name}"
    told += f", short side to {size}, middle {size}x{size}"
    try:
        with phase(console, f"listing {path} ..."):
            listing = listed(path, scratch, _names(classes))
        for note in listing.notes:
            _line(console, f"note: {note}")
        tally = _with_bars(
            listing, out, told, size, encoding, workers or _cores(), skip_bad, console
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if tally.enlarged:
        smaller = f"{tally.enlarged:,} images were smaller than {size} pixels and were enlarged"
        _line(console, f"note: {smaller}; --size sets another size")
    for bad in tally.bad:
        _line(console, f"left out: {bad}")


def _with_bars(
    listing: Listing,
    out: Path,
    told: str,
    size: int,
    encoding: Encoding | None,
    workers: int,
    skip_bad: bool,
    console: Console,
) -> Tally:
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("images"), TimeRemainingColumn())
    with ExitStack() as stack:
        bars = Progress(TextColumn("{task.description}"), *columns, console=console)
        if console.is_terminal:
            stack.enter_context(bars)
        else:
            counts = _counts({split: len(files) for split, files in listing.splits.items()})
            _line(console, f"packing images: {counts} ...")
        rows = {s: bars.add_task(f"{s:<5}", total=len(f)) for s, f in listing.splits.items()}
        return pack_files(
            listing,
            out,
            told,
            size,
            encoding,
            workers,
            skip_bad,
            lambda split, done: bars.advance(rows[split], done),
        )


def _names(classes: str) -> Sequence[str]:
    if Path(classes).is_file():
        lines = Path(classes).read_text(encoding="utf-8").splitlines()
        return [line.split()[0] for line in lines if line.strip()]
    return [name.strip() for name in classes.split(",") if name.strip()]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _conclude(out: Path, console: Console) -> None:
    packed = read_packed(out)
    counts = _counts({name: len(split.labels) for name, split in packed.splits.items()})
    height, width, channels = packed.shape
    size = filesize.decimal(sum(file.stat().st_size for file in out.iterdir()))
    encoding = "raw" if isinstance(packed.splits["train"].images, np.ndarray) else "as JPEGs"
    told = f"{counts}, {len(packed.classes)} classes, {height}x{width}x{channels} {encoding}"
    _line(console, f"{out}: {told}, {size}")
    _line(console, f"use it as data.init_args.path: {out}")


def _counts(splits: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} to {split}" for split, count in splits.items())


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
