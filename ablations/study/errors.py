"""Bad input, told in one line."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class InputError(Exception):
    """Something that the user wrote cannot be used.

    Args:
        message: What is wrong, in a few words.
        file: The file in which it stands.
        key: The dotted key at which it stands.
        nearest: The valid name nearest to the one given.
    """

    def __init__(
        self,
        message: str,
        *,
        file: Path | str | None = None,
        key: str | None = None,
        nearest: str | None = None,
    ) -> None:
        super().__init__(message, file, key, nearest)
        self.message = message
        self.file = file
        self.key = key
        self.nearest = nearest

    def __str__(self) -> str:
        places = [str(place) for place in (self.file, self.key) if place]
        hint = f' (did you mean "{self.nearest}"?)' if self.nearest else ""
        return ": ".join([*places, " ".join(self.message.split())]) + hint

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.message, self.file, self.key, self.nearest)


def _rebuild(
    message: str, file: Path | str | None, key: str | None, nearest: str | None
) -> InputError:
    return InputError(message, file=file, key=key, nearest=nearest)


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name most like ``name``, or None where none is like it."""
    names = list(valid)
    found = get_close_matches(name, names, n=1, cutoff=0.5)
    if not found:
        lowered = {candidate.lower(): candidate for candidate in names}
        found = [lowered[c] for c in get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)]
    return found[0] if found else None


def same_arms(arm: str, other: str, baseline: str, file: Path) -> InputError:
    """Two arms of which one is enough."""
    if other == baseline:
        told = f'changes nothing: it is the same as the baseline "{baseline}"'
    else:
        told = f'is identical to arm "{other}"'
    return InputError(told, file=file, key=f"arms.{arm}")
