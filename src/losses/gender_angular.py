"""Identity loss with angular gender constraints.

Rezgui, Strisciuglio and Veldhuis 2024, "Gender Privacy Angular Constraints for Face Recognition", IEEE T-BIOM 6(3):
cross entropy over cosines keeps people apart, and two angles, both to be small, make women's and men's templates
overlap. In all functions a gender is 0 for female and 1 for male; rows with any other do not count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import UserError, check_choice
from src.losses.heads import MarginHead
from src.ops.collectives import sum_over_processes

__all__ = [
    "AngleMode",
    "GenderAngularLoss",
    "GenderAngularOutput",
    "angle_between",
    "centroid_angle",
    "prototype_angle",
    "prototypes",
]

AngleMode = Literal["atan2", "acos"]

Total = Callable[[Tensor], Tensor]

GENDERS = (0, 1)
"""Female and male."""
_EPSILON = 1e-12


def _of_this_process(share: Tensor) -> Tensor:
    return share


class GenderAngularOutput(NamedTuple):
    """The loss of a batch and what it is made of.

    Attributes:
        loss: Identity loss plus the weighted angles, a scalar with gradient.
        identity: Cross entropy, detached.
        centroid_angle: P1 in radians, 0 to pi, detached.
        prototype_angle: P2 in radians, 0 to 2 pi, detached.
        target_cosine: Mean cosine between a template and its class centre, detached.
        prototype_separation: Angle between the two genders' prototypes in radians, detached.
        counts: int64 [2], female and male templates that the angles were computed from.
    """

    loss: Tensor
    identity: Tensor
    centroid_angle: Tensor
    prototype_angle: Tensor
    target_cosine: Tensor
    prototype_separation: Tensor
    counts: Tensor


class GenderAngularLoss(nn.Module):
    """``identity + alpha * P1 + beta * P2``, in single precision at least, autocast or not.

    Args:
        embedding_size: Length D of a template.
        class_attributes: int [C], gender of every identity of the training data.
        head: Called with ``embedding_size`` and ``num_classes``; yields the head of the identity loss, which holds the
            class centres.
        alpha: Weight of P1, the angle between the genders' mean templates.
        beta: Weight of P2, the angles between templates and the other gender's prototype.
        angle: How angles are computed, see `angle_between`.
        gather: Whether P1 and P2 are those of the batches of all processes together, so that two processes with half
            the batch size have the gradients of one; else each process has its own.

    Raises:
        UserError: The identities are not of two genders.
    """

    female_classes: Tensor
    male_classes: Tensor

    def __init__(
        self,
        embedding_size: int,
        class_attributes: Tensor,
        head: Callable[..., MarginHead],
        alpha: float = 20.0,
        beta: float = 1.0,
        angle: AngleMode = "atan2",
        gather: bool = True,
    ) -> None:
        super().__init__()
        check_choice("loss.angle", angle, get_args(AngleMode))
        female, male = (torch.nonzero(class_attributes == gender).flatten() for gender in GENDERS)
        if not (len(female) and len(male)):
            raise UserError(
                f"the training data has {len(female)} identities marked female and {len(male)} marked male, of "
                f"{len(class_attributes)}: the angular constraints need both. Choose a data set with genders, e.g. "
                "folders SUBJECT_GENDER: datamodule=folder source@datamodule.source=subject_gender"
            )
        self.head = head(embedding_size=embedding_size, num_classes=len(class_attributes))
        self.alpha = alpha
        self.beta = beta
        self.angle = angle
        self.total = sum_over_processes if gather else _of_this_process
        self.register_buffer("female_classes", female, persistent=False)
        self.register_buffer("male_classes", male, persistent=False)

    def forward(self, template: Tensor, label: Tensor, attribute: Tensor) -> GenderAngularOutput:
        """Compute the loss of a batch.

        Args:
            template: Float [B, D], not normalised.
            label: int64 [B], identities; -1 leaves a row out of the identity loss.
            attribute: int64 [B], 0 female, 1 male.
        """
        with torch.autocast(template.device.type, enabled=False):
            unit = F.normalize(template.to(torch.promote_types(template.dtype, torch.float32)))
            known = label >= 0
            identity, target_cosine = self.head(unit[known], label[known])
            centres = prototypes(self.head.weight.to(unit.dtype), self.female_classes, self.male_classes)
            p1 = centroid_angle(unit, attribute, self.angle, self.total)
            p2 = prototype_angle(unit, attribute, centres, self.angle, self.total)
            separation = angle_between(centres[0].detach(), centres[1].detach(), self.angle)
        return GenderAngularOutput(
            identity + self.alpha * p1 + self.beta * p2,
            identity.detach(),
            p1.detach(),
            p2.detach(),
            target_cosine,
            separation,
            self.total(_of_gender(attribute).sum(dim=0)),
        )


def centroid_angle(
    template: Tensor, attribute: Tensor, angle: AngleMode = "atan2", total: Total = _of_this_process
) -> Tensor:
    """P1: angle in radians between the mean templates of the genders; 0, without gradient, if one is absent.

    Args:
        template: Float [B, D] of unit length.
        attribute: int64 [B], 0 female, 1 male.
        angle: See `angle_between`.
        total: Adds up what the rows of several processes contribute.
    """
    members = _of_gender(attribute).to(template.dtype)
    sums, counts = total(members.T @ template), total(members.sum(dim=0))
    centroids = F.normalize(sums / counts.clamp(min=1)[:, None], eps=_EPSILON)
    return torch.where((counts > 0).all(), angle_between(centroids[0], centroids[1], angle), sums.sum() * 0)


def prototype_angle(
    template: Tensor,
    attribute: Tensor,
    prototypes: Tensor,
    angle: AngleMode = "atan2",
    total: Total = _of_this_process,
) -> Tensor:
    """P2: mean angle of women's templates to the male prototype plus that of men's to the female one, in radians.

    The half of a gender that is absent is 0, without gradient.

    Args:
        template: Float [B, D] of unit length.
        attribute: int64 [B], 0 female, 1 male.
        prototypes: Float [2, D], see `prototypes`.
        angle: See `angle_between`.
        total: As of `centroid_angle`.
    """
    members = _of_gender(attribute).to(template.dtype)
    angles = angle_between(template, prototypes.flip(0)[attribute.clamp(min=0)], angle)
    return (total(angles @ members) / total(members.sum(dim=0)).clamp(min=1)).sum()


def prototypes(centres: Tensor, female_classes: Tensor, male_classes: Tensor) -> Tensor:
    """Mean direction of the class centres of each gender, over the whole training data; not detached.

    Args:
        centres: Float [C, D], of any length.
        female_classes: int64 [F], numbers of the female identities.
        male_classes: int64 [M].

    Returns:
        Female and male prototype, [2, D] of unit length.
    """
    unit = F.normalize(centres)
    means = torch.stack([unit[classes].mean(dim=0) for classes in (female_classes, male_classes)])
    return F.normalize(means, eps=_EPSILON)


def angle_between(first: Tensor, second: Tensor, mode: AngleMode = "atan2") -> Tensor:
    """Angle in radians between vectors of unit length, 0 to pi.

    Args:
        first: Float [..., D].
        second: Float [..., D].
        mode: ``"atan2"``: ``2 atan2(|u - v|, |u + v|)``, exact for small angles, with a finite gradient at 0 and pi,
            and never below 1e-6. ``"acos"``: the arc cosine of the cosine, as published; its gradient is infinite
            there.

    Returns:
        Float [...].
    """
    if mode == "acos":
        return torch.arccos((first * second).sum(-1).clamp(-1, 1))
    return 2 * torch.atan2(_norm(first - second), _norm(first + second))


def _norm(vector: Tensor) -> Tensor:
    return (vector.square().sum(-1) + _EPSILON).sqrt()


def _of_gender(attribute: Tensor) -> Tensor:
    """Whether each row is female and whether it is male, bool [B, 2]."""
    return attribute[:, None] == torch.tensor(GENDERS, device=attribute.device)
