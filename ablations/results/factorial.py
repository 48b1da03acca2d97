"""Effects of a factorial design: one contrast for each seed, t over seeds, Holm over effects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ablations.results.statistics import Delta, delta_of, holm
from ablations.study.fractional import Fraction, Term


@dataclass(frozen=True)
class Effect:
    """What stripping a factor does on average over the others, or how two of them interact.

    Attributes:
        term: The factors, and what their effect is confounded with.
        delta: Mean at the stripped level less mean at the full one; of an interaction, half of
            how much the effect of one factor grows when the other is stripped.
        p_holm: Corrected for all effects of the table.
    """

    term: Term
    delta: Delta
    p_holm: float


def effects(values: ArrayLike, design: Fraction, order: int = 2) -> tuple[Effect, ...]:
    """Every effect of up to `order` factors that the design can tell apart.

    Seeds are blocks: an effect is computed within each seed, from all of its cells, so that what
    a seed adds to all of them cancels, and their spread over seeds is its error. A seed without a
    value in some cell is left out of every effect, and is among `delta.missing`. Box, Hunter and
    Hunter 2005, Statistics for Experimenters, chapters 5 and 6.

    Args:
        values: (seeds, cells) of the metric, cells in the order of `design.cells`; NaN for none.
        design: Full or fractional.
        order: Most factors of one effect.

    Raises:
        ValueError: There are not as many columns as cells.
    """
    y = np.asarray(values, dtype=float)
    cells = np.asarray(design.cells)
    if y.ndim != 2 or y.shape[1] != len(cells):
        raise ValueError(f"need a column for each of {len(cells)} cells, got shape {y.shape}")
    scale = float(np.abs(y[np.isfinite(y)]).max(initial=0.0))
    deltas = []
    for term in design.terms(order):
        at = [design.factors.index(factor) for factor in term.factors]
        signs = np.prod(2 * cells[:, at] - 1, axis=1)
        deltas.append(delta_of(y @ (2 * signs / len(cells)), scale))
    corrected = holm([delta.p for delta in deltas])
    return tuple(
        Effect(term, delta, float(p))
        for term, delta, p in zip(design.terms(order), deltas, corrected, strict=True)
    )


def cells_order(levels: Sequence[Mapping[str, str]], design: Fraction) -> list[int]:
    """For each cell of a design the arm that is it.

    Args:
        levels: Of each arm the level of each factor; the first arm is the full model.
        design: Of the same factors.

    Raises:
        ValueError: A cell has no arm.
    """
    arms = [tuple(int(arm[f] != levels[0][f]) for f in design.factors) for arm in levels]
    return [arms.index(cell) for cell in design.cells]


def interaction(
    full: ArrayLike, without: ArrayLike, stripped: ArrayLike, alone: ArrayLike
) -> Delta:
    """Leave-one-out minus add-one-in: does a factor matter more beside the others than alone?

    Per seed (without - full) - (stripped - alone): what removing the factor does in the full
    model, less what it does where it is the only one. All are (seeds,), aligned, NaN for none.

    Args:
        full: The model with all factors.
        without: The full model without this one.
        stripped: The model without any.
        alone: The stripped model with this one added.
    """
    y = np.array([full, without, stripped, alone], dtype=float)
    scale = float(np.abs(y[np.isfinite(y)]).max(initial=0.0))
    return delta_of((y[1] - y[0]) - (y[2] - y[3]), scale)
