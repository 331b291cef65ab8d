"""One synthetic person, while it is not decided yet whether there are enough good images of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from src.models.generation.gallery import Gallery, to_unit
from src.models.generation.rules import FilterSettings, Rule

__all__ = ["Candidate", "Sample"]


@dataclass
class Sample:
    """An accepted image of a person.

    Attributes:
        attempt: Which image of the person it was, from 1.
        image: uint8 [4, R, R]: visible light and near infrared.
        embedding: float64 [D] of length 1.
        to_first: Cosine to the first image.
        to_known: Largest absolute cosine to a real person.
        to_synthetic: Largest absolute cosine to the first image of a synthetic person that was accepted before.
        to_other: Largest cosine to the images of this person that were accepted before; None of the first.
    """

    attempt: int
    image: Tensor
    embedding: Tensor
    to_first: float
    to_known: float
    to_synthetic: float
    to_other: float | None


class Candidate:
    """Applies the rules to the images of one person, one after the other.

    Images may be offered in batches of any size, and before it is known who is accepted among the people with lower
    numbers: when one more is, `recheck` brings the decisions to what they are in strict order.

    Args:
        number: Of the person, from 0.
        settings: The rules.

    Attributes:
        number: See above.
        rule: Why the person was rejected; None if it was not.
        attempts: Images decided on.
        rejected: How many of them broke which rule.
        samples: The accepted ones.
    """

    def __init__(self, number: int, settings: FilterSettings) -> None:
        self.number = number
        self._settings = settings
        self._begin()

    def _begin(self) -> None:
        self.rule: Rule | None = None
        self.attempts = 0
        self.rejected: Counter[Rule] = Counter()
        self.samples: list[Sample] = []
        self._embeddings: list[Tensor] = []
        self._compared = 0

    @property
    def is_complete(self) -> bool:
        """Whether all images that are wanted were accepted."""
        return len(self.samples) == self._settings.samples_per_id

    @property
    def is_finished(self) -> bool:
        """Whether no more image is needed."""
        return self.is_complete or self.rule is not None

    @property
    def wanted(self) -> int:
        """How many more images it will take, going by the share that was accepted so far; never too many to try."""
        if self.attempts == 0:
            return 1
        missing = self._settings.samples_per_id - len(self.samples)
        expected = -(-missing * (self.attempts + 1) // (len(self.samples) + 1))
        return min(expected, self._settings.max_attempts - self.attempts)

    def offer(self, images: Tensor, embeddings: Tensor, face: Rule | None, gallery: Gallery) -> None:
        """Decide on the next images; those that are not needed any more are ignored.

        Args:
            images: uint8 [N, 4, R, R].
            embeddings: Floating [N, D], of any scale.
            face: What is wrong with the face on the first image of the person, if that is among them.
            gallery: Everybody that it must not resemble; at the first offer, and grown only by `recheck` since then.
        """
        unit = to_unit(embeddings)
        before = [sample.embedding for sample in self.samples]
        cosines = unit @ torch.stack([*before, *unit]).mT
        columns = list(range(len(before)))
        to_known, to_synthetic = gallery.similarity_to_known(unit), gallery.similarity_to_accepted(unit)
        self._compared = len(gallery)
        for row in range(len(unit)):
            if self.is_finished:
                return
            self.attempts += 1
            self._embeddings.append(unit[row])
            own = cosines[row, columns]
            broken = (face if self.attempts == 1 else None) or self._broken_rule(
                float(to_known[row]), float(to_synthetic[row]), own
            )
            if broken is None:
                columns.append(len(before) + row)
                first = float(own[0]) if len(own) else 1.0
                other = float(own.max()) if len(own) else None
                self.samples.append(
                    Sample(
                        self.attempts,
                        images[row],
                        unit[row],
                        first,
                        float(to_known[row]),
                        float(to_synthetic[row]),
                        other,
                    )
                )
            else:
                self.rejected[broken] += 1
            if self.attempts == 1:
                self.rule = broken
            elif self.attempts == self._settings.max_attempts and not self.is_complete:
                self.rule = Rule.ATTEMPTS

    def recheck(self, gallery: Gallery) -> None:
        """Take into account who was accepted since the images were decided on.

        A person whose first image resembles one of them is rejected. If another image does, whether accepted or
        not, all decisions after it may have been others: the person begins anew.
        """
        if not self.samples:
            self._compared = len(gallery)
            return
        similarity = gallery.similarity_to_accepted(torch.stack(self._embeddings), since=self._compared)
        self._compared = len(gallery)
        breaches = similarity > self._settings.same_identity
        if breaches[0]:
            self._begin()
            self.attempts, self.rule = 1, Rule.SEPARABILITY
            self.rejected[Rule.SEPARABILITY] = 1
        elif breaches.any():
            self._begin()
        else:
            for sample in self.samples:
                sample.to_synthetic = max(sample.to_synthetic, float(similarity[sample.attempt - 1]))

    def _broken_rule(self, to_known: float, to_synthetic: float, own: Tensor) -> Rule | None:
        """The first rule that an image breaks by its similarities, ``own`` [k] to the accepted images of the person."""
        if to_known > self._settings.same_identity:
            return Rule.PRIVACY
        if to_synthetic > self._settings.same_identity:
            return Rule.SEPARABILITY
        if len(own) and abs(float(own[0])) < self._settings.same_identity:
            return Rule.CONSISTENCY
        if len(own) and float(own.max()) > self._settings.duplicate:
            return Rule.DIVERSITY
        return None
