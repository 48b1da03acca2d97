import math

from ablations.results.numbers import p_text, quantity, signed


def test_a_rounded_zero_is_not_negative():
    assert [signed(n, 1) for n in (-0.01, 0.01, -0.2)] == ["+0.0", "+0.0", "-0.2"]


def test_small_numbers_for_people():
    assert [p_text(p) for p in (0.0004, 0.0123, 0.0497, 0.05, 1.0, math.nan)] == [
        "<.001",
        ".012",
        ".0497",
        ".0500",
        "1",
        "",
    ]
    assert [quantity(n) for n in (60_965_224, 999, 1_000, 999_999, 1.43e9, math.nan)] == [
        "61.0M",
        "999",
        "1.00k",
        "1.00M",
        "1.43G",
        "",
    ]
