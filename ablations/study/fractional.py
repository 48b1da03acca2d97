"""Two-level fractional factorial designs, 2^(k-p): which cells to run, and what is then confounded.

A level is 0 for the full model's and 1 for the stripped one's, so that the full model is always
among the cells. An effect is what stripping does: the mean at level 1 less the mean at level 0.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ablations.study.errors import InputError

_ROMAN = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")


@dataclass(frozen=True)
class Term:
    """An effect that a design can estimate: one factor, or an interaction.

    Attributes:
        factors: Whose effect it is.
        aliases: What cannot be told from it, with the sign that it enters the estimate with.
    """

    factors: tuple[str, ...]
    aliases: tuple[tuple[int, tuple[str, ...]], ...] = ()

    @property
    def label(self) -> str:
        """Its name with all that it is confounded with: "lrn − pooling × dropout"."""
        parts = [f" {'−+'[sign > 0]} {' × '.join(factors)}" for sign, factors in self.aliases]
        return "".join((" × ".join(self.factors), *parts))


@dataclass(frozen=True)
class Fraction:
    """A full or fractional two-level design.

    Attributes:
        cells: The level of each factor, cell by cell; the first is all 0.
        words: The defining relation: sets of factors, as bits, whose levels add up to even
            numbers in every cell. None in a full design.
    """

    factors: tuple[str, ...]
    cells: tuple[tuple[int, ...], ...]
    words: tuple[int, ...]

    @property
    def resolution(self) -> int | None:
        """Length of the shortest word, None for a full design.

        At III effects of single factors are confounded with interactions of two, at IV such
        interactions with each other, at V neither.
        """
        return min((word.bit_count() for word in self.words), default=None)

    @property
    def label(self) -> str:
        """As in textbooks: "2^(5-1), resolution V"; "2^5, full"."""
        k, p = len(self.factors), (len(self.words) + 1).bit_length() - 1
        if self.resolution is None:
            return f"2^{k}, full"
        return f"2^({k}-{p}), resolution {_ROMAN[self.resolution]}"

    def terms(self, order: int = 2) -> tuple[Term, ...]:
        """The effects of up to `order` factors, each with its aliases of up to as many."""
        k = len(self.factors)
        masks = [
            sum(1 << i for i in chosen)
            for size in range(1, order + 1)
            for chosen in itertools.combinations(range(k), size)
        ]
        found: list[Term] = []
        told: set[int] = set()
        for mask in masks:
            if mask in told:
                continue
            # Levels coded -1 and 1, the product over a word of odd length is always -1.
            others = {mask ^ word: -1 if word.bit_count() % 2 else 1 for word in self.words}
            known = [(others[other], self._named(other)) for other in masks if other in others]
            told |= {mask, *others}
            found.append(Term(self._named(mask), tuple(known)))
        return tuple(found)

    def _named(self, mask: int) -> tuple[str, ...]:
        return tuple(name for i, name in enumerate(self.factors) if mask >> i & 1)


def fraction(factors: Sequence[str], cells: int) -> Fraction:
    """The design of so many cells that confounds least.

    Of all regular designs the one of minimum aberration: the fewest words of three factors, then
    of four, and so on, so that its resolution is the greatest. Box and Hunter 1961,
    doi:10.1080/00401706.1961.10489951; Fries and Hunter 1980, doi:10.1080/00401706.1980.10486210.

    Args:
        factors: Of two levels each.
        cells: 2^k for a full design, or a smaller power of two, greater than the factors.

    Raises:
        InputError: No such design has this number of cells.
    """
    k, base = len(factors), cells.bit_length() - 1
    if cells != 1 << base or not k < cells <= 1 << k:
        possible = [str(1 << q) for q in range(1, k + 1) if 1 << q > k]
        raise InputError(f"{k} factors go into {', '.join(possible)} cells, not {cells}")
    generators = _least_aberration(k, base)
    columns = [*(1 << i for i in range(base)), *generators]
    levels = [tuple((run & column).bit_count() % 2 for column in columns) for run in range(cells)]
    words = [generator | 1 << (base + j) for j, generator in enumerate(generators)]
    return Fraction(tuple(factors), tuple(levels), tuple(_products(words)))


def _products(words: Sequence[int]) -> list[int]:
    """Every product of the words: all sums of their bits modulo two, but the empty one."""
    found = [0]
    for word in words:
        found += [known ^ word for known in found]
    return found[1:]


def _least_aberration(k: int, base: int) -> tuple[int, ...]:
    """For each further factor the base factors whose levels it adds up, by branch and bound."""
    columns = [mask for mask in range(1 << base) if mask.bit_count() >= 2]
    columns.sort(key=lambda mask: (-mask.bit_count(), mask))
    best: tuple[tuple[int, ...], tuple[int, ...]] = ((1 << k,), ())

    def extend(chosen: tuple[int, ...], words: list[int], start: int) -> None:
        nonlocal best
        lengths = [word.bit_count() for word in words]
        pattern = tuple(lengths.count(size) for size in range(3, k + 1))
        # Further words can only be added, so a branch that is worse already stays worse.
        if pattern >= best[0]:
            return
        if len(chosen) == k - base:
            best = (pattern, chosen)
            return
        for i in range(start, len(columns)):
            word = columns[i] | 1 << (base + len(chosen))
            extend((*chosen, columns[i]), [*words, word, *(word ^ w for w in words)], i + 1)

    extend((), [], 0)
    return best[1]
