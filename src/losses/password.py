"""Objectives of the password transformer (Gu, Luo, Ryoo and Lee 2020, ECCV, arXiv 1911.11759).

Generated faces go by the published letters: M are those anonymised (modified), R those recovered, WR those recovered
with a wrong password. Parts of the losses have the published names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from src.errors import UserError, check_choice

__all__ = [
    "SCALARS",
    "FeatureLoss",
    "GanMode",
    "GanWeights",
    "IdentityWeights",
    "PasswordLoss",
    "PasswordLossOutput",
    "PasswordWeights",
    "feature_loss",
    "gan_loss",
    "password_accuracy",
    "password_loss",
]

GanMode = Literal["lsgan", "vanilla"]
FeatureLoss = Literal["cos", "l2"]

SCALARS = (
    "D_FR_M", "D_FR_R", "D_FR_WR", "D_FR_real", "D_FR_fake", "D_GAN_M", "D_GAN_R", "D_GAN_WR", "D_GAN_real",
    "D_GAN_fake", "D", "G_GAN_M", "G_GAN_R", "G_GAN_WR", "G_GAN", "dis", "dis_acc", "G_FR_M", "G_FR_R", "G_FR_WR",
    "G_FR", "G_feat", "G_WR_feat", "G_feat_M_WR", "G_feat_orig", "G_feat_rec", "L1_M", "recon", "L1_WR", "G",
)  # fmt: skip
"""Names of all parts of both losses; the published ones, and those of two terms that were not published."""


def gan_loss(maps: Sequence[Tensor], real: bool, mode: str = "lsgan") -> Tensor:
    """How far logits are from those of real, or of generated, images; the sum over scales.

    Args:
        maps: Logits at every scale, float [B, 1, h, w].
        real: Which of the two they should be.
        mode: ``"lsgan"``, squared distance to 1 or 0 (Mao et al. 2017); ``"vanilla"``, binary cross entropy.

    Returns:
        A scalar: the sum over scales of the mean over a map.
    """
    compare = F.mse_loss if mode == "lsgan" else F.binary_cross_entropy_with_logits
    return torch.stack([compare(logits, torch.full_like(logits, float(real))) for logits in maps]).sum()


def feature_loss(first: Tensor, second: Tensor, kind: str = "cos") -> Tensor:
    """How alike the features of two faces of each row are, where they are to differ.

    Args:
        first: Float [B, D].
        second: Float [B, D].
        kind: ``"cos"``, their cosine or 0 if that is below; ``"l2"``, less their mean squared difference.

    Returns:
        Mean over the batch, a scalar.
    """
    if kind == "l2":
        return -F.mse_loss(first, second)
    return F.cosine_embedding_loss(first, second, first.new_full((len(first),), -1))


def password_loss(logits: Tensor, groups: Tensor) -> Tensor:
    """Cross entropy of a password that is read off two faces.

    Args:
        logits: Float [B, G, 16].
        groups: The password's groups of four bits, int64 [B, G].

    Returns:
        The sum over groups of the mean over the batch, a scalar.
    """
    return F.cross_entropy(logits.flatten(0, 1), groups.flatten()) * groups.shape[1]


def password_accuracy(logits: Tensor, groups: Tensor) -> Tensor:
    """Share of the groups that are told rightly; arguments as of `password_loss`, a scalar without gradient."""
    return (logits.detach().argmax(-1) == groups).float().mean()


@dataclass(frozen=True, kw_only=True)
class GanWeights:
    """Weights of the realism of generated faces.

    Attributes:
        total: Of all of it.
        m: Share of anonymised faces; shares are divided by their sum.
        r: Of recovered ones.
        wr: Of wrongly recovered ones.
    """

    total: float = 1.0
    m: float = 1.0
    r: float = 1.0
    wr: float = 1.0


@dataclass(frozen=True, kw_only=True)
class IdentityWeights:
    """Weights of whom the recogniser takes generated faces for.

    Attributes:
        total: Of all of it.
        m: Share of anonymised faces; shares are divided by their sum, where recovered faces have 1.
        wr: Of wrongly recovered ones.
    """

    total: float = 2.0
    m: float = 1.0
    wr: float = 1.0


@dataclass(frozen=True, kw_only=True)
class PasswordWeights:
    """Weights of all parts of the losses; those of the published main model by default.

    Attributes:
        gan: Realism.
        fr: Identity by the recogniser.
        aux: Reading the password off the faces.
        feat_a: Likeness of faces anonymised under two passwords.
        feat_wr: Likeness of faces recovered with two wrong passwords.
        feat_a_wr: Likeness of anonymised and wrongly recovered faces.
        feat_orig: Likeness of anonymised, and of wrongly recovered, faces to the originals; not in the paper.
        feat_rec: What the likeness of recovered faces to the originals falls short of 1; not in the paper.
        l1_a: Mean absolute difference of anonymised faces to the originals.
        l1_wr: The same of wrongly recovered ones.
        rec: The same of recovered ones.
    """

    gan: GanWeights = field(default_factory=GanWeights)
    fr: IdentityWeights = field(default_factory=IdentityWeights)
    aux: float = 1.0
    feat_a: float = 2.0
    feat_wr: float = 1.0
    feat_a_wr: float = 1.0
    feat_orig: float = 0.0
    feat_rec: float = 0.0
    l1_a: float = 10.0
    l1_wr: float = 10.0
    rec: float = 100.0


class PasswordLossOutput(NamedTuple):
    """A loss and what it is made of.

    Attributes:
        total: A scalar with gradient.
        parts: Scalars without gradient, unweighted, by their published names.
    """

    total: Tensor
    parts: dict[str, Tensor]


class PasswordLoss:
    """Puts both losses together from what the networks say.

    Passwords and features of weight 0 are not looked at, so a caller need not compute them. The loss of the transformer
    has no lower bound: it also grows better by making the recogniser ever more wrong.

    Args:
        weights: Of all parts.
        gan_mode: See `gan_loss`.
        feature: Kind of `feature_loss`.
        fr_clip: Identity losses that are to grow count no further than up to this; None for no limit, as published.

    Raises:
        UserError: There is no such ``gan_mode`` or ``feature``, or a weight is negative.
    """

    def __init__(
        self,
        weights: PasswordWeights | None = None,
        gan_mode: str = "lsgan",
        feature: str = "cos",
        fr_clip: float | None = None,
    ) -> None:
        check_choice("loss.gan_mode", gan_mode, get_args(GanMode))
        check_choice("loss.feature", feature, get_args(FeatureLoss))
        self.weights = weights or PasswordWeights()
        self.gan_mode, self.feature, self.fr_clip = gan_mode, feature, fr_clip
        gan, fr = self.weights.gan, self.weights.fr
        self._gan_shares = {"M": gan.m, "R": gan.r, "WR": gan.wr}
        self._fr_shares = {"M": fr.m, "R": 1.0, "WR": fr.wr}
        if min(*self._gan_shares.values(), *self._fr_shares.values()) < 0:
            raise UserError(f"loss.weights: expected shares of 0 or more, found {gan} and {fr}")

    def discriminator(
        self,
        identity: Mapping[str, Tensor],
        real_identity: Tensor,
        generated: Mapping[str, Sequence[Tensor]],
        real: Mapping[str, Sequence[Tensor]],
    ) -> PasswordLossOutput:
        """Loss of the discriminators and of the recogniser, which learns to see through M and WR and not to accept R.

        Args:
            identity: Classification loss of generated faces as who they were, by ``M``, ``R`` and ``WR``; scalars.
            real_identity: The same of the originals, a scalar.
            generated: Logits of generated faces at every scale, by ``M``, ``R`` and ``WR``.
            real: Logits of the originals by the same discriminators.
        """
        fr = {"M": identity["M"], "R": -self._clipped(identity["R"]), "WR": identity["WR"]}
        gan = {kind: gan_loss(maps, False, self.gan_mode) for kind, maps in generated.items()}
        fr_fake, gan_fake = _mean(fr, self._fr_shares), _mean(gan, self._gan_shares)
        gan_real = _mean({kind: gan_loss(maps, True, self.gan_mode) for kind, maps in real.items()}, self._gan_shares)
        weights = self.weights
        identified = weights.fr.total * (real_identity + fr_fake) / 2
        total = identified + weights.gan.total * (gan_fake + gan_real) / 2
        parts = {f"D_FR_{kind}": value for kind, value in fr.items()}
        parts |= {"D_FR_real": real_identity, "D_FR_fake": fr_fake}
        parts |= {f"D_GAN_{kind}": value for kind, value in gan.items()}
        parts |= {"D_GAN_real": gan_real, "D_GAN_fake": gan_fake, "D": total}
        return _output(total, parts)

    def generator(
        self,
        faces: Mapping[str, Tensor],
        identity: Mapping[str, Tensor],
        features: Mapping[str, Tensor],
        generated: Mapping[str, Sequence[Tensor]],
        passwords: Sequence[tuple[Tensor, Tensor]],
    ) -> PasswordLossOutput:
        """Loss of the transformer and of the password predictor.

        Args:
            faces: Float [B, 3, H, W] in [-1, 1]: the originals as ``I``, and ``M``, ``R`` and ``WR``.
            identity: Classification loss of generated faces as who they were, by ``M``, ``R`` and ``WR``; scalars.
            features: Of the recogniser, float [B, D], by ``M``, ``M2`` (under the second password), ``WR`` and ``WR2``
                (with the second wrong one), and ``I`` and ``R`` where ``feat_orig`` or ``feat_rec`` count.
            generated: Logits of generated faces at every scale, by ``M``, ``R`` and ``WR``.
            passwords: What `password_loss` takes, for anonymising, recovering and recovering wrongly.
        """
        fr = {
            "M": -self._clipped(identity["M"]),
            "R": identity["R"],
            "WR": -self._clipped(identity["WR"]),
        }
        gan = {kind: gan_loss(maps, True, self.gan_mode) for kind, maps in generated.items()}
        fr_mean, gan_mean = _mean(fr, self._fr_shares), _mean(gan, self._gan_shares)
        weights = self.weights
        parts = {f"G_GAN_{kind}": value for kind, value in gan.items()} | {"G_GAN": gan_mean}
        parts |= {f"G_FR_{kind}": value for kind, value in fr.items()} | {"G_FR": fr_mean}
        weighted = {"G_GAN": weights.gan.total, "G_FR": weights.fr.total}
        if weights.aux > 0:
            parts["dis"] = torch.stack([password_loss(*pair) for pair in passwords]).sum()
            parts["dis_acc"] = torch.stack([password_accuracy(*pair) for pair in passwords]).mean()
            weighted["dis"] = weights.aux
        for name, weight, pairs in (
            ("G_feat", weights.feat_a, [("M", "M2")]),
            ("G_WR_feat", weights.feat_wr, [("WR", "WR2")]),
            ("G_feat_M_WR", weights.feat_a_wr, [("M", "WR")]),
            ("G_feat_orig", weights.feat_orig, [("M", "I"), ("WR", "I")]),
        ):
            if weight:
                alike = [feature_loss(features[one], features[other], self.feature) for one, other in pairs]
                parts[name], weighted[name] = torch.stack(alike).sum(), weight
        if weights.feat_rec:
            difference = 1 - F.cosine_similarity(features["R"], features["I"]).mean()
            parts["G_feat_rec"], weighted["G_feat_rec"] = difference, weights.feat_rec
        for name, weight, kind in (
            ("L1_M", weights.l1_a, "M"),
            ("recon", weights.rec, "R"),
            ("L1_WR", weights.l1_wr, "WR"),
        ):
            parts[name], weighted[name] = F.l1_loss(faces[kind], faces["I"]), weight
        total = torch.stack([weight * parts[name] for name, weight in weighted.items() if weight]).sum()
        return _output(total, parts | {"G": total})

    def _clipped(self, loss: Tensor) -> Tensor:
        """A loss that is to grow, without gradient above the limit."""
        return loss if self.fr_clip is None else loss.clamp(max=self.fr_clip)


def _mean(values: Mapping[str, Tensor], shares: Mapping[str, float]) -> Tensor:
    """Weighted mean; 0 where all shares are."""
    used = [share * values[kind] for kind, share in shares.items() if share]
    return torch.stack(used).sum() / sum(shares.values()) if used else torch.zeros_like(next(iter(values.values())))


def _output(total: Tensor, parts: Mapping[str, Tensor]) -> PasswordLossOutput:
    return PasswordLossOutput(total, {name: value.detach() for name, value in parts.items()})
