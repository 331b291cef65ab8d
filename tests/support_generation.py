"""Synthetic people by script, and the filter as ArcBiFaceGAN's specification words it: one image after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
import torch

from src.models.generation.gallery import Gallery
from src.models.generation.rules import FilterSettings, Rule
from src.models.generation.selection import Pictures, Shot, select

Script = Callable[[Shot], tuple[np.ndarray, Rule | None]]
"""Embedding of an image, and what is wrong with its face."""

Decision = tuple[int, Rule | None, int, dict[Rule, int], list[int]]
"""Person, rule, attempts, images that broke a rule, accepted attempts."""


def play(script: Script, shots: Sequence[Shot]) -> Pictures:
    """Images that hold nothing but the numbers of their shots, with the embeddings of a script."""
    embeddings = torch.from_numpy(np.stack([script(shot)[0] for shot in shots]))
    images = torch.tensor([[shot.person % 256, shot.attempt % 256, 0, 0] for shot in shots], dtype=torch.uint8)
    return Pictures(images[..., None, None], embeddings, [script(shot)[1] for shot in shots])


def decisions(
    script: Script, known: np.ndarray, settings: FilterSettings, *, people: int, ids: int = 3, capacity: int = 1
) -> list[Decision]:
    """What `select` decides on the first people."""
    gallery = Gallery(torch.from_numpy(known))
    found = select(lambda shots: play(script, shots), gallery, settings, ids=ids, capacity=capacity)
    result: list[Decision] = []
    for _, candidate in zip(range(people), found, strict=False):
        attempts = [sample.attempt for sample in candidate.samples] if candidate.is_complete else []
        for sample in candidate.samples:
            assert sample.image.flatten().tolist()[:2] == [candidate.number % 256, sample.attempt % 256]
        result.append((candidate.number, candidate.rule, candidate.attempts, dict(candidate.rejected), attempts))
    return result


def sequential(script: Script, known: np.ndarray, settings: FilterSettings, people: int) -> list[Decision]:
    """The same, decided in the plainest way."""
    gallery = [(Rule.PRIVACY, row) for row in known]
    return [_one_person(script, gallery, settings, person) for person in range(people)]


def _one_person(
    script: Script, gallery: list[tuple[Rule, np.ndarray]], settings: FilterSettings, person: int
) -> Decision:
    accepted: list[np.ndarray] = []
    taken: list[int] = []
    rejected: Counter[Rule] = Counter()
    for attempt in count(1):
        if attempt > settings.max_attempts:
            return person, Rule.ATTEMPTS, settings.max_attempts, dict(rejected), []
        embedding, face = script(Shot(person, attempt))
        broken = face if not accepted else None
        broken = broken or next(
            (rule for rule, row in gallery if abs(_cosine(embedding, row)) > settings.same_identity), None
        )
        if accepted and broken is None:
            if abs(_cosine(embedding, accepted[0])) < settings.same_identity:
                broken = Rule.CONSISTENCY
            elif any(_cosine(embedding, other) > settings.duplicate for other in accepted):
                broken = Rule.DIVERSITY
        if broken is None:
            accepted.append(embedding)
            taken.append(attempt)
        else:
            rejected[broken] += 1
            if attempt == 1:
                return person, broken, 1, dict(rejected), []
        if len(accepted) == settings.samples_per_id:
            gallery.append((Rule.SEPARABILITY, accepted[0]))
            return person, None, attempt, dict(rejected), taken
    raise AssertionError


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
