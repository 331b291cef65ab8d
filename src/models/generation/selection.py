"""The search for synthetic people: many in work at once, the outcome that of one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from src.models.generation.candidate import Candidate
from src.models.generation.gallery import Gallery
from src.models.generation.rules import FilterSettings, Rule

__all__ = ["MakeImages", "Pictures", "Shot", "select"]


@dataclass(frozen=True)
class Shot:
    """One image to be made: its pixels depend on nothing but the seed of the run and these.

    Attributes:
        person: Number of the person, from 0.
        attempt: Number of the image of this person, from 1.
    """

    person: int
    attempt: int


@dataclass(frozen=True)
class Pictures:
    """Images that were made.

    Attributes:
        images: uint8 [N, 4, R, R]: red, green, blue and near infrared.
        embeddings: Floating [N, D] of the visible images.
        faces: What is wrong with the face on the visible image, for every first image of a person.
    """

    images: Tensor
    embeddings: Tensor
    faces: Sequence[Rule | None]


class MakeImages(Protocol):
    """Makes images of synthetic people."""

    def __call__(self, shots: Sequence[Shot]) -> Pictures:
        """Make the images of some shots, in their order."""


def select(
    make: MakeImages, gallery: Gallery, settings: FilterSettings, *, ids: int, capacity: int, first: int = 0
) -> Iterator[Candidate]:
    """Decide on one person after the other, without end.

    Which people are accepted, with which images, depends on neither ``ids`` nor ``capacity``.

    Args:
        make: Makes the images.
        gallery: Real people, and those accepted before; who is accepted is added.
        settings: The rules.
        ids: How many people are wanted in all; not many more are worked on at once.
        capacity: Images that are made at once.
        first: Number of the first person.

    Yields:
        Finished candidates in the order of their numbers.
    """
    window: deque[Candidate] = deque()
    while True:
        open_at_once = max(1, 2 * (ids - len(gallery)))
        shots, number = _plan(window, settings, capacity, open_at_once, first)
        first = number
        _offer(window, shots, make(shots), gallery)
        while window and window[0].is_finished:
            candidate = window.popleft()
            if candidate.is_complete:
                gallery.add(candidate.samples[0].embedding)
            yield candidate
            if candidate.is_complete:
                for later in window:
                    later.recheck(gallery)


def _plan(
    window: deque[Candidate], settings: FilterSettings, capacity: int, open_at_once: int, number: int
) -> tuple[list[Shot], int]:
    """The next shots, those of lower numbers first; new candidates, from ``number`` on, fill up what is left."""
    shots: list[Shot] = []
    unfinished = [candidate for candidate in window if not candidate.is_finished]
    for candidate in unfinished:
        count = min(candidate.wanted, capacity - len(shots))
        shots += [Shot(candidate.number, candidate.attempts + 1 + index) for index in range(count)]
    for _ in range(min(capacity - len(shots), open_at_once - len(unfinished))):
        window.append(Candidate(number, settings))
        shots.append(Shot(number, 1))
        number += 1
    return shots, number


def _offer(window: deque[Candidate], shots: Sequence[Shot], pictures: Pictures, gallery: Gallery) -> None:
    rows: dict[int, list[int]] = {}
    for row, shot in enumerate(shots):
        rows.setdefault(shot.person, []).append(row)
    for candidate in window:
        if own := rows.get(candidate.number):
            candidate.offer(pictures.images[own], pictures.embeddings[own], pictures.faces[own[0]], gallery)
