"""Whether an arm has more trials that diverged than the baseline."""


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
