"""Files of any size into a packed folder, several at a time."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ablations.data.listing import Entry, Listing, some
from ablations.data.pictures import BadImage, square
from ablations.data.writing import Chunk, Encoding, PackedWriter

ENCODED_ABOVE = 8 * 2**30  # bytes of raw images
CHUNK = 32  # files that a thread takes at a time
MOST_BAD = 100  # one by one; more are a mistake of another kind


@dataclass
class Tally:
    """What was met on the way.

    Attributes:
        bad: Names of files that could not be used, with reasons.
        enlarged: How many images were smaller than their packed size.
    """

    bad: list[str] = field(default_factory=list)
    enlarged: int = 0


def pack_files(
    listing: Listing,
    out: Path,
    source: str,
    size: int,
    encoding: Encoding | None,
    workers: int,
    skip_bad: bool,
    tick: Callable[[str, int], None],
) -> Tally:
    """Packs listed image files.

    Args:
        listing: The files.
        out: The folder to make.
        source: Where they come from, in words.
        size: Pixels a side.
        encoding: By default JPEG where the raw images would take more than 8 GiB.
        workers: Threads; reading, decoding and resizing let each other run.
        skip_bad: Leave files out that cannot be used.
        tick: Called with a split and how many of its files were done.

    Raises:
        FileExistsError: The folder is there already.
        ValueError: Some files cannot be used; the message names them.
    """
    tally = Tally()
    count = sum(map(len, listing.splits.values()))
    if encoding is None:
        encoding = "jpeg" if count * size * size * 3 > ENCODED_ABOVE else "raw"
    with PackedWriter(out, (size, size, 3), encoding) as writer:
        for split, files in listing.splits.items():
            writer.write(split, _chunks(files, size, encoding, workers, tally, split, tick))
        if tally.bad and not skip_bad:
            raise ValueError(_told(tally.bad))
        writer.finish(source, listing.classes, {"skipped": tally.bad, "enlarged": tally.enlarged})
    return tally


def _told(bad: Sequence[str]) -> str:
    more = "at least " if len(bad) >= MOST_BAD else ""
    return f"{more}{len(bad)} files cannot be used (--skip-bad leaves them out): {some(bad, 20)}"


@dataclass(frozen=True)
class _Prepared:
    chunk: Chunk | None
    bad: list[str]
    enlarged: int
    files: int


def _prepare(files: Sequence[tuple[Entry, int]], size: int, encoding: Encoding) -> _Prepared:
    images, labels, bad, enlarged = [], [], [], 0
    for entry, label in files:
        try:
            image, small = square(entry.read(), size)
        except (BadImage, OSError) as error:
            bad.append(f"{entry.name} ({error})")
            continue
        images.append(image)
        labels.append(label)
        enlarged += small
    chunk = None
    if images:
        chunk = Chunk.of(np.stack(images), np.array(labels, np.int64), encoding)
    return _Prepared(chunk, bad, enlarged, len(files))


def _chunks(
    files: Sequence[tuple[Entry, int]],
    size: int,
    encoding: Encoding,
    workers: int,
    tally: Tally,
    split: str,
    tick: Callable[[str, int], None],
) -> Iterator[Chunk]:
    """Chunks in the order of the files, a few ahead of the one that is written."""
    parts = deque(files[start : start + CHUNK] for start in range(0, len(files), CHUNK))
    ahead: deque[Future[_Prepared]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        while parts or ahead:
            while parts and len(ahead) < 2 * workers:
                ahead.append(pool.submit(_prepare, parts.popleft(), size, encoding))
            done = ahead.popleft().result()
            tally.bad += done.bad
            tally.enlarged += done.enlarged
            tick(split, done.files)
            if len(tally.bad) >= min(MOST_BAD, len(files)):
                raise ValueError(_told(tally.bad))
            if done.chunk is not None:
                yield done.chunk
    finally:
        pool.shutdown(cancel_futures=True)
