import itertools
import math

import numpy as np
import pytest

from ablations.results.factorial import cells_order, effects, interaction
from ablations.results.statistics import delta_of, holm
from ablations.study.fractional import fraction

RNG = np.random.default_rng(0)


def measured(design, model, seeds=6, noise=0.1):
    """Values of a known model, with what each seed adds to all cells."""
    rows = np.array([model(dict(zip(design.factors, cell, strict=True))) for cell in design.cells])
    return (
        rows + 3 * RNG.standard_normal((seeds, 1)) + noise * RNG.standard_normal((seeds, len(rows)))
    )


def found_by_name(values, design):
    return {" × ".join(e.term.factors): e for e in effects(values, design)}


def test_known_effects_of_a_full_design():
    design = fraction("abc", 8)
    found = found_by_name(measured(design, lambda x: 2 * x["a"] - x["b"] * x["c"], noise=0), design)
    expected = {"a": 2.0, "b": -0.5, "c": -0.5, "a × b": 0, "a × c": 0, "b × c": -0.5}
    assert {name: e.delta.mean for name, e in found.items()} == pytest.approx(expected)


def test_an_effect_is_a_mean_difference_within_seeds():
    design = fraction("abc", 8)
    values = measured(design, lambda x: x["a"])
    stripped = np.array(design.cells)[:, 1] == 1
    per_seed = values[:, stripped].mean(axis=1) - values[:, ~stripped].mean(axis=1)
    found = found_by_name(values, design)["b"].delta
    assert found.differences == pytest.approx(per_seed)
    assert found.interval == pytest.approx(delta_of(per_seed).interval)


def test_a_main_effect_is_the_regression_coefficient():
    smf = pytest.importorskip("statsmodels.formula.api")
    import pandas as pd

    design = fraction("abc", 8)
    values = measured(design, lambda x: x["a"] - 0.5 * x["b"])
    rows = pd.DataFrame(
        {"y": v, "seed": seed} | dict(zip("abc", 2 * np.array(cell) - 1, strict=True))
        for seed, row in enumerate(values)
        for v, cell in zip(row, design.cells, strict=True)
    )
    fit = smf.ols("y ~ C(seed) + (a + b + c) ** 2", rows).fit()
    found = found_by_name(values, design)
    assert found["a"].delta.mean == pytest.approx(2 * fit.params["a"])
    assert found["a × b"].delta.mean == pytest.approx(2 * fit.params["a:b"])


def test_a_fraction_estimates_the_sum_of_aliases_with_their_signs():
    for factors, cells in (("abc", 4), ("abcd", 8), ("abcde", 8)):
        design = fraction(factors, cells)
        coefficients = {
            term: RNG.normal() for size in (1, 2) for term in itertools.combinations(factors, size)
        }

        def model(x, coefficients=coefficients):
            return sum(
                c / 2 * math.prod(2 * x[factor] - 1 for factor in term)
                for term, c in coefficients.items()
            )

        for effect in effects(measured(design, model, noise=0), design):
            aliased = sum(sign * coefficients[other] for sign, other in effect.term.aliases)
            expected = coefficients[effect.term.factors] + aliased
            assert effect.delta.mean == pytest.approx(expected)


def test_holm_is_over_effects_and_a_seed_with_a_hole_is_dropped():
    design = fraction("abc", 8)
    values = measured(design, lambda x: 0.3 * x["a"])
    values[2, 5] = np.nan
    found = effects(values, design)
    assert {e.delta.missing for e in found} == {(2,)}
    assert [e.p_holm for e in found] == pytest.approx(holm([e.delta.p for e in found]))


def test_columns_must_be_the_cells():
    with pytest.raises(ValueError, match="4 cells"):
        effects(np.zeros((6, 8)), fraction("abc", 4))


def test_arms_are_put_in_the_order_of_the_cells():
    design = fraction(["lrn", "drop"], 4)
    arms = [
        {"lrn": "on", "drop": "on"},
        {"lrn": "off", "drop": "off"},
        {"lrn": "on", "drop": "off"},
        {"lrn": "off", "drop": "on"},
    ]
    ordered = [arms[i] for i in cells_order(arms, design)]
    assert [tuple(int(v == "off") for v in arm.values()) for arm in ordered] == list(design.cells)


def test_leave_one_out_minus_add_one_in():
    seeds = RNG.normal(size=6)
    # Removing the factor costs 2 in the full model and 0.5 where it is alone.
    found = interaction(seeds, seeds + 2, seeds + 5, seeds + 4.5)
    assert found.differences == pytest.approx([1.5] * 6)
    assert found.degenerate
    design = fraction("ab", 4)
    values = measured(design, lambda x: x["a"] * x["b"])
    at = {cell: values[:, i] for i, cell in enumerate(design.cells)}
    contrast = interaction(at[0, 0], at[1, 0], at[1, 1], at[0, 1])
    both = found_by_name(values, design)["a × b"].delta
    assert contrast.mean == pytest.approx(-2 * both.mean)
    assert contrast.p == pytest.approx(both.p)
