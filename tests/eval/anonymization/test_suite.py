"""What the metrics say of transforms whose worth is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from support_anonymization import LENGTH, embed, face_pairs, identity_transform, networks, noise, shift_stripes
from torch import Tensor

from src.eval.anonymization.interfaces import random_bits, wrong_bits
from src.eval.anonymization.pairs import FacePairs
from src.eval.anonymization.recognition import diversity
from src.eval.anonymization.suite import Measured, Networks, measure
from src.models.networks.password_transformer.password import groups_of


@pytest.fixture(scope="module")
def pairs() -> FacePairs:
    return face_pairs()


def measured(judged: Networks, pairs: FacePairs, batch_size: int = 7) -> Measured:
    generator = torch.Generator().manual_seed(0)
    return measure(judged, pairs, generator=generator, batch_size=batch_size, passwords=4, diversity_faces=3)


@dataclass
class _Face:
    probability: float
    landmarks: Tensor


def find_bright(images: Tensor) -> list[list[_Face]]:
    """A face wherever the first pixel is not black, at a place that its brightness tells."""
    return [[_Face(0.9, torch.ones(5, 2).cumsum(0) + image[0, 0, 0])] if image[0, 0, 0] else [] for image in images]


def test_faces_that_stay_as_they_are(pairs: FacePairs) -> None:
    metrics = measured(networks(), pairs).metrics
    assert metrics["anon_success@accuracy"] == metrics["wrong_success@accuracy"] == 0
    assert metrics["rec_success@accuracy"] == 1
    assert metrics["compress_png8_rec_success@accuracy"] == 1
    assert (metrics["rec_l1"], metrics["rec_psnr"]) == (0, 100)
    assert metrics["rec_ssim"] == pytest.approx(1)
    assert metrics["bg_l1"] == 0
    assert metrics["diversity_anon"] == pytest.approx(0, abs=1e-9)
    assert metrics["reid_anon_rank1"] == metrics["reid_rec_rank1"] == 1
    for name in ("accuracy", "auc", "tar@1e-3"):
        clean = metrics[f"verif_orig_{name}"]
        assert [metrics[f"verif_{kind}_{name}"] for kind in ("anon", "rec", "wrong")] == pytest.approx(
            [clean] * 3, nan_ok=True
        )
    assert metrics["fid_like_anon@pixels"] == pytest.approx(0, abs=1e-6)
    assert all(math.isfinite(value) or math.isnan(value) for value in metrics.values())


def test_faces_that_become_noise(pairs: FacePairs) -> None:
    metrics = measured(networks(noise), pairs).metrics
    assert metrics["anon_success@accuracy"] == 1
    assert metrics["rec_success@accuracy"] == 0
    assert metrics["reid_anon_rank1"] < 0.5
    assert metrics["verif_anon_accuracy"] == pytest.approx(0.5, abs=0.2)
    assert metrics["rec_psnr"] < 15


def test_faces_that_the_right_password_alone_recovers(pairs: FacePairs) -> None:
    found = measured(networks(shift_stripes), pairs)
    metrics = found.metrics
    assert metrics["rec_success@accuracy"] == 1
    assert metrics["anon_success@accuracy"] > 0.9
    assert metrics["rec_l1"] < 1e-6
    assert metrics["diversity_anon"] > 0.1
    assert metrics["compress_jpeg75_rec_l1"] > metrics["compress_jpeg95_rec_l1"] > metrics["compress_png8_rec_l1"] > 0
    assert metrics["wrong_success@accuracy"] == pytest.approx(
        float((found.similarities["wrong"] < found.thresholds["accuracy"]).double().mean())
    )


def test_few_pairs_know_no_false_match_rate(pairs: FacePairs) -> None:
    found = measured(networks(), pairs)
    assert math.isnan(found.thresholds["1e-3"])
    assert math.isnan(found.metrics["anon_success@1e-3"])


def test_batches_do_not_matter(pairs: FacePairs) -> None:
    def judged(size: int) -> dict[str, float]:
        metrics = measured(networks(identity_transform, trained_with=embed), pairs, size).metrics
        return {name: value for name, value in metrics.items() if not math.isnan(value)}

    assert judged(5) == pytest.approx(judged(100), abs=1e-6)


def test_detection(pairs: FacePairs) -> None:
    black = torch.full((), -1.0)

    def darken(images: Tensor, password: Tensor) -> Tensor:
        darkened = images.clone()
        darkened[::2] = black
        return darkened

    metrics = measured(networks(darken, detector=find_bright), pairs, batch_size=4).metrics
    assert metrics["detect_rate_anon"] == pytest.approx(0.5, abs=0.05)
    assert metrics["lmk_dist"] == 0  # of those that are found on both
    assert "detect_rate_anon" not in measured(networks(), pairs).metrics


def test_predictor(pairs: FacePairs) -> None:
    seen: list[Tensor] = []

    def remember(images: Tensor, password: Tensor) -> Tensor:
        seen.append(password)
        return images

    class Reader:
        """Tells each password of a batch rightly: that of the call before. But one of them has a wrong bit."""

        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, before: Tensor, after: Tensor) -> Tensor:
            # Passes: anonymised, recovered, wrong and three stored ones.
            password = seen[-6 + self.calls % 3].clone()
            self.calls += 1
            password[0, 0] ^= True
            return torch.nn.functional.one_hot(groups_of(password), 16).float()

    metrics = measured(replace(networks(remember), predict=Reader()), pairs, batch_size=1).metrics
    assert metrics["q_acc"] == 0.5
    assert metrics["q_bit_acc"] == pytest.approx(1 - 1 / LENGTH)


def test_diversity_is_the_mean_over_pairs() -> None:
    embeddings = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    unit = torch.nn.functional.normalize(embeddings, dim=-1)
    expected = [1 - (unit[i] * unit[j]).sum(-1) for i in range(5) for j in range(i)]
    assert diversity(embeddings) == pytest.approx(float(torch.stack(expected).mean()))


def test_wrong_passwords_are_wrong() -> None:
    generator = torch.Generator().manual_seed(0)
    password = random_bits(20_000, 4, generator)
    wrong = wrong_bits(password, generator)
    assert not (wrong == ~password).all(1).any()
    assert wrong.double().mean() == pytest.approx(0.5, abs=0.01)


def test_people_are_who_pairs_say(pairs: FacePairs) -> None:
    assert len(pairs.gallery) == 6
    assert len(set(pairs.identity[pairs.gallery])) == 6
    first, second = pairs.identity[pairs.first], pairs.identity[pairs.second]
    assert ((first == second) == pairs.same).all()


def test_limited_pairs() -> None:
    few = face_pairs(limit=2)
    assert len(few.same) == 2 * 2 * 2
    assert few.same.sum() == 4
