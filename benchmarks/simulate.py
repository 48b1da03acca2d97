"""Prove the statistics by simulation: rewrites the tables and figures of docs/statistics.md.

python -m benchmarks.simulate [NAME ...]    NAME: one of the tables; all by default, some minutes

Every table is made from its own generator, seeded by SEED and its name, so that a second run
changes nothing. Studies are simulated whole and judged by the package's own functions.
"""

import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy import special, stats

from ablations.results.boundaries import LEVELS, boundaries, critical, flip_boundaries, spent
from ablations.results.crossed import crossed_interval
from ablations.results.factorial import effects as effects_of
from ablations.results.planning import (
    equivalence_chance,
    further_seeds,
    power,
    seeds_needed,
    upper_sd,
)
from ablations.results.sequential import decide
from ablations.results.signflip import permutation_p
from ablations.results.statistics import delta_of, equivalence_p, welch_delta
from ablations.results.threshold import time_ratio
from ablations.results.verdicts import judge
from ablations.study import SeedPlan
from ablations.study.fractional import fraction as two_level

SEED = 2012
DOCS = Path(__file__).parents[1] / "docs"
COUNTS = (3, 6, 12, 24)
LOOKS = SeedPlan(6, 24, 3).looks
INK = {"normal": "#0072B2", "skewed": "#D55E00", "heavy-tailed": "#009E73"}

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
# Each of mean 0: the differences of one study. Student's t with 3 degrees of freedom has tails so
# heavy that its fourth moment is infinite.
SHAPES: dict[str, Draw] = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "skewed": lambda rng, size: rng.standard_exponential(size) - 1,
    "heavy-tailed": lambda rng, size: rng.standard_t(3, size),
}

SPREADS = {"normal": 1.0, "skewed": 1.0, "heavy-tailed": 3**0.5}


def percent(hits: Sequence[bool] | np.ndarray, digits: int = 1) -> str:
    """A share with its Monte Carlo standard error."""
    share = float(np.mean(hits))
    error = (share * (1 - share) / len(hits)) ** 0.5
    return f"{100 * share:.{digits}f} ± {100 * error:.{digits}f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def covers(interval: tuple[float, float], truth: float) -> bool:
    return interval[0] <= truth <= interval[1]


def coverage(rng: np.random.Generator) -> str:
    """Of the paired t interval, with BCa beside it to show why it is not offered."""
    rows, shares = [], {}
    for name, draw in SHAPES.items():
        cells = []
        for n in COUNTS:
            deltas = [delta_of(d) for d in draw(rng, (20_000, n))]
            cells.append([covers(delta.interval, 0.0) for delta in deltas])
        shares[name] = [float(np.mean(cell)) for cell in cells]
        rows.append([f"t, {name}", *map(percent, cells)])
    for name, draw in SHAPES.items():
        cells = []
        for n in COUNTS:
            with np.errstate(all="ignore"):
                boot = stats.bootstrap(
                    (draw(rng, (1000, n)),),
                    np.mean,
                    axis=-1,
                    vectorized=True,
                    n_resamples=999,
                    batch=50,
                    method="BCa",
                    rng=rng,
                ).confidence_interval
            cells.append((boot.low <= 0) & (boot.high >= 0))
        rows.append([f"bootstrap BCa, {name}", *map(percent, cells)])
    _coverage_figure(shares)
    return markdown(["95% interval, seeds", *(f"n = {n}" for n in COUNTS)], rows)


def welch(rng: np.random.Generator) -> str:
    rows = []
    for name, draw in SHAPES.items():
        for ratio in (1, 3):
            cells = []
            for n in COUNTS:
                arms, bases = draw(rng, (10_000, n)), ratio * draw(rng, (10_000, n))
                pairs = zip(arms, bases, strict=True)
                cells.append([covers(welch_delta(a, b).interval, 0.0) for a, b in pairs])
            rows.append([f"{name}, SD 1 : {ratio}", *map(percent, cells)])
    return markdown(["unpaired 95% interval", *(f"n = {n}" for n in COUNTS)], rows)


def error(rng: np.random.Generator) -> str:
    """Of single tests without a difference."""
    rows = []
    for name, draw in SHAPES.items():
        studied = [[delta_of(d) for d in draw(rng, (10_000, n))] for n in COUNTS]
        t = ([delta.p < 0.05 for delta in deltas] for deltas in studied)
        flips = ([delta.p_sign_flip < 0.05 for delta in deltas] for deltas in studied)
        rows.append([f"t, {name}", *map(percent, t)])
        rows.append([f"sign-flip, {name}", *map(percent, flips)])
    return markdown(["p < .05 without a difference", *(f"n = {n}" for n in COUNTS)], rows)


def studies(
    rng: np.random.Generator, draw: Draw, count: int, arms: int, n: int, effects: Sequence[float]
) -> Iterator[list[np.ndarray]]:
    """The differences of each arm over seeds, in SDs of a difference, all against one baseline."""
    values = draw(rng, (count, arms + 1, n)) / 2**0.5
    for study in values:
        yield [study[i + 1] - study[0] + effects[i] for i in range(arms)]


def family(rng: np.random.Generator) -> str:
    arms, reps, margin = 6, 4000, 1.5
    modes: list[Literal["min", "max"]] = ["min"] * arms
    rows = []
    for name, draw in SHAPES.items():
        scale = SPREADS[name]
        for n in (6, 12):
            none, some, inside = [], [], []
            for d in studies(rng, draw, reps, arms, n, [0.0] * arms):
                found = judge([delta_of(x) for x in d], modes)
                none.append(any(j.p_holm < 0.05 for j in found))
            effects = [0.0] * 3 + [2.0 * scale] * 3
            for d in studies(rng, draw, reps, arms, n, effects):
                found = judge([delta_of(x) for x in d], modes)
                some.append(any(j.p_holm < 0.05 for j in found[:3]))
            for d in studies(rng, draw, reps, arms, n, [margin * scale] * arms):
                found = judge([delta_of(x) for x in d], modes, margin * scale)
                inside.append(any(j.verdict == "equivalent" for j in found))
            rows.append([f"{name}, n = {n}", *map(percent, (none, some, inside))])
    head = ["six arms", "no difference in six", "none in three, 2 SD in three", "at the margin"]
    return markdown(head, rows)


def equivalence(rng: np.random.Generator) -> str:
    """One arm; the difference is the margin, then zero."""
    rows = []
    for name, draw in SHAPES.items():
        scale = SPREADS[name]
        cells = []
        for n in (6, 12, 24):
            for margin in (1.0, 1.5):
                d = draw(rng, (10_000, n)) / scale + margin
                cells.append([equivalence_p(delta_of(x), margin) < 0.05 for x in d])
        rows.append([f"difference = margin, {name}", *map(percent, cells)])
    for simulated in (True, False):
        cells_text = []
        for n in (6, 12, 24):
            for margin in (1.0, 1.5):
                d = rng.standard_normal((10_000, n))
                if simulated:
                    hits = [equivalence_p(delta_of(x), margin) < 0.05 for x in d]
                    cells_text.append(percent(hits))
                else:
                    cells_text.append(f"{100 * equivalence_chance(margin, 1.0, n):.1f}")
        label = "no difference, normal" if simulated else "the same by the planner"
        rows.append([label, *cells_text])
    head = [f"n = {n}, margin {margin} SD" for n in (6, 12, 24) for margin in (1.0, 1.5)]
    return markdown(["called equivalent", *head], rows)


def powers(rng: np.random.Generator) -> str:
    rows = []
    for n in COUNTS:
        for effect in (0.5, 1.0, 1.5):
            paired = [delta_of(x).p < 0.05 for x in rng.standard_normal((5000, n)) + effect]
            a, b = rng.standard_normal((2, 5000, n)) / 2**0.5
            free = [welch_delta(x + effect, y).p < 0.05 for x, y in zip(a, b, strict=True)]
            rows.append(
                [
                    f"n = {n}, {effect} SD",
                    percent(paired),
                    f"{100 * power(effect, 1.0, n):.1f}",
                    percent(free),
                    f"{100 * power(effect, 1.0, n, paired=False):.1f}",
                ]
            )
    return markdown(["power", "paired", "planned", "unpaired", "planned"], rows)


def walks(rng: np.random.Generator, count: int, looks: Sequence[int]) -> tuple[np.ndarray, ...]:
    """|z| (variance known) and |t| of growing samples without a difference: (studies, looks)."""
    total, squares = np.zeros((2, count))
    z, t = np.empty((2, count, len(looks)))
    for k, (before, n) in enumerate(zip((0, *looks[:-1]), looks, strict=True)):
        x = rng.standard_normal((count, n - before))
        total, squares = total + x.sum(axis=1), squares + (x**2).sum(axis=1)
        z[:, k] = np.abs(total) / n**0.5
        t[:, k] = np.abs(total) / np.sqrt(n * (squares - total**2 / n) / (n - 1))
    return z, t


def sequential(rng: np.random.Generator) -> str:
    """Error over all looks of one arm: vectorised, a million studies each."""
    rows = []
    for looks in ((6, 12, 18, 24), LOOKS, SeedPlan(3, 12, 1).looks):
        fractions = tuple(n / looks[-1] for n in looks)
        z, t = walks(rng, 1_000_000, looks)
        # As by the normal theory: boundaries that spend the error of z, used on t.
        bound, alive, used = [], np.ones(len(z), dtype=bool), 0.0
        for k, fraction in enumerate(fractions):
            share = float(spent(np.array(0.05), fraction, "pocock")) - used
            used += share
            bound.append(np.quantile(z[alive, k], 1 - share * len(z) / alive.sum()))
            alive &= z[:, k] < bound[-1]
        naive = np.array([stats.t.ppf(0.975, n - 1) for n in looks])
        cells: list[Any] = [(t >= naive).any(axis=1), (t >= np.array(bound)).any(axis=1)]
        for spending in ("pocock", "obrien-fleming"):
            for level in (0.05, 0.05 / 7):
                c = boundaries(looks, fractions, spending)
                at = np.array([critical(c[:, k], level) for k in range(len(looks))])
                cells.append((t >= at).any(axis=1))
        rows.append(
            [f"{looks[0]} to {looks[-1]}, {len(looks)} looks", *(percent(c, 2) for c in cells)]
        )
    head = ["seeds", "5% at each look", "z boundaries on t", "Pocock-like 5%", "0.714%"]
    return markdown([*head, "O'Brien-Fleming-like 5%", "0.714%"], rows)


def procedure(rng: np.random.Generator) -> str:
    """The whole sequential procedure on studies of several arms."""
    rows = []
    for name, reps, effects, margin in (
        ("one arm, no difference", 10_000, [0.0], None),
        ("six arms, no difference", 2500, [0.0] * 6, None),
        ("six arms, three of them 1.5 SD", 2500, [0.0] * 3 + [1.5] * 3, None),
        ("one arm, at a margin of 1 SD", 10_000, [1.0], 1.0),
        ("six arms, all at a margin of 1 SD", 2500, [1.0] * 6, 1.0),
    ):
        wrong, covered, seeds = [], [], []
        for d in studies(rng, SHAPES["normal"], reps, len(effects), LOOKS[-1], effects):
            given = {str(i): x for i, x in enumerate(d)}
            found = decide(given, np.zeros(LOOKS[-1]), LOOKS, dict.fromkeys(given, "min"), margin)
            for i, standing in enumerate(found.values()):
                covered.append(covers(standing.delta.interval, effects[i]))
            seeds.append(np.mean([standing.seeds for standing in found.values()]))
            verdicts = [standing.judgement.verdict for standing in found.values()]
            wrong.append(
                any(
                    v == "equivalent" if margin else v in ("better", "worse") and not effect
                    for v, effect in zip(verdicts, effects, strict=True)
                )
            )
        rows.append([name, percent(wrong), percent(covered), f"{np.mean(seeds):.1f}"])
    head = ["seeds 6 to 24 by 3", "any wrong verdict", "interval at the stop covers"]
    return markdown([*head, "seeds per arm"], rows)


def expected(rng: np.random.Generator) -> str:
    """Seeds until the verdict, SD of the differences 0.25, beside a fixed number."""
    sd, rows, curve = 0.25, [], []
    for effect in (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 1.0):
        reps = 3000
        seeds, right, size = [], [], []
        for d in rng.normal(effect, sd, (reps, LOOKS[-1])):
            standing = decide({"a": d}, np.zeros(LOOKS[-1]), LOOKS, {"a": "min"})["a"]
            seeds.append(standing.seeds)
            right.append(standing.judgement.verdict in ("worse", "better"))
            if standing.early and standing.judgement.verdict == "worse":
                size.append(standing.delta.mean)
        curve.append((effect, float(np.mean(seeds)), float(np.mean(right))))
        share = float(np.mean(right))
        fixed = seeds_needed(effect, sd, wanted=min(share, 0.999)) if effect else None
        if effect in (0.0, 0.2, 0.4, 1.0):
            rows.append(
                [
                    f"{effect}",
                    f"{np.mean(seeds):.1f}",
                    percent(right),
                    "–" if fixed is None else str(fixed),
                    "–" if not effect else f"{100 * power(effect, sd, 6):.1f}",
                    "–" if not effect else f"{100 * power(effect, sd, LOOKS[-1]):.1f}",
                    f"{np.mean(size) / effect:.2f}" if effect and len(size) > 100 else "–",
                ]
            )
    _expected_figure(curve, sd)
    head = ["true difference", "expected seeds", "seen", "fixed seeds that see as often"]
    return markdown(
        [*head, "seen with 6 fixed", "seen with 24 fixed", "early stops: shown / true"], rows
    )


def crossed(rng: np.random.Generator) -> str:
    """d[seed, example] with three components of variance; the truth is known."""
    rows = []
    for label, n, total, of_seed, of_example, rest in (
        ("mostly seeds", 6, 300, 0.5, 2.0, 10.0),
        ("both", 6, 300, 0.3, 6.0, 10.0),
        ("mostly examples", 6, 300, 0.05, 9.0, 10.0),
        ("both, 12 seeds", 12, 300, 0.3, 6.0, 10.0),
    ):
        truth = of_seed**2 / n + of_example**2 / total + rest**2 / (n * total)
        found, alone, nested, hit, missed = [], [], [], [], []
        for _ in range(4000):
            d = (
                of_seed * rng.standard_normal((n, 1))
                + of_example * rng.standard_normal(total)
                + rest * rng.standard_normal((n, total))
            )
            crossing = crossed_interval(d)
            found.append(crossing.se**2)
            alone.append(crossing.se_seeds**2)
            # What a bootstrap of seeds, then of examples within each, comes to on average.
            nested.append(d.mean(axis=1).var() / n + d.var(axis=1).mean() / (n * total))
            hit.append(covers(crossing.interval, 0.0))
            missed.append(covers(delta_of(d.mean(axis=1)).interval, 0.0))
        ratios = [f"{np.mean(v) / truth:.2f}" for v in (found, alone, nested)]
        rows.append([label, *ratios, percent(hit), percent(missed)])
    head = ["noise", "crossed variance / truth", "seeds alone / truth", "nested bootstrap / truth"]
    return markdown([*head, "crossed covers", "seeds alone cover"], rows)


def crossed_shapes(rng: np.random.Generator) -> str:
    """The same for seeds of each shape, examples and rest normal: whether the intervals cover."""
    rows = []
    for name, draw in SHAPES.items():
        cells, alone = [], []
        for n in COUNTS:
            hit, missed = [], []
            for _ in range(3000):
                d = 0.3 * draw(rng, (n, 1)) / SPREADS[name]
                d = d + 4.0 * rng.standard_normal(200) + 8.0 * rng.standard_normal((n, 200))
                hit.append(covers(crossed_interval(d).interval, 0.0))
                missed.append(covers(delta_of(d.mean(axis=1)).interval, 0.0))
            cells.append(percent(hit))
            alone.append(percent(missed))
        rows += [[f"crossed, {name}", *cells], [f"seeds alone, {name}", *alone]]
    return markdown(["95% interval, seeds", *(f"n = {n}" for n in COUNTS)], rows)


def repeated(rng: np.random.Generator) -> str:
    """Repeated confidence intervals of one arm at the looks COUNTS, and at all of them."""
    fractions = tuple(n / COUNTS[-1] for n in COUNTS)
    c = boundaries(COUNTS, fractions)
    at = np.array([critical(c[:, k], 0.05) for k in range(len(COUNTS))])
    rows = []
    for name, draw in SHAPES.items():
        d = draw(rng, (100_000, COUNTS[-1]))
        means = [d[:, :n].mean(axis=1) for n in COUNTS]
        errors = [d[:, :n].std(axis=1, ddof=1) / n**0.5 for n in COUNTS]
        inside = np.abs(means) <= at[:, None] * np.array(errors)
        rows.append([name, *map(percent, inside), percent(inside.all(axis=0))])
    return markdown(["repeated 95% interval", *(f"n = {n}" for n in COUNTS), "all four"], rows)


def factorial(rng: np.random.Generator) -> str:
    """Effects over seeds as blocks: intervals of a true effect, and any wrong effect after Holm."""
    rows = []
    for factors, cells in (("abc", 8), ("abcd", 8)):
        design = two_level(factors, cells)
        truth = 2.0 * np.array(design.cells)[:, 0]
        for name, draw in SHAPES.items():
            covered, false = [], []
            for n in COUNTS:
                hit, wrong = [], []
                for _ in range(4000):
                    y = truth + 3 * draw(rng, (n, 1)) + draw(rng, (n, cells))
                    first, *others = effects_of(y, design)
                    hit.append(covers(first.delta.interval, 2.0))
                    wrong.append(any(each.p_holm < 0.05 for each in others))
                covered.append(percent(hit))
                false.append(percent(wrong))
            label = f"{design.label}, {name}"
            rows += [
                [f"{label}: interval covers", *covered],
                [f"{label}: any wrong effect", *false],
            ]
    return markdown(["effects, seeds", *(f"n = {n}" for n in COUNTS)], rows)


def further(rng: np.random.Generator) -> str:
    """Pilots of six pairs that came out undecided: does the range hold the seeds really needed?"""
    rows = []
    for effect in (0.5, 0.75, 1.0):
        needed = seeds_needed(effect, 1.0) or 0
        below, inside, above, open_end, cautious = [], [], [], [], []
        for d in rng.normal(effect, 1.0, (4000, 6)):
            delta = delta_of(d)
            if delta.p < 0.05:
                continue
            ask = further_seeds(delta, 1000)
            low, high = 6 + (ask.low or 1000), 6 + (ask.high or 10**6)
            below.append(high < needed)
            inside.append(low <= needed <= high)
            above.append(low > needed)
            open_end.append(ask.high is None)
            upper = upper_sd(delta.sd, delta.df)
            least = seeds_needed(abs(delta.mean) + delta.se, upper) or 1000
            cautious.append(least <= needed <= high)
        shares = [percent(v) for v in (below, inside, above, open_end, cautious)]
        rows.append([f"{effect} SD: {needed}", *shares])
    head = ["true difference: pairs needed", "range below", "range holds it", "range above"]
    return markdown([*head, "no upper end", "upper SD at both ends: holds it"], rows)


def threshold(rng: np.random.Generator) -> str:
    """Times with logs of each shape; the second arm is as noisy, the first six times as slow."""
    rows = []
    for name, draw in SHAPES.items():
        noise = 0.25 / SPREADS[name]
        for n in COUNTS:
            hits, wrong = [], []
            for slow, fast in draw(rng, (3000, 2, n)) * noise:
                a, b = np.exp(1.8 + slow), np.exp(fast)
                hits.append(covers(time_ratio(a, b, 1e9).interval, np.exp(1.8)))
                wrong.append(time_ratio(np.exp(slow), b, 1.15).p < 0.05)
            rows.append([f"{name}, n = {n}", percent(hits), percent(wrong)])
    head = ["logs of times", "95% interval of the ratio covers"]
    return markdown([*head, "p < .05 without a difference, a quarter censored"], rows)


def unpaired_times(rng: np.random.Generator) -> str:
    """Without a difference, a quarter censored: the permutation test, and Welch's on the logs."""
    rows = []
    for name, draw in SHAPES.items():
        permuted, welched = [], []
        for n in COUNTS:
            logs = draw(rng, (1500, 2, n)) / SPREADS[name]
            logs = np.minimum(logs, np.quantile(logs, 0.75))
            permuted.append(percent([permutation_p(a, b, 999) < 0.05 for a, b in logs]))
            welched.append(percent([welch_delta(a, b).p < 0.05 for a, b in logs]))
        rows += [[f"permutation test, {name}", *permuted], [f"Welch's t, {name}", *welched]]
    return markdown(["p < .05, unpaired", *(f"n = {n}" for n in COUNTS)], rows)


def censored_looks(rng: np.random.Generator) -> str:
    """One arm over all looks, its logs of times censored; a look with none of them is a t test."""
    fractions = tuple(n / LOOKS[-1] for n in LOOKS)
    at, five = np.array(LOOKS) - 1, int(np.argmin(np.abs(LEVELS - 0.05)))
    t_bounds = boundaries(LOOKS, fractions)[five]
    rows = []
    for name, share, effect in (
        ("normal", 0.25, 0.0),
        ("skewed", 0.25, 0.0),
        ("heavy-tailed", 0.25, 0.0),
        ("normal", 0.10, 0.0),
        ("normal", 0.25, 1.0),
    ):
        by_t, by_flips = [], []
        logs = SHAPES[name](rng, (1000, 2, LOOKS[-1])) / SPREADS[name] / 2**0.5
        cap = np.quantile(logs, 1 - share)
        for arm, base in logs:
            late = np.maximum.accumulate(np.maximum(arm + effect, base) > cap)[at]
            d = np.minimum(arm + effect, cap) - np.minimum(base, cap)
            looks = [delta_of(d[:n]) for n in LOOKS]
            t = np.array([abs(x.mean / x.se) if x.se else 0.0 for x in looks]) >= t_bounds
            c = flip_boundaries(tuple(d), LOOKS, fractions)[five]
            flips = np.abs(np.cumsum(d)[at]) >= c
            by_t.append(t.any())
            by_flips.append(np.where(late, flips, t).any())
        label = f"{name}, {share:.0%} censored, " + (f"{effect} SD" if effect else "no difference")
        rows.append([label, percent(by_flips), percent(by_t)])
    head = ["seeds 6 to 24 by 3: called different", "sign-flip boundaries", "t on censored logs"]
    return markdown(head, rows)


def _figure(figure: Figure, name: str) -> None:
    (DOCS / "figures").mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "ablations", "svg.fonttype": "none"}):
        figure.savefig(DOCS / "figures" / f"{name}.svg", metadata={"Date": None})


def _axes(width: float = 6.4, height: float = 3.6) -> tuple[Figure, "matplotlib.axes.Axes"]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _coverage_figure(shares: dict[str, list[float]]) -> None:
    figure, axes = _axes()
    axes.axhspan(94, 96, color="#e6edf4", linewidth=0)
    axes.axhline(95, color="#222222", linewidth=1)
    for (name, covered), marker in zip(shares.items(), "os^", strict=True):
        axes.plot(COUNTS, 100 * np.array(covered), marker=marker, color=INK[name], label=name)
    axes.set_xscale("log")
    axes.set_xticks(COUNTS, [str(n) for n in COUNTS])
    axes.minorticks_off()
    axes.set_xlabel("paired seeds")
    axes.set_ylabel("95% interval covers (%)")
    axes.legend(frameon=False, title="differences")
    _figure(figure, "coverage")


def _expected_figure(curve: list[tuple[float, float, float]], sd: float) -> None:
    figure, axes = _axes()
    effects, seeds, _ = np.array(curve).T
    axes.plot(effects, seeds, "o-", color="#0072B2", label="seeds 6 to 24 by 3")
    sizes = np.linspace(0.12, 1.0, 89)
    axes.plot(
        sizes,
        [seeds_needed(size, sd) or np.nan for size in sizes],
        "--",
        color="#D55E00",
        label="fixed, for 80% power",
    )
    axes.set_ylim(0, 40)
    axes.set_xlabel(f"true difference (SD of the differences {sd})")
    axes.set_ylabel("seeds per arm")
    axes.legend(frameon=False)
    _figure(figure, "expected_seeds")


def boundary(_: np.random.Generator) -> str:
    """The boundaries themselves."""
    fractions = tuple(n / LOOKS[-1] for n in LOOKS)
    rows = []
    figure, axes = _axes()
    styles = {"pocock": ("o-", "#0072B2"), "obrien-fleming": ("s--", "#D55E00")}
    for spending, (style, colour) in styles.items():
        c = boundaries(LOOKS, fractions, spending)
        for level in (0.05, 0.05 / 6):
            at = [critical(c[:, k], level) for k in range(len(LOOKS))]
            rows.append([f"{spending}, {100 * level:.3g}%", *(f"{x:.2f}" for x in at)])
            if level == 0.05:
                axes.plot(LOOKS, at, style, color=colour, label=spending)
    fixed = [float(special.stdtrit(n - 1, 0.975)) for n in LOOKS]
    rows.append(["one look only, 5%", *(f"{x:.2f}" for x in fixed)])
    axes.plot(LOOKS, fixed, "^:", color="#5a5a5a", label="one look only")
    axes.set_xlabel("paired seeds at the look")
    axes.set_ylabel("|t| that decides")
    axes.set_xticks(LOOKS)
    axes.legend(frameon=False)
    _figure(figure, "boundaries")
    return markdown(["boundary", *(f"n = {n}" for n in LOOKS)], rows)


TABLES = {
    f.__name__: f
    for f in (
        coverage,
        welch,
        error,
        family,
        equivalence,
        powers,
        boundary,
        sequential,
        procedure,
        expected,
        repeated,
        crossed,
        crossed_shapes,
        factorial,
        further,
        threshold,
        unpaired_times,
        censored_looks,
    )
}


def main(names: Sequence[str]) -> None:
    page = DOCS / "statistics.md"
    for name in names or TABLES:
        start = time.perf_counter()
        rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
        table = TABLES[name](rng)
        text = page.read_text(encoding="utf-8")
        head, found, rest = text.partition(f"<!-- simulated: {name} -->\n")
        if not found:
            sys.exit(f"{page} has no place for {name}")
        after = rest.partition("<!-- end -->")[2]
        page.write_text(f"{head}{found}\n{table}\n\n<!-- end -->{after}", encoding="utf-8")
        print(f"{name}: {time.perf_counter() - start:.0f} s\n{table}\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
