import io
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from ablations.data.ilsvrc import ilsvrc
from ablations.data.listing import Listing
from tests.data.images import jpeg, tar_of, write_files

# the devkit numbers its classes in an order of its own, and lists inner nodes after them
WORDNET = ("n02000000", "n03000000", "n01000000")
WORDS = ("crane", "crane, derrick", "tench")
TRUTH = (3, 1, 2, 3)  # of the validation images, by that numbering
TRAIN = {f"{w}/{w}_{k}.JPEG": jpeg(10 * c + k) for c, w in enumerate(WORDNET) for k in (2, 10)}
VALIDATION = {f"ILSVRC2012_val_0000000{k}.JPEG": jpeg(100 + k) for k in (1, 2, 3, 4)}
TRAIN_TAR = tar_of(
    {
        f"{wordnet}.tar": tar_of({Path(n).name: c for n, c in TRAIN.items() if wordnet in n})
        for wordnet in WORDNET
    }
)


def devkit() -> dict[str, bytes]:
    kinds = [("ILSVRC2012_ID", "f8"), ("WNID", "O"), ("words", "O"), ("num_children", "f8")]
    rows = [(k + 1, WORDNET[k], WORDS[k], 0) for k in range(3)] + [(4, "n00000001", "thing", 3)]
    stream = io.BytesIO()
    savemat(stream, {"synsets": np.array(rows, dtype=kinds)})
    return {
        "ILSVRC2012_devkit_t12/data/meta.mat": stream.getvalue(),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": "\n".join(
            map(str, TRUTH)
        ).encode(),
    }


CAFFE = {
    "val.txt": b"".join(
        f"{name} {sorted(WORDNET).index(WORDNET[truth - 1])}\n".encode()
        for name, truth in zip(VALIDATION, TRUTH, strict=True)
    ),
    "synset_words.txt": b"".join(
        f"{wordnet} {words}\n".encode()
        for wordnet, words in sorted(zip(WORDNET, WORDS, strict=True))
    ),
}
TRAINING_FORMS = {
    "tar of tars": {"ILSVRC2012_img_train.tar": TRAIN_TAR},
    "class folders": {f"train/{name}": content for name, content in TRAIN.items()},
    "folder of tars": {
        f"train/{wordnet}.tar": tar_of({n: c for n, c in TRAIN.items() if wordnet in n})
        for wordnet in WORDNET
    },
    "as for localisation": {f"ILSVRC/Data/CLS-LOC/train/{n}": c for n, c in TRAIN.items()},
}
VALIDATION_FORMS = {
    "tar, devkit": {"ILSVRC2012_img_val.tar": tar_of(VALIDATION)}
    | {"ILSVRC2012_devkit_t12.tar.gz": tar_of(devkit(), "w:gz")},
    "folder, unpacked devkit": {f"val/{n}": c for n, c in VALIDATION.items()} | devkit(),
    "tar, Caffe": {"ILSVRC2012_img_val.tar": tar_of(VALIDATION)} | CAFFE,
    "class folders": {"synset_words.txt": CAFFE["synset_words.txt"]}
    | {
        f"val/{WORDNET[truth - 1]}/{name}": content
        for (name, content), truth in zip(VALIDATION.items(), TRUTH, strict=True)
    },
}


def seen(listing: Listing) -> dict[str, list[tuple[int, bytes]]]:
    return {
        split: sorted((label, entry.read()) for entry, label in files)
        for split, files in listing.splits.items()
    }


@pytest.mark.parametrize("validation", VALIDATION_FORMS)
@pytest.mark.parametrize("training", TRAINING_FORMS)
def test_every_layout_gives_the_same_labels(tmp_path: Path, training: str, validation: str) -> None:
    folder = write_files(tmp_path / "set", TRAINING_FORMS[training] | VALIDATION_FORMS[validation])
    listing = ilsvrc(folder, tmp_path / "scratch")
    assert listing.classes == ("n01000000 tench", "n02000000 crane", "n03000000 crane, derrick")
    label = {wordnet: k for k, wordnet in enumerate(sorted(WORDNET))}
    assert seen(listing) == {
        "train": sorted((label[name[:9]], content) for name, content in TRAIN.items()),
        "test": sorted(
            (label[WORDNET[truth - 1]], content)
            for content, truth in zip(VALIDATION.values(), TRUTH, strict=True)
        ),
    }
    names = [entry.name.name for entry, _ in listing.splits["train"]]
    assert names == sorted(names, key=lambda name: (name[:9], name))
    assert "train has 6 images; the published one has 1281167" in listing.notes[0]


def test_some_classes(tmp_path: Path) -> None:
    files = TRAINING_FORMS["tar of tars"] | VALIDATION_FORMS["tar, devkit"]
    listing = ilsvrc(write_files(tmp_path, files), tmp_path / "scratch", WORDNET[1:])
    assert listing.classes == ("n01000000 tench", "n03000000 crane, derrick")
    assert [len(part) for part in listing.splits.values()] == [4, 3]
    assert not listing.notes


def test_classes_without_training_images_are_left_out(tmp_path: Path) -> None:
    kept = {f"train/{n}": c for n, c in TRAIN.items() if WORDNET[0] not in n}
    listing = ilsvrc(
        write_files(tmp_path, kept | VALIDATION_FORMS["tar, Caffe"]), tmp_path / "scratch"
    )
    assert [len(part) for part in listing.splits.values()] == [4, 3]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, r"training images, 138 GB: put ILSVRC2012_img_train\.tar from https"),
        (TRAINING_FORMS["tar of tars"], r"validation images, 6\.3 GB: put ILSVRC2012_img_val\.tar"),
        (
            TRAINING_FORMS["tar of tars"] | {"ILSVRC2012_img_val.tar": tar_of(VALIDATION)},
            r"classes: put ILSVRC2012_devkit_t12\.tar\.gz",
        ),
        (
            {n: c for n, c in TRAINING_FORMS["class folders"].items() if WORDNET[0] not in n}
            | {"ILSVRC2012_img_val.tar": tar_of(VALIDATION), "val.txt": CAFFE["val.txt"]},
            r"numbers 3 classes, but 2 are known: put synset_words\.txt",
        ),
        ({"train/cat/1.jpg": b"", **VALIDATION_FORMS["tar, Caffe"]}, "neither nXXXXXXXX"),
        (
            TRAINING_FORMS["tar of tars"]
            | {"ILSVRC2012_img_val.tar": tar_of({"a.JPEG": b""})}
            | devkit(),
            "holds 1 images, but the ground truth 4",
        ),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, files: dict[str, bytes], complaint: str) -> None:
    with pytest.raises((FileNotFoundError, ValueError), match=complaint):
        ilsvrc(write_files(tmp_path, files), tmp_path / "scratch")
