"""What a synthetic person and each of its images must fulfil (Tomasevic et al. 2024, ArcBiFaceGAN)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from src.errors import UserError

__all__ = ["FilterSettings", "Rule"]


class Rule(StrEnum):
    """Why something was rejected, in the order in which the rules are applied.

    The first image of a person stands for the person: what it breaks up to `SEPARABILITY` rejects the whole person.
    """

    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    UNCERTAIN_FACE = "uncertain_face"
    OFF_CENTRE = "off_centre"
    PRIVACY = "privacy"
    """Too similar to a real person."""
    SEPARABILITY = "separability"
    """Too similar to a synthetic person that was accepted before."""
    CONSISTENCY = "consistency"
    """Not similar enough to the first image of the person."""
    DIVERSITY = "diversity"
    """A duplicate of an image of the person that was accepted before."""
    ATTEMPTS = "attempts"
    """Of a person: too many images were tried for the number that is wanted."""


@dataclass(frozen=True)
class FilterSettings:
    """How strict the rules on similarities are, and how many images are wanted.

    Attributes:
        samples_per_id: Images per person.
        similarity_mean: Mean cosine of two images of one real person.
        similarity_std: Its standard deviation.
        max_attempts: Images that are tried per person.

    Raises:
        UserError: A value is out of its range.
    """

    samples_per_id: int = 32
    similarity_mean: float = 0.776
    similarity_std: float = 0.077
    max_attempts: int = 2500

    def __post_init__(self) -> None:
        if self.samples_per_id < 1:
            raise UserError(f"samples_per_id: expected at least 1, found {self.samples_per_id}")
        if self.max_attempts < self.samples_per_id:
            raise UserError(
                f"max_attempts: expected at least samples_per_id={self.samples_per_id}, found {self.max_attempts}"
            )
        if not (0 < self.same_identity <= self.duplicate <= 1):
            raise UserError(
                "similarity_mean, similarity_std: expected 0 < mean - 2 std and mean + std <= 1, found "
                f"{self.similarity_mean} and {self.similarity_std}"
            )

    @property
    def same_identity(self) -> float:
        """Similarity up to which two images are of different people, and from which on they may be of the same."""
        return self.similarity_mean - 2 * self.similarity_std

    @property
    def duplicate(self) -> float:
        """Similarity above which two images of one person are one too many."""
        return self.similarity_mean + self.similarity_std
