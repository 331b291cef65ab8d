"""The passwords of one training iteration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from src.errors import check_choice
from src.models.networks.password_transformer.password import check_length

__all__ = ["DrawnPasswords", "WrongSampling", "draw_passwords"]

WrongSampling = Literal["uniform", "hamming_balanced"]


class DrawnPasswords(NamedTuple):
    """Passwords of a batch, each bool [B, L].

    Attributes:
        first: To anonymise with.
        second: To anonymise the same faces once more; differs from ``first``.
        wrong: To fail in recovering what ``first`` anonymised.
        second_wrong: Likewise; differs from ``wrong``.
    """

    first: Tensor
    second: Tensor
    wrong: Tensor
    second_wrong: Tensor

    @property
    def recovery(self) -> Tensor:
        """The right ones to recover with: the complements of ``first``."""
        return ~self.first

    def to(self, device: torch.device | str) -> DrawnPasswords:
        """The same on another device."""
        return DrawnPasswords(*(bits.to(device) for bits in self))


def draw_passwords(
    batch: int,
    length: int,
    wrong_sampling: str = "uniform",
    generator: torch.Generator | None = None,
) -> DrawnPasswords:
    """Draw passwords for every face of a batch, all of them independent and uniform but for what has to differ.

    Args:
        batch: Faces B.
        length: Bits L, a multiple of 4.
        wrong_sampling: ``"uniform"`` as published: about half of the bits are wrong, and next to never a single one;
            ``"hamming_balanced"``: every number of wrong bits from 1 to L is equally frequent.
        generator: On the CPU; None for the global one.

    Returns:
        On the CPU.

    Raises:
        UserError: There is no such ``wrong_sampling``, or ``length`` is no multiple of 4.
    """
    check_length(length)
    check_choice("password.wrong_sampling", wrong_sampling, get_args(WrongSampling))

    def uniform(count: int) -> Tensor:
        return torch.randint(0, 2, (count, length), generator=generator).bool()

    def wrong_bits(count: int) -> Tensor:
        if wrong_sampling == "uniform":
            return uniform(count)
        number = torch.randint(1, length + 1, (count, 1), generator=generator)
        order = torch.rand(count, length, generator=generator).argsort(dim=1)
        return order < number

    first = uniform(batch)
    second = _redrawn(uniform, first)
    wrong = _redrawn(wrong_bits, torch.zeros_like(first))
    second_wrong = _redrawn(wrong_bits, torch.zeros_like(first), wrong)
    return DrawnPasswords(first, second, ~first ^ wrong, ~first ^ second_wrong)


def _redrawn(draw: Callable[[int], Tensor], *excluded: Tensor) -> Tensor:
    """Rows [B, L] that are not the same as those of any of ``excluded``; only rows that are get drawn anew."""
    drawn = draw(len(excluded[0]))
    while (bad := torch.stack([(drawn == other).all(dim=1) for other in excluded]).any(dim=0)).any():
        drawn[bad] = draw(int(bad.sum()))
    return drawn
