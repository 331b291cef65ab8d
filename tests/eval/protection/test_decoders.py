from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from support_protection import coded_faces, projection

from src.eval.protection.decoders import gradient_decode, linear_decode, records_decode
from src.ops.hashing import RankHash

D = 512
TRUTH = torch.randn(30, D, generator=torch.Generator().manual_seed(0))


def cosine(guess: torch.Tensor, truth: torch.Tensor = TRUTH) -> float:
    return float(F.cosine_similarity(guess, truth).mean())


def equal(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a == b).float().mean())


@pytest.mark.parametrize(
    ("m", "alike", "same_key", "fresh_key"),
    [
        (512, 0.837, 0.83, 0.59),
        (256, 0.735, 0.865, 0.48),
        (128, 0.606, 0.92, 0.39),
        (64, 0.476, 0.97, 0.31),
        (32, 0.358, 0.997, 0.255),
    ],
)
def test_linear_decoder(m: int, alike: float, same_key: float, fresh_key: float) -> None:
    """Section 8.4 of the specification: normally distributed weights, d = 512, q = 8."""
    rank_hash, fresh = projection(m, 8, D), projection(512, 8, D, seed=1)
    codes = rank_hash.codes(TRUTH)
    guess = linear_decode(codes, rank_hash)
    assert guess.norm(dim=1).numpy() == pytest.approx(1)
    assert cosine(guess) == pytest.approx(alike, abs=0.015)
    assert equal(rank_hash.codes(guess), codes) == pytest.approx(same_key, abs=0.015)
    assert equal(fresh.codes(guess), fresh.codes(TRUTH)) == pytest.approx(fresh_key, abs=0.02)


def test_gradients_rebuild_more() -> None:
    rank_hash = projection(512, 8, D)
    codes = rank_hash.codes(TRUTH)
    guess = gradient_decode(codes, rank_hash, 22.6)
    assert guess.norm(dim=1).numpy() == pytest.approx(1)
    assert cosine(guess) > cosine(linear_decode(codes, rank_hash)) + 0.05
    assert equal(rank_hash.codes(guess), codes) > 0.99


def test_scale_of_the_weights_and_of_embeddings_does_not_matter() -> None:
    rank_hash = projection(64, 8, D)
    codes = rank_hash.codes(TRUTH)
    plain = gradient_decode(codes, rank_hash, 1.0)
    scaled = RankHash(rank_hash.weight * 1e-3, rank_hash.bias, 8)
    assert cosine(gradient_decode(codes, scaled, 300.0), plain) > 0.999


def test_biases_are_known_to_the_attacker() -> None:
    plain = projection(256, 8, D)
    rank_hash = RankHash(plain.weight, 20 * torch.randn(2048, generator=torch.Generator().manual_seed(2)), 8)
    codes = rank_hash.codes(TRUTH)
    informed = gradient_decode(codes, rank_hash, float(TRUTH.norm(dim=1).median()))
    assert cosine(informed) > cosine(gradient_decode(codes, plain, 22.6)) + 0.1


def test_works_in_a_validation_epoch() -> None:
    with torch.inference_mode():
        rank_hash = projection(64, 8, D)
        inside = gradient_decode(rank_hash.codes(TRUTH), rank_hash, 22.6)
    with torch.no_grad():
        rank_hash = projection(64, 8, D)
        assert torch.equal(gradient_decode(rank_hash.codes(TRUTH), rank_hash, 22.6), inside)


def test_several_records_tell_more() -> None:
    """Section 8.5 of the specification."""
    faces = coded_faces(people=30, images=2, m=512, d=512)
    found = records_decode(faces, torch.arange(50), (1, 2, 4, 8), 0)
    cosines = [cosine(guess, faces.embeddings[:50]) for guess in found.values()]
    assert list(found) == [1, 2, 4, 8]
    assert cosines == pytest.approx([0.835, 0.908, 0.950, 0.974], abs=0.01)
    assert torch.equal(records_decode(faces, torch.arange(50), [2], 0)[2], found[2])
