from pathlib import Path

import numpy as np

from benchmarks.simulate import TABLES, markdown, percent

PAGE = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")


def test_every_simulated_table_stands_in_the_docs():
    for name in TABLES:
        _, found, rest = PAGE.partition(f"<!-- simulated: {name} -->\n")
        assert found, name
        assert rest.partition("<!-- end -->")[0].count("\n| ") > 2, name


def test_every_figure_of_the_docs_is_there():
    for name in ("coverage", "boundaries", "expected_seeds"):
        assert f"(figures/{name}.svg)" in PAGE
        assert (Path(__file__).parents[2] / "docs" / "figures" / f"{name}.svg").is_file()


def test_shares_carry_their_error():
    assert percent(np.arange(100) < 20) == "20.0 ± 4.0"
    assert markdown(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
