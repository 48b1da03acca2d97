"""Trials that did not learn: when one counts as diverged, and whether an arm has more of them."""

import math

STANDARD_ERRORS = 3.0


def is_at_chance(error: float, chance: float, examples: int) -> bool:
    """Whether a final training error is no better than guessing.

    That is, not more than three binomial standard errors below chance. Not finite counts as
    chance, and so does an error above it.

    Args:
        error: In percent, over the training set in evaluation mode.
        chance: Error in percent of always answering the most frequent class: 90 for ten equal
            classes.
        examples: In the training set.
    """
    share = chance / 100
    se = 100 * math.sqrt(share * (1 - share) / examples)
    return not error < chance - STANDARD_ERRORS * se


def divergence_p(arm: tuple[int, int], baseline: tuple[int, int]) -> float:
    """Fisher's exact two-sided p that arm and baseline diverge equally often.

    Fisher 1935, doi:10.2307/2342435. Each side is (diverged, ended); NaN where a side has none.
    """
    if not (arm[1] and baseline[1]):
        return float("nan")
    # A slow import that a table without such trials does not pay for.
    from scipy import stats

    table = [[lost, ended - lost] for lost, ended in (arm, baseline)]
    return float(stats.fisher_exact(table).pvalue)
