"""The five passes of an iteration."""

from __future__ import annotations

import torch
from support_password import image
from torch import Tensor

from src.models.networks.password_transformer import PasswordTransformer
from src.models.networks.password_transformer.passes import transform
from src.models.networks.password_transformer.sampling import draw_passwords


def test_what_is_made_of_what() -> None:
    def shifted(images: Tensor, bits: Tensor) -> Tensor:
        return images * 0.5 + bits.double().sum(dim=1)[:, None, None, None]

    images = image(3, 3, 4, 4).requires_grad_()
    drawn = draw_passwords(3, 16, generator=torch.Generator().manual_seed(0))
    made = transform(shifted, images, drawn)
    assert torch.equal(made.anonymised, shifted(images, drawn.first))
    assert torch.equal(made.second_anonymised, shifted(images, drawn.second))
    assert torch.equal(made.recovered, shifted(made.anonymised, ~drawn.first))
    assert torch.equal(made.wrong, shifted(made.anonymised, drawn.wrong))
    assert torch.equal(made.second_wrong, shifted(made.anonymised, drawn.second_wrong))
    for found, expected in zip(made, (0.5, 0.5, 0.25, 0.25, 0.25), strict=True):
        (gradient,) = torch.autograd.grad(found.sum(), images, retain_graph=True)
        assert torch.equal(gradient, torch.full_like(gradient, expected))
    assert not any(faces.requires_grad for faces in made.detach())


def test_two_passes_make_what_five_do_where_images_do_not_mix() -> None:
    torch.manual_seed(0)
    network = PasswordTransformer(channels=8, blocks=1, conditioning="film", norm="group").double()
    assert not network.mixes_images
    assert PasswordTransformer(channels=8, blocks=1).mixes_images
    images, drawn = image(3, 3, 16, 16), draw_passwords(3, 16, generator=torch.Generator().manual_seed(0))
    for found, expected in zip(
        transform(network, images, drawn, separate=False), transform(network, images, drawn), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_stored_faces_differ_by_noise() -> None:
    drawn = draw_passwords(2, 16, generator=torch.Generator().manual_seed(0))
    images = image(2, 3, 4, 4)
    made = transform(lambda faces, bits: faces, images, drawn, noise=0.5)
    assert torch.equal(made.anonymised, images)
    difference = made.recovered - images
    assert 0.4 < difference.abs().max() <= 0.5
    assert difference.min() < -0.1
    assert torch.equal(made.wrong, made.recovered)
