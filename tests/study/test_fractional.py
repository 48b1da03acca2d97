import itertools

import numpy as np
import pytest

from ablations.study.errors import InputError
from ablations.study.fractional import fraction

NAMES = "ABCDEFGHIJKL"


def word_lengths(design):
    lengths = [word.bit_count() for word in design.words]
    return [lengths.count(size) for size in range(3, len(design.factors) + 1)]


@pytest.mark.parametrize(
    ("k", "cells", "label", "threes", "fours"),
    [
        (3, 4, "2^(3-1), resolution III", 1, 0),
        (4, 8, "2^(4-1), resolution IV", 0, 1),
        (5, 16, "2^(5-1), resolution V", 0, 0),
        (5, 8, "2^(5-2), resolution III", 2, 1),
        (6, 16, "2^(6-2), resolution IV", 0, 3),
        (7, 8, "2^(7-4), resolution III", 7, 7),
        (7, 16, "2^(7-3), resolution IV", 0, 7),
        (7, 32, "2^(7-2), resolution IV", 0, 1),
        (8, 16, "2^(8-4), resolution IV", 0, 14),
        (8, 64, "2^(8-2), resolution V", 0, 0),
        (9, 16, "2^(9-5), resolution III", 4, 14),
        (9, 32, "2^(9-4), resolution IV", 0, 6),
        (10, 32, "2^(10-5), resolution IV", 0, 10),
        (11, 16, "2^(11-7), resolution III", 12, 26),
    ],
)
def test_designs_of_the_published_tables(k, cells, label, threes, fours):
    """Words of three and four factors as in Fries and Hunter 1980 and in Wu and Hamada's tables."""
    design = fraction(NAMES[:k], cells)
    assert design.label == label
    assert (word_lengths(design)[0], sum(word_lengths(design)[1:2])) == (threes, fours)


@pytest.mark.parametrize(("k", "cells"), [(1, 2), (3, 8), (3, 4), (6, 16), (7, 8), (8, 32)])
def test_cells_are_distinct_balanced_and_orthogonal(k, cells):
    design = fraction(NAMES[:k], cells)
    x = 2 * np.array(design.cells) - 1
    assert len(set(design.cells)) == len(design.cells) == cells
    assert set(design.cells[0]) == {0}
    assert (x.T @ x == cells * np.eye(k)).all()


def test_a_full_design_has_no_aliases():
    design = fraction("ABC", 8)
    assert (design.label, design.resolution) == ("2^3, full", None)
    assert sorted(design.cells) == sorted(itertools.product((0, 1), repeat=3))
    assert [term.label for term in design.terms()] == ["A", "B", "C", "A × B", "A × C", "B × C"]
    assert len(design.terms(order=3)) == 7


def test_labels_print_the_aliases():
    assert [term.label for term in fraction("ABC", 4).terms()] == [
        "A − B × C",
        "B − A × C",
        "C − A × B",
    ]
    labels = [term.label for term in fraction(["lrn", "pool", "drop", "pca"], 8).terms()]
    assert labels[:4] == ["lrn", "pool", "drop", "pca"]
    assert labels[4] == "lrn × pool + drop × pca"


@pytest.mark.parametrize(("k", "cells"), [(3, 4), (5, 8), (6, 16), (7, 16)])
def test_aliases_are_equal_columns_up_to_their_sign(k, cells):
    design = fraction(NAMES[:k], cells)
    x = dict(zip(design.factors, (2 * np.array(design.cells) - 1).T, strict=True))
    told = []
    for term in design.terms():
        column = np.prod([x[f] for f in term.factors], axis=0)
        told += [term.factors, *(other for _, other in term.aliases)]
        for sign, other in term.aliases:
            assert (np.prod([x[f] for f in other], axis=0) * sign == column).all()
    every = [c for size in (1, 2) for c in itertools.combinations(design.factors, size)]
    assert sorted(told) == sorted(every)


@pytest.mark.parametrize("cells", [3, 4, 12, 64])
def test_a_number_of_cells_that_no_design_has(cells):
    with pytest.raises(InputError, match=f"5 factors go into 8, 16, 32 cells, not {cells}"):
        fraction("ABCDE", cells)
