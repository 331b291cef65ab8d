"""What attacks say of transforms whose worth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support_anonymization import LENGTH, face_pairs, identity_transform, networks, noise, shift_stripes
from torch import nn

from src.eval.anonymization.brute_force import guess_passwords, passwords_to_try, rank_of, security_metrics, sharpness
from src.eval.anonymization.cost import count_flop
from src.eval.anonymization.flips import flip_bits
from src.eval.anonymization.interfaces import random_bits
from src.eval.anonymization.pairs import FacePairs
from src.eval.anonymization.probes import bit_accuracy, identity_probe
from src.eval.anonymization.quality import reconstruction
from src.eval.anonymization.recognition import similarity
from src.eval.anonymization.security import Effort, attack
from src.eval.anonymization.suite import measure


@pytest.fixture(scope="module")
def pairs() -> FacePairs:
    return face_pairs()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_no_flipped_bit_is_recovery(pairs: FacePairs) -> None:
    judged = networks(shift_stripes)
    faces = pairs.load(pairs.changed)
    bits = random_bits(len(faces.images), LENGTH, generator())
    anonymised = shift_stripes(faces.images, bits)
    flipped = flip_bits(judged, faces, anonymised, bits, generator())
    recovered = shift_stripes(anonymised, ~bits)
    expected = similarity(judged.embed(*faces), judged.embed(recovered, faces.landmarks))
    torch.testing.assert_close(flipped.similarity[0], expected)
    torch.testing.assert_close(flipped.l1[0], reconstruction(faces.images, recovered)["l1"])
    assert flipped.similarity.shape == (LENGTH + 1, len(faces.images))
    torch.testing.assert_close(  # all bits wrong: the password that anonymised
        flipped.similarity[LENGTH],
        similarity(judged.embed(*faces), judged.embed(shift_stripes(anonymised, bits), faces.landmarks)),
    )
    l1 = flipped.l1.mean(1)
    assert (l1.diff() > 0).all()
    # Every bit moves one stripe of eight.
    assert float(flipped.single.mean()) == pytest.approx(float(flipped.similarity[1].mean()), abs=0.05)


def test_metrics_of_flipped_bits(pairs: FacePairs) -> None:
    faces = pairs.load(pairs.changed[:3])
    bits = random_bits(3, LENGTH, generator())
    flipped = flip_bits(networks(), faces, faces.images, bits, generator())
    metrics = flipped.metrics({"1e-3": math.nan, "accuracy": 0.9})
    assert [name for name in metrics if name.startswith("bitflip_l1")] == [f"bitflip_l1@{k}" for k in (0, 1, 2, 4, 8)]
    assert metrics["bitflip_success@8"] == metrics["worst_bit_success@accuracy"] == 1


def test_brute_force_by_enumeration(pairs: FacePairs) -> None:
    face = pairs.load(pairs.changed[:1])
    judged = networks(shift_stripes)
    bits = random_bits(1, LENGTH, generator())
    guesses = passwords_to_try(LENGTH, 256, ~bits[0], generator())
    assert len(torch.unique(guesses, dim=0)) == 256
    assert (guesses[-1] == ~bits[0]).all()
    anonymised = shift_stripes(face.images, bits)
    gallery = judged.embed(*pairs.load(pairs.gallery))
    guessed = guess_passwords(judged, face, anonymised, guesses, gallery, 100)
    one_by_one = torch.stack(
        [
            similarity(judged.embed(*face), judged.embed(shift_stripes(anonymised, guess[None]), face.landmarks))
            for guess in guesses
        ]
    )[:, 0]
    torch.testing.assert_close(guessed.similarity, one_by_one)
    assert rank_of(guessed.similarity) == 1
    person = list(pairs.identity[pairs.gallery]).index(pairs.identity[pairs.changed[0]])
    metrics = security_metrics([guessed], [person], LENGTH, {"1e-3": math.nan, "accuracy": 0.999})
    assert (metrics["guesses"], metrics["brute_rank_known"], metrics["key_bits"]) == (256, 1, 8)
    assert (metrics["accepted_guesses@accuracy"], metrics["effective_key_bits@accuracy"]) == (0, 8)
    assert metrics["effective_key_space@accuracy"] == 256
    assert math.isnan(metrics["effective_key_space@1e-3"])
    assert metrics["gallery_attack_rank1"] == 1
    assert "brute_rank_detector" not in metrics


def test_passwords_that_do_not_matter(pairs: FacePairs) -> None:
    face = pairs.load(pairs.changed[:1])
    judged = networks(identity_transform)
    guesses = passwords_to_try(LENGTH, 256, torch.zeros(LENGTH, dtype=torch.bool), generator())
    guessed = guess_passwords(judged, face, face.images, guesses, judged.embed(*face), 64)
    metrics = security_metrics([guessed], [-1], LENGTH, {"accuracy": 0.9})
    assert metrics["brute_rank_sharpness"] == pytest.approx(128.5)
    assert metrics["accepted_guesses@accuracy"] == 1
    assert metrics["effective_key_space@accuracy"] == 1
    assert math.isnan(metrics["gallery_attack_rank1"])


@pytest.mark.parametrize("length", [8, 24, 28, 128])
def test_passwords_to_try_are_different(length: int) -> None:
    right = torch.arange(length) % 2 == 0
    guesses = passwords_to_try(length, 100, right, generator())
    assert len(guesses) == len(torch.unique(guesses, dim=0)) == 100
    assert (guesses == right).all(1).nonzero().flatten().tolist() == [99]


def test_rank_of_equal_scores_is_their_mean() -> None:
    assert rank_of(torch.tensor([0.1, 0.9, 0.5, 0.5])) == 2.5
    assert rank_of(torch.ones(9)) == 5


def test_sharpness_of_blurred_images() -> None:
    image = torch.rand(1, 3, 16, 16, generator=generator())
    blurred = nn.functional.avg_pool2d(image, 3, 1, 1)
    assert sharpness(blurred) < sharpness(image) / 4


def test_floating_point_operations() -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 5, 3, padding=1)

        def forward(self, images: torch.Tensor, password: torch.Tensor) -> torch.Tensor:
            return self.convolution(images)

    assert count_flop(Layer(), 16, 8, torch.device("cpu")) == 2 * 16 * 16 * 3 * 5 * 9


def test_linear_probe_of_bits() -> None:
    random = np.random.default_rng(0)
    bits = random.random((400, 4)) < 0.5
    told = np.where(bits, 1.0, -1.0) @ random.standard_normal((4, 10)) + 0.1 * random.standard_normal((400, 10))
    assert bit_accuracy(told, bits) > 0.95
    assert bit_accuracy(random.standard_normal((400, 10)), bits) == pytest.approx(0.5, abs=0.06)


def test_an_attacker_who_trains_on_anonymised_faces_sees_more() -> None:
    """Faces are turned by a rotation, the same for all: hidden from who does not know it."""
    random = torch.Generator().manual_seed(0)
    people = torch.randn(12, 1, 16, generator=random)
    clean = (people + 0.3 * torch.randn(12, 5, 16, generator=random)).flatten(0, 1)
    turned = clean @ torch.linalg.qr(torch.randn(16, 16, generator=random)).Q
    anonymised = turned[:, None] + 0.1 * torch.randn(60, 3, 16, generator=random)
    found = identity_probe(clean, anonymised, np.repeat(np.arange(12), 5))
    assert found["adaptive_rank1"] > 0.9
    assert found["naive_rank1"] < 0.4
    assert found["adaptive_chance"] == pytest.approx(1 / 12)
    alone = identity_probe(clean[:3], anonymised[:3], np.arange(3))
    assert all(math.isnan(value) for value in alone.values())


@pytest.mark.parametrize("transform", [identity_transform, noise, shift_stripes])
def test_all_attacks_together(pairs: FacePairs, transform: object) -> None:
    judged = networks(transform)
    found = measure(judged, pairs, generator=generator(), batch_size=8, passwords=2, diversity_faces=1)
    effort = Effort(flip_faces=3, guess_faces=2, guesses=16, probe_images=24)
    metrics = attack(judged, pairs, found, effort, generator=generator(), batch_size=8).metrics
    again = attack(judged, pairs, found, effort, generator=generator(), batch_size=8).metrics
    assert metrics == pytest.approx(again, nan_ok=True)
    if transform is identity_transform:
        assert metrics["adaptive_rank1"] == metrics["naive_rank1"] == 1
        assert metrics["leak_bits_pair"] == pytest.approx(0.5, abs=0.25)
