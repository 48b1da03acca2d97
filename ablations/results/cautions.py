"""What stands below a table: what its figures cover, and every reason to read them with care."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd

from ablations.results.frame import ENDED, find_holes
from ablations.results.guards import guards
from ablations.results.numbers import p_text, signed
from ablations.results.planning import MOST_SEEDS
from ablations.results.rows import Caution, Row
from ablations.results.scale import margin_text
from ablations.results.verdicts import Flag
from ablations.results.wording import count, data_of, digits_of, listed
from ablations.study import Study

_FLAGS: dict[Flag, str] = {
    "non-zero, below the margin": "Equivalent and non-zero, below the margin: {arms}. Zero is "
    "excluded, and so is a difference of the margin or more.",
    "interval excludes zero": "Undecided, though the interval excludes zero: {arms}. The interval "
    "speaks of its arm alone, Holm's p of all.",
    "inside the margin": "Inside the margin each alone, but not once corrected for all arms: "
    "{arms}.",
    "given that it trains": "Better or equivalent given that it trains, which not every seed does: "
    "{arms}.",
}


def cautions(
    study: Study,
    frame: pd.DataFrame,
    counted: pd.DataFrame,
    rows: Sequence[Row],
    grown: Sequence[Mapping[str, int]],
) -> list[Caution]:
    """Every note below the table, what the interval covers first.

    Args:
        study: Whose trials they are.
        frame: All its trials.
        counted: Those that the table counts.
        rows: The table's rows, the baseline first.
        grown: The looks, not planned by the study, at which there were fewer trials than now.
    """
    return [
        *map(Caution, _of_intervals(study, rows)),
        *_of_plan(study, frame, counted, rows),
        *map(Caution, _of_looks(rows, grown)),
        *_of_verdicts(rows),
        *map(Caution, _of_holes(study, counted, rows)),
        *_of_divergence(rows),
        *guards(study, counted, rows),
        *map(Caution, _of_claims(rows)),
    ]


def _of_intervals(study: Study, rows: Sequence[Row]) -> Iterator[str]:
    arms = rows[1:]
    how = "paired t over seeds" if study.pairing == "seeds" else "Welch's t over unpaired seeds"
    if study.plan is not None:
        how += ", repeated so that it holds at every planned look"
    tested = sum(math.isfinite(row.p_holm) for row in arms)
    holm = f" Holm: p corrected for {count(tested, 'comparison')}." if tested else ""
    yield f"Interval: 95%, {how}: new seeds, {data_of(study.metric)}.{holm}"
    if study.margin is None:
        yield "The study states no margin, so that no arm can be equivalent."
    found = sorted((r.delta.correlation, r.arm) for r in arms if math.isfinite(r.delta.correlation))
    if found:
        shown = [f"{signed(r, 2)} ({arm})" for r, arm in dict.fromkeys((found[0], found[-1]))]
        yield f"Correlation with {study.baseline} over seeds: {' to '.join(shown)}."
    yield from (
        f"{row.arm} is read on {row.metric.name}, {study.baseline} on {study.metric.name}."
        for row in arms
        if row.metric != study.metric
    )


def _of_plan(
    study: Study, frame: pd.DataFrame, counted: pd.DataFrame, rows: Sequence[Row]
) -> Iterator[Caution]:
    """Where each arm of a study with planned looks stopped, or is going on."""
    if study.plan is None:
        return
    looks = [str(look) for look in study.plan.looks]
    yield Caution(f"Looks are planned at {listed(looks)} seeds.")
    stopped: dict[int, list[str]] = {}
    for row in rows[1:]:
        if row.standing and row.standing.early:
            stopped.setdefault(row.standing.seeds, []).append(row.arm)
    if stopped:
        where = "; ".join(f"{listed(arms)} at {n} seeds" for n, arms in sorted(stopped.items()))
        yield Caution(f"Decided before the last look: {where}.")
    early = [
        row.arm
        for row in rows[1:]
        if row.standing and row.standing.early and row.verdict in ("better", "worse")
    ]
    if early:
        told = "An early stop favours large differences, so the size is probably overstated: "
        yield Caution(f"{told}{listed(early)}.", dict.fromkeys(early, "probably overstated"))
    going = [row.arm for row in rows[1:] if row.standing and row.standing.open]
    if going:
        wanted = max(row.planned for row in rows)
        yield Caution(f"Still open, with {wanted} seeds at the next look: {listed(going)}.")
    beyond = frame[~frame.index.isin(counted.index) & frame["state"].isin(ENDED)]
    if len(beyond):
        per_arm = [f"{arm} ({n})" for arm, n in beyond["arm"].value_counts(sort=False).items()]
        told = "Trials beyond the seeds that the plan wants are not looked at"
        yield Caution(f"{told}: {listed(per_arm)}.")


def _of_looks(rows: Sequence[Row], grown: Sequence[Mapping[str, int]]) -> Iterator[str]:
    if grown:
        then = min(min(look.values(), default=0) for look in grown)
        now = max(row.planned for row in rows)
        added = f"seeds were added, from {then} to {now}"
        yield f"Exploratory: {added}, after a verdict had been shown."


def _of_verdicts(rows: Sequence[Row]) -> Iterator[Caution]:
    arms = rows[1:]
    for flag, sentence in _FLAGS.items():
        found = [row.arm for row in arms if flag in row.judgement.flags]
        if found:
            yield Caution(sentence.format(arms=listed(found)), dict.fromkeys(found, "*"))
    asked = [row for row in arms if row.further and math.isfinite(row.judgement.detectable)]
    if asked:
        shown = [_further(row, digits_of(rows)) for row in asked]
        yield Caution(
            "Undecided, with the difference that is seen with 80% power, and the further seeds "
            f"that may decide: {'; '.join(shown)}."
        )
    one, two = ([row.arm for row in arms if row.pairs == n] for n in (1, 2))
    pairs = "pair" if rows[0].delta.paired else "seed"
    if one:
        yield Caution(f"One {pairs} gives no interval and no verdict: {listed(one)}.")
    if two:
        yield Caution(f"Two {pairs}s give an interval and no verdict: {listed(two)}.")
    same = [row.arm for row in arms if row.delta.degenerate]
    if same:
        test = "a sign-flip p" if rows[0].delta.paired else "a permutation test's p"
        yield Caution(f"The same difference for every seed, so {test}: {listed(same)}.")
    most = max((row.pairs for row in arms), default=0)
    fewer = {row.arm: f"n = {row.pairs}" for row in arms if 0 < row.pairs < most}
    if fewer:
        each = [f"{row.arm} {row.pairs}" for row in arms if row.pairs]
        yield Caution(f"Unequal numbers of {pairs}s: {listed(each)}.", fewer)


def _further(row: Row, digits: int) -> str:
    low, high = (row.further.low, row.further.high) if row.further else (None, None)
    seeds = f"{low}" if low == high else f"{low} to {high}"
    if high is None:
        seeds = f"more than {MOST_SEEDS:,}" if low is None else f"{low} or more"
    seen = row.judgement.detectable
    size = f"±{seen:.{digits}f}" if row.metric.threshold is None else margin_text(row.metric, seen)
    return f"{row.arm} ({size}; {seeds})"


def _of_holes(study: Study, frame: pd.DataFrame, rows: Sequence[Row]) -> Iterator[str]:
    coming = int((~frame["state"].isin(ENDED)).sum())
    if coming:
        yield f"Still to come: {coming} of {len(frame)} trials."
    holes = find_holes(frame).missing
    for arm, seeds in holes.items():
        states: dict[str, list[int]] = {}
        for seed, state in seeds.items():
            if state in ENDED:
                word = "finished without the metric" if state == "done" else state
                states.setdefault(word, []).append(seed)
        if states:
            parts = (f"{_seeds(found)} {state}" for state, found in states.items())
            yield f"{arm}: {'; '.join(parts)}."
    lost: dict[tuple[int, ...], list[str]] = {}
    for row in rows[1:]:
        of_baseline = holes.get(study.baseline, {})
        either = {**holes.get(row.arm, {}), **of_baseline}
        ended = [seed for seed, state in either.items() if state in ENDED]
        own = set(frame.loc[frame["arm"] == row.arm, "seed"])
        if study.pairing == "seeds" and (gone := own.intersection(ended)):
            lost.setdefault(tuple(sorted(gone)), []).append(row.arm)
    if lost:
        parts = (f"{_seeds(seeds)} of {listed(arms)}" for seeds, arms in lost.items())
        yield f"Pairs left out, as a side has no value: {'; '.join(parts)}."
    metrics = {row.arm: row.metric for row in rows}
    shared: dict[tuple[str, str], set[str]] = {}
    for arm, trial in zip(frame["arm"], frame["trial"], strict=True):
        shared.setdefault((trial, metrics[arm].name), set()).add(arm)
    twins = {tuple(sorted(names)) for names in shared.values() if len(names) > 1}
    yield from (f"{listed(names)} are the same trials." for names in sorted(twins))


def _seeds(seeds: Iterable[int]) -> str:
    found = [str(seed) for seed in seeds]
    return f"seed{'s' * (len(found) > 1)} {listed(found)}"


def _of_divergence(rows: Sequence[Row]) -> Iterator[Caution]:
    unstable = [row for row in rows if row.diverged]
    if not unstable:
        return
    counts = {row.arm: f"{row.arm} {row.diverged} of {row.n + row.diverged}" for row in rows}
    arms = [row for row in unstable if row is not rows[0]]
    told = "Where trials diverged, the delta is given that they train, and the arm is neither "
    told += f"better nor equivalent: {listed(counts[row.arm] for row in unstable)}."
    ps = [f"{p_text(row.divergence_p)} ({row.arm})" for row in arms]
    if ps:
        told += f" Against {counts[rows[0].arm]}, Fisher's exact p is {listed(ps)}."
    yield Caution(told, {row.arm: "given that it trains" for row in arms})


def _of_claims(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows[1:]:
        if row.claim is not None:
            data = f" ({row.claim.data})" if row.claim.data else ""
            place = f"{row.claim.id}, {row.claim.place_in_source}".removesuffix(", ")
            yield f"Paper beside {row.arm}{data}: {row.claim.says.rstrip('.')} [{place}]."
