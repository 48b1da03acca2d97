"""ILSVRC-2012 (Russakovsky et al. 2015, DOI 10.1007/s11263-015-0816-y) in its official layout.

Labels number the WordNet ids in their alphabetical order, as Caffe and most others do, and not as
the devkit's own ILSVRC2012_ID does.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ablations.data.listing import Entry, Listing, files_of, in_tar, labelled

WORDNET = re.compile(r"n\d{8}$")
TRAIN = ("ILSVRC2012_img_train.tar", "train", "Data/CLS-LOC/train", "ILSVRC/Data/CLS-LOC/train")
VALIDATION = ("ILSVRC2012_img_val.tar", "val", "Data/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val")
DEVKIT = ("ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_devkit_t12", "devkit")
CAFFE = ("val.txt", "caffe_ilsvrc12/val.txt")
WORDS = ("synset_words.txt", "caffe_ilsvrc12/synset_words.txt")
COUNTS = {"train": 1_281_167, "test": 50_000}


@dataclass(frozen=True)
class _Truth:
    """What is known about the validation images and the classes.

    Attributes:
        wordnet: For each validation image, in the order of their names, its WordNet id.
        words: For WordNet ids, what they mean.
    """

    wordnet: Sequence[str]
    words: dict[str, str]


def ilsvrc(path: Path, scratch: Path, only: Sequence[str] = ()) -> Listing:
    """The training and the validation images; the latter are held out as the test set.

    Args:
        path: A folder with the official files: the training images as a tar of tars, a folder of
            tars or of class folders; the validation images as a tar or a folder, in class folders
            or with the devkit's or Caffe's ground truth.
        scratch: A folder to make for decompressed archives.
        only: WordNet ids of classes; all that have training images without it.

    Raises:
        FileNotFoundError: Something is missing; the message says which file to put where.
        ValueError: Something is damaged, or does not fit together.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"'{path}' is no folder; it should hold {TRAIN[0]} and the rest")
    train = _training(_first(path, TRAIN, "the training images, 138 GB"))
    known = {wordnet for _, wordnet in train}
    words = _words(path)
    place = _first(path, VALIDATION, "the validation images, 6.3 GB")
    files = files_of(place, scratch)
    test = [(entry, entry.name.parts[-2]) for entry in files if len(entry.name.parts) > 1]
    if not test or not all(WORDNET.match(wordnet) for _, wordnet in test):
        truth = _truth(path, scratch, sorted(words or known))
        words = words or truth.words
        if len(files) != len(truth.wordnet):
            raise ValueError(
                f"'{place}' holds {len(files)} images, but the ground truth {len(truth.wordnet)}"
            )
        files.sort(key=lambda entry: entry.name.name)
        test = list(zip(files, truth.wordnet, strict=True))
    names = {wordnet: f"{wordnet} {meaning}" for wordnet, meaning in words.items()}
    held_out = [(entry, wordnet) for entry, wordnet in test if wordnet in known]
    listing = labelled({"train": train, "test": held_out}, path, only, names=names)
    notes = [
        f"{split} has {len(listing.splits[split])} images; the published one has {count}"
        for split, count in COUNTS.items()
        if not only and len(listing.splits[split]) != count
    ]
    return Listing(listing.classes, listing.splits, tuple(notes))


def _first(path: Path, names: Sequence[str], what: str) -> Path:
    for name in names:
        if (path / name).exists():
            return path / name
    raise FileNotFoundError(
        f"'{path}' lacks {what}: put {names[0]} from https://image-net.org/download-images there "
        f"(or one of {', '.join(names[1:])})"
    )


def _training(place: Path) -> list[tuple[Entry, str]]:
    """Images with their WordNet ids, in the order of both, whatever the layout."""
    found: list[tuple[Entry, str]] = []
    if place.is_file():
        inner = [(entry.file, entry.offset, entry.name) for entry in in_tar(place)]
    else:
        inner = [(file, 0, PurePosixPath(file)) for file in place.glob("n*.tar")]
        for folder in place.iterdir():
            if WORDNET.match(folder.name) and folder.is_dir():
                found += [(entry, folder.name) for entry in files_of(folder, folder)]
    for file, offset, name in inner:
        if WORDNET.match(name.stem) and name.suffix == ".tar":
            found += [(entry, name.stem) for entry in in_tar(file, offset)]
    if not found:
        raise ValueError(f"'{place}' holds neither nXXXXXXXX.tar files nor nXXXXXXXX folders")
    return sorted(found, key=lambda image: (image[1], image[0].name.name))


def _words(path: Path) -> dict[str, str]:
    for name in WORDS:
        if (path / name).is_file():
            lines = (path / name).read_text(encoding="utf-8").splitlines()
            return {wordnet: words for wordnet, _, words in (line.partition(" ") for line in lines)}
    return {}


def _truth(path: Path, scratch: Path, classes: Sequence[str]) -> _Truth:
    for name in DEVKIT:
        if (path / name).exists():
            return _from_devkit(path / name, scratch)
    for name in CAFFE:
        if (path / name).is_file():
            return _from_caffe(path / name, classes)
    raise FileNotFoundError(
        f"'{path}' lacks the validation images' classes: put {DEVKIT[0]} (2.5 MB) from "
        "https://image-net.org/download-images there, or Caffe's val.txt and synset_words.txt"
    )


def _from_devkit(place: Path, scratch: Path) -> _Truth:
    from scipy.io import loadmat

    files = {entry.name.name: entry for entry in files_of(place, scratch)}
    try:
        meta = io.BytesIO(files["meta.mat"].read())
        numbers = files["ILSVRC2012_validation_ground_truth.txt"].read().split()
    except KeyError as error:
        raise ValueError(f"'{place}' holds no {error.args[0]}") from None
    synsets = loadmat(meta, squeeze_me=True)["synsets"]
    # the devkit lists inner nodes of WordNet too; the classes are the leaves
    leaves = [synset for synset in synsets if int(synset["num_children"]) == 0]
    ids = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in leaves}
    words = {str(synset["WNID"]): str(synset["words"]) for synset in leaves}
    return _Truth([ids[int(number)] for number in numbers], words)


def _from_caffe(file: Path, classes: Sequence[str]) -> _Truth:
    lines = sorted(line.split() for line in file.read_text(encoding="utf-8").splitlines() if line)
    numbers = [int(number) for _, number in lines]
    if max(numbers) >= len(classes):
        raise ValueError(
            f"'{file}' numbers {max(numbers) + 1} classes, but {len(classes)} are known: put "
            f"{WORDS[0]}, which names them all, beside it"
        )
    return _Truth([classes[number] for number in numbers], {})
