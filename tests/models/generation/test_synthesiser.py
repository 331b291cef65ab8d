"""Images that depend on their numbers only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support_arcbifacegan import TINY, filled

from src.errors import UserError
from src.models.generation.selection import Shot
from src.models.generation.synthesiser import GeneratorSynthesiser, identity_vectors, latent_draws, to_pixels
from src.models.networks.stylegan2 import Generator

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def generator() -> Generator:
    return filled(Generator(z_dim=32, w_dim=32, c_dim=16, mapping_layers=2, **TINY)).eval()


def _make(synthesiser: GeneratorSynthesiser, shots: list[Shot]) -> torch.Tensor:
    z, noise = latent_draws(3, shots, synthesiser.z_dim, synthesiser.noise_dim)
    c = identity_vectors(3, [shot.person for shot in shots], synthesiser.c_dim, 4)
    return torch.cat(synthesiser(z, c, 0.7, noise), dim=1)


def test_an_image_does_not_depend_on_its_batch(generator: Generator) -> None:
    synthesiser = GeneratorSynthesiser(generator, CPU)
    shots = [Shot(person, attempt) for person in (0, 5) for attempt in (1, 2, 9)]
    together = _make(synthesiser, shots)
    alone = torch.cat([_make(synthesiser, [shot]) for shot in shots])
    backwards = _make(synthesiser, shots[::-1]).flip(0)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)
    torch.testing.assert_close(together, backwards, rtol=0, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.1


def test_noise_is_that_of_the_network(generator: Generator) -> None:
    synthesiser = GeneratorSynthesiser(generator, CPU)
    buffers = [buffer for name, buffer in generator.named_buffers() if name.endswith("noise_const")]
    noise = torch.cat([buffer.flatten() for buffer in buffers])[None]
    assert synthesiser.noise_dim == 16 + 2 * (64 + 256 + 1024)
    z, _ = latent_draws(0, [Shot(0, 1)], 32, 0)
    c = identity_vectors(0, [0], 16, 4)
    expected = generator(z, c, truncation_psi=0.5, noise_mode="const")
    for found, image in zip(synthesiser(z, c, 0.5, noise), expected, strict=True):
        torch.testing.assert_close(found, image, rtol=0, atol=1e-5)
    other = synthesiser(z, c, 0.5, -noise)[0]
    assert (other - expected[0]).abs().max() > 1e-3
    assert torch.equal(torch.cat([buffer.flatten() for buffer in buffers])[None], noise)


def test_identity_vectors_are_directions() -> None:
    vectors = identity_vectors(0, range(200), 64, 4)
    torch.testing.assert_close(vectors.norm(dim=1), torch.full((200,), 4.0))
    assert vectors.mean(0).norm() < 0.5
    assert torch.equal(vectors[7:9], identity_vectors(0, [7, 8], 64, 4))
    assert not torch.equal(vectors[:1], identity_vectors(1, [0], 64, 4))


def test_pixels() -> None:
    visible = torch.tensor([-2.0, -1, 0, 1]).view(1, 1, 1, 4).expand(1, 3, 4, 4)
    pixels = to_pixels(visible, -visible[:, :1])
    assert pixels.dtype == torch.uint8
    assert pixels[0, :, 0].tolist() == [[0, 0, 128, 255]] * 3 + [[255, 255, 128, 0]]
    assert np.unique(pixels[0, 0].numpy()).size == 3


def test_a_generator_without_conditions() -> None:
    with pytest.raises(UserError, match="takes no identity features"):
        GeneratorSynthesiser(Generator(z_dim=32, w_dim=32, mapping_layers=2, **TINY), CPU)
