"""The five passes of one training iteration through the transformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from src.models.networks.password_transformer.sampling import DrawnPasswords

__all__ = ["TransformedFaces", "transform"]


class TransformedFaces(NamedTuple):
    """What the transformer made of a batch, each float [B, 3, H, W] in [-1, 1].

    Attributes:
        anonymised: A1, under the first password.
        second_anonymised: A2, under the second.
        recovered: R, from A1 with the right password.
        wrong: WR1, from A1 with a wrong one.
        second_wrong: WR2, from A1 with another wrong one.
    """

    anonymised: Tensor
    second_anonymised: Tensor
    recovered: Tensor
    wrong: Tensor
    second_wrong: Tensor

    def detach(self) -> TransformedFaces:
        """The same without gradient."""
        return TransformedFaces(*(images.detach() for images in self))


def transform(
    transformer: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    passwords: DrawnPasswords,
    noise: float = 0.0,
    separate: bool = True,
) -> TransformedFaces:
    """Anonymise faces twice; recover what the first password made, rightly and twice wrongly.

    Nothing is detached: what is wrong with a recovered face is also told to the pass that anonymised it.

    Args:
        transformer: Called with images and bits.
        images: Faces [B, 3, H, W] in [-1, 1].
        passwords: Bits [B, L], where the images are.
        noise: Anonymised faces differ by up to this before they are recovered, uniformly, as they do when they are
            stored: by up to half of a level where 8 bits are kept, 0.5 / 127.5. Published is 0.
        separate: Five passes, as a transformer needs whose images depend on the others of their batch. Others do in
            two passes of larger batches what they would do in five.
    """
    run = _one_by_one if separate else _together
    anonymised, second_anonymised = run(transformer, images, (passwords.first, passwords.second))
    stored = anonymised + noise * (2 * torch.rand_like(anonymised) - 1) if noise else anonymised
    recovered, wrong, second_wrong = run(
        transformer, stored, (passwords.recovery, passwords.wrong, passwords.second_wrong)
    )
    return TransformedFaces(anonymised, second_anonymised, recovered, wrong, second_wrong)


def _one_by_one(
    transformer: Callable[[Tensor, Tensor], Tensor], images: Tensor, passwords: Sequence[Tensor]
) -> Sequence[Tensor]:
    return [transformer(images, bits) for bits in passwords]


def _together(
    transformer: Callable[[Tensor, Tensor], Tensor], images: Tensor, passwords: Sequence[Tensor]
) -> Sequence[Tensor]:
    repeated = torch.cat([images] * len(passwords))
    return transformer(repeated, torch.cat(list(passwords))).chunk(len(passwords))
