"""Numbers as people read them: rounded, signed, never more figures than they carry."""

import math


def signed(number: float, digits: int) -> str:
    """A difference: always with its sign, but never a negative zero."""
    text = f"{number:+.{digits}f}"
    return text.replace("-", "+", 1) if not float(text) else text


def interval_text(interval: tuple[float, float], digits: int) -> str:
    """An interval in brackets, or nothing where it is not defined."""
    if not all(map(math.isfinite, interval)):
        return ""
    return f"[{signed(interval[0], digits)}, {signed(interval[1], digits)}]"


def p_text(p: float) -> str:
    """A p value in three decimals, four where it would round to .050; "" where there is none."""
    if not math.isfinite(p):
        return ""
    if p < 0.001 or p > 0.9995:
        return "<.001" if p < 0.001 else "1"
    return f"{p:.{4 if round(p, 3) == 0.05 else 3}f}".lstrip("0")


def quantity(number: float) -> str:
    """A count in three figures with its SI prefix: 60,965,224 is "61.0M"; "" where unknown."""
    if not math.isfinite(number):
        return ""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size * 0.9995:
            scaled = number / size
            return f"{scaled:.{0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2}f}{prefix}"
    return f"{number:.0f}"


def fixed(number: float, digits: int) -> str:
    """A number with so many decimals, a dash where it is not finite."""
    return f"{number:.{digits}f}" if math.isfinite(number) else "–"


def duration(seconds: float) -> str:
    """Seconds, with a decimal below a hundred; "" where unknown."""
    if not math.isfinite(seconds):
        return ""
    return f"{seconds:.1f}" if seconds < 100 else f"{seconds:,.0f}"
