"""What is settled for a whole gallery by the call that makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from src.apps.gallery.arguments import check_kind
from src.apps.gallery.encoding import Encoder
from src.errors import UserError, check_choice
from src.models.cancellable.gallery import CancellableGallery
from src.models.cancellable.identifier_store import IdentifierKind
from src.models.cancellable.parameters import LutScope, Parameters

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """What is settled when a gallery is made; None is the default then, and no wish later.

    Attributes:
        flip: Whether codes hold the symbols of the mirror image too; by default not.
        lut_bits: Bits per symbol, by default all.
        lut_scope: Whether each position of a code has its own lookup table, which is the default.
        identifier: How identifiers come about, by default at random.
        threshold: Least fraction of equal symbols that `identify` accepts, by default 0.

    Raises:
        UserError: A value is of another kind.
    """

    flip: bool | None
    lut_bits: int | None
    lut_scope: LutScope | None
    identifier: IdentifierKind | None
    threshold: float | None

    def __post_init__(self) -> None:
        check_kind("flip", self.flip, bool)
        check_kind("lut_bits", self.lut_bits, int)
        check_kind("threshold", self.threshold, float)
        if self.lut_scope is not None:
            check_choice("lut_scope", self.lut_scope, get_args(LutScope))
        if self.identifier is not None:
            check_choice("identifier", self.identifier, get_args(IdentifierKind))

    def parameters(self, encoder: Encoder) -> Parameters:
        """Parameters of a new gallery for the codes of a network."""
        return Parameters(
            network=encoder.fingerprint,
            m=encoder.m * (2 if self.flip else 1),
            q=encoder.q,
            bits=(encoder.q - 1).bit_length() if self.lut_bits is None else self.lut_bits,
            flip=bool(self.flip),
            lut_scope=self.lut_scope or "per_position",
            threshold=float(self.threshold or 0),
        )

    def check(self, gallery: CancellableGallery) -> None:
        """Raise UserError where a gallery that is there was made with other settings."""
        parameters = gallery.parameters
        made_with = {
            "flip": parameters.flip,
            "lut_bits": parameters.bits,
            "lut_scope": parameters.lut_scope,
            "identifier": gallery.stats().identifier,
            "threshold": parameters.threshold,
        }
        for key, value in made_with.items():
            asked = getattr(self, key)
            if asked is not None and asked != value:
                raise UserError(
                    f"{key}={asked}: the gallery was made with {key}={value}, which is settled for all of it. Leave "
                    f"{key} out, or make another gallery in new folders"
                )
