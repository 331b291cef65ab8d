"""The losses of the password transformer: one whole iteration against golden values, and every weight."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from support_password import GOLDEN, bits, filled, filled_recogniser, image
from torch import Tensor, nn

from src.errors import UserError
from src.losses.password import (
    GanWeights,
    IdentityWeights,
    PasswordLoss,
    PasswordLossOutput,
    PasswordWeights,
    feature_loss,
    gan_loss,
    password_accuracy,
    password_loss,
)
from src.models.networks.password_transformer import (
    AlignedRecogniser,
    Discriminators,
    PasswordPredictor,
    PasswordTransformer,
)
from src.models.networks.password_transformer.discriminators import KINDS
from src.models.networks.password_transformer.passes import TransformedFaces, transform
from src.models.networks.password_transformer.password import groups_of
from src.models.networks.password_transformer.sampling import DrawnPasswords

LABEL = torch.tensor([5, 7])
DRAWN = DrawnPasswords(bits(0xBEEF, 0x1234), bits(0x0F0F, 0xAAAA), bits(0x00FF, 0x7777), bits(0x3C3C, 0x9001))


class Networks:
    """All networks at a size that is quick, and the two steps of an iteration."""

    def __init__(self) -> None:
        self.transformer = filled(PasswordTransformer(channels=16)).float()
        self.discriminators = filled(Discriminators(channels=16)).float()
        self.predictor = filled(PasswordPredictor(channels=16)).float()
        backbone, head = filled_recogniser()
        self.recogniser, self.head = AlignedRecogniser(backbone, "normalized").float(), head.float()
        self.loss = PasswordLoss()
        self.images = image(2, 3, 128, 128).float()
        points = torch.tensor([case["landmarks"] for case in GOLDEN["alignment"][:2]]) * 128 / 250
        self.grid = self.recogniser.alignment.grid(points, (128, 128))

    def requires_gradient(self, required: bool) -> None:
        for network in (self.discriminators, self.recogniser, self.head):
            network.requires_grad_(required)

    def identify(self, images: Tensor) -> tuple[Tensor, Tensor]:
        embedding, feature = self.recogniser(images, self.grid)
        return self.head(embedding, LABEL).loss, feature

    def discriminator_step(self, made: TransformedFaces) -> PasswordLossOutput:
        given = made.detach()
        generated = dict(zip(KINDS, (given.anonymised, given.recovered, given.wrong), strict=True))
        identity = {kind: self.identify(generated[kind])[0] for kind in ("M", "R", "WR")}
        real_identity, _ = self.identify(self.images)
        judged = {kind: self.discriminators(images, kind) for kind, images in generated.items()}
        real = {kind: self.discriminators(self.images, kind) for kind in KINDS}
        return self.loss.discriminator(identity, real_identity, judged, real)

    def generator_step(self, made: TransformedFaces) -> PasswordLossOutput:
        generated = dict(zip(KINDS, (made.anonymised, made.recovered, made.wrong), strict=True))
        identified = {kind: self.identify(generated[kind]) for kind in ("M", "R", "WR")}
        features = {kind: feature for kind, (_, feature) in identified.items()}
        features |= {"M2": self.feature(made.second_anonymised), "WR2": self.feature(made.second_wrong)}
        pairs = [
            (self.images, made.anonymised, DRAWN.first),
            (made.anonymised, made.recovered, DRAWN.recovery),
            (made.anonymised, made.wrong, DRAWN.wrong),
        ]
        return self.loss.generator(
            faces={"I": self.images, **generated},
            identity={kind: loss for kind, (loss, _) in identified.items()},
            features=features,
            generated={kind: self.discriminators(images, kind) for kind, images in generated.items()},
            passwords=[(self.predictor(before, after), groups_of(used)) for before, after, used in pairs],
        )

    def feature(self, images: Tensor) -> Tensor:
        return self.recogniser(images, self.grid)[1]


def gradient_norm(*networks: nn.Module) -> float:
    parameters = [parameter for network in networks for parameter in network.parameters()]
    return float(torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm())


def test_golden_iteration() -> None:
    """Every logged scalar of an iteration whose first step has a learning rate of 0, and all gradients."""
    networks, golden = Networks(), GOLDEN["full_iteration"]
    made = transform(networks.transformer, networks.images, DRAWN)
    output = networks.discriminator_step(made)
    output.total.backward()
    assert all(p.grad is None for p in [*networks.transformer.parameters(), *networks.predictor.parameters()])
    networks.requires_gradient(False)
    parts = output.parts
    output = networks.generator_step(made)
    output.total.backward()
    found = {name: float(value) for name, value in (parts | output.parts).items()}
    assert found == pytest.approx(golden["losses"], rel=1e-3, abs=1e-5)
    learners = {"G": [networks.transformer], "Q": [networks.predictor], "D": [networks.discriminators]}
    learners["FR"] = [networks.recogniser, networks.head]
    assert {name: gradient_norm(*learner) for name, learner in learners.items()} == pytest.approx(
        golden["grad_norm"], rel=2e-3
    )
    assert networks.head.iteration == 7
    assert judged_after_a_step(networks, made) == pytest.approx(2.31664, rel=1e-5)


def judged_after_a_step(networks: Networks, made: TransformedFaces) -> float:
    """``G_GAN`` by discriminators that have learnt by the gradients they have."""
    learners: list[dict[str, Any]] = [{"params": networks.discriminators.parameters()}]
    learners.append({"params": [*networks.recogniser.parameters(), *networks.head.parameters()], "lr": 1e-5})
    torch.optim.Adam(learners, lr=1e-4, betas=(0.5, 0.999)).step()
    with torch.no_grad():
        faces = zip(KINDS, (made.anonymised, made.recovered, made.wrong), strict=True)
        return sum(float(gan_loss(networks.discriminators(images, kind), True)) for kind, images in faces) / 3


def test_golden_gan_loss() -> None:
    maps = filled(Discriminators()).requires_grad_(False)(image(2, 3, 64, 64), "M")
    assert float(gan_loss(maps, True)) == pytest.approx(GOLDEN["LSGAN_M"]["real"], abs=1e-8)
    assert float(gan_loss(maps, False)) == pytest.approx(GOLDEN["LSGAN_M"]["fake"], abs=1e-8)


def test_gan_loss_is_the_sum_over_scales() -> None:
    maps = [torch.full((2, 1, 3, 3), 0.5), torch.full((2, 1, 1, 1), -1.0)]
    assert float(gan_loss(maps, True)) == pytest.approx(0.25 + 4)
    assert float(gan_loss(maps, False, "vanilla")) == pytest.approx(0.974077 + 0.313262, abs=1e-5)


def test_feature_loss() -> None:
    one, other = torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([[1.0, 1.0], [-1.0, 0.0]])
    assert float(feature_loss(one, other)) == pytest.approx(0.5**0.5 / 2)
    assert float(feature_loss(one, other, "l2")) == pytest.approx(-(1 + 16) / 4)


def test_password_loss_is_the_sum_over_groups() -> None:
    groups = groups_of(bits(0xBEEF, 0x1234))
    assert float(password_loss(torch.zeros(2, 4, 16), groups)) == pytest.approx(4 * 2.7725887)
    told = torch.nn.functional.one_hot(groups, 16).float() * 9
    assert float(password_accuracy(told, groups)) == 1
    told[0, 0] = 0
    assert float(password_accuracy(told, groups)) == pytest.approx(7 / 8)


def scalars(seed: int) -> dict[str, Any]:
    """What the losses take, drawn at random."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "faces": {name: draw(2, 3, 4, 4) for name in ("I", *KINDS)},
        "identity": {kind: draw().abs() + 1 for kind in KINDS},
        "features": {name: draw(2, 8).abs() for name in ("M", "M2", "WR", "WR2", "I", "R")},
        "generated": {kind: [draw(2, 1, 3, 3), draw(2, 1, 1, 1)] for kind in KINDS},
        "passwords": [(draw(2, 4, 16), torch.randint(16, (2, 4), generator=generator)) for _ in range(3)],
    }


TERMS = {"aux": "dis", "feat_a": "G_feat", "feat_wr": "G_WR_feat", "feat_a_wr": "G_feat_M_WR"}
TERMS |= {"feat_orig": "G_feat_orig", "feat_rec": "G_feat_rec", "l1_a": "L1_M", "l1_wr": "L1_WR", "rec": "recon"}


@pytest.mark.parametrize("name", TERMS)
def test_a_weight_of_0_removes_its_term_and_nothing_else(name: str) -> None:
    weights = PasswordWeights(feat_orig=3.0, feat_rec=2.0)
    whole = PasswordLoss(weights).generator(**scalars(0))
    without = PasswordLoss(replace(weights, **{name: 0.0})).generator(**scalars(0))
    expected = whole.total - getattr(weights, name) * whole.parts[TERMS[name]]
    torch.testing.assert_close(without.total, expected, rtol=1e-5, atol=1e-4)


def test_a_total_of_0_removes_realism_or_identity() -> None:
    whole = PasswordLoss().generator(**scalars(0))
    no_gan = PasswordLoss(PasswordWeights(gan=GanWeights(total=0.0))).generator(**scalars(0))
    no_fr = PasswordLoss(PasswordWeights(fr=IdentityWeights(total=0.0))).generator(**scalars(0))
    torch.testing.assert_close(no_gan.total, whole.total - whole.parts["G_GAN"], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(no_fr.total, whole.total - 2 * whole.parts["G_FR"], rtol=1e-5, atol=1e-4)


def test_shares_are_divided_by_their_sum() -> None:
    given = scalars(1)
    loss = PasswordLoss(PasswordWeights(gan=GanWeights(m=2.0, r=0.0, wr=1.0), fr=IdentityWeights(m=3.0, wr=0.5)))
    parts = loss.generator(**given).parts
    torch.testing.assert_close(parts["G_GAN"], (2 * parts["G_GAN_M"] + parts["G_GAN_WR"]) / 3)
    expected = (-3 * given["identity"]["M"] + given["identity"]["R"] - 0.5 * given["identity"]["WR"]) / 4.5
    torch.testing.assert_close(parts["G_FR"], expected)
    real = loss.discriminator(given["identity"], torch.tensor(2.0), given["generated"], given["generated"])
    torch.testing.assert_close(real.parts["D_FR_fake"], -expected)
    halves = 2 * (2.0 - expected) / 2 + (real.parts["D_GAN_real"] + real.parts["D_GAN_fake"]) / 2
    torch.testing.assert_close(real.total, halves)


def test_no_share_of_realism_at_all() -> None:
    loss = PasswordLoss(PasswordWeights(gan=GanWeights(m=0.0, r=0.0, wr=0.0)))
    assert loss.generator(**scalars(0)).parts["G_GAN"] == 0


def test_what_has_no_weight_need_not_be_given() -> None:
    given = scalars(0) | {"features": {}, "passwords": []}
    weights = PasswordWeights(aux=0.0, feat_a=0.0, feat_wr=0.0, feat_a_wr=0.0)
    assert "dis" not in PasswordLoss(weights).generator(**given).parts


def test_identity_losses_that_grow_can_be_limited() -> None:
    given = scalars(0)
    given["identity"] = {kind: torch.tensor(30.0, requires_grad=True) for kind in KINDS}
    output = PasswordLoss(fr_clip=14.0).generator(**given)
    output.total.backward()
    assert float(output.parts["G_FR_M"]) == -14
    assert given["identity"]["M"].grad == 0
    assert given["identity"]["R"].grad > 0


def test_arguments_are_checked() -> None:
    with pytest.raises(UserError, match=r"loss\.gan_mode: expected lsgan or vanilla, found 'wgangp'"):
        PasswordLoss(gan_mode="wgangp")
    with pytest.raises(UserError, match=r"loss\.feature: expected cos or l2"):
        PasswordLoss(feature="l1")
    with pytest.raises(UserError, match=r"loss\.weights: expected shares of 0 or more"):
        PasswordLoss(PasswordWeights(fr=IdentityWeights(m=-1.0)))
