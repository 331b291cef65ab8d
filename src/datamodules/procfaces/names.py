"""Pronounceable names for people who do not exist."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from src.datamodules.procfaces.hashing import uniform

__all__ = ["invented_names"]

_CONSONANTS = "bdfgklmnprstvz"
_VOWELS = "aeiou"
_ENDINGS = ("", "", "l", "m", "n", "r", "s")


def invented_names(seed: int, ids: Iterable[int]) -> dict[int, str]:
    """Draw a distinct name such as ``Bado_Kirem`` for each person; no list of real names is involved.

    Args:
        seed: Seed of the data set.
        ids: Identity numbers, in a fixed order (a name that is taken is drawn again).

    Returns:
        Name per identity.
    """
    names: dict[int, str] = {}
    taken: set[str] = set()
    for person in ids:
        name = next(name for attempt in count() if (name := _name(seed, person, attempt)) not in taken)
        taken.add(name)
        names[person] = name
    return names


def _name(seed: int, person: int, attempt: int) -> str:
    draws = iter(uniform(seed, "name", person, attempt, size=10))

    def pick(letters: str | tuple[str, ...]) -> str:
        return letters[int(next(draws) * len(letters))]

    words = (pick(_CONSONANTS) + pick(_VOWELS) + pick(_CONSONANTS) + pick(_VOWELS) + pick(_ENDINGS) for _ in range(2))
    return "_".join(word.capitalize() for word in words)
