"""Trying passwords: which of all guesses an attacker would take for the right one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from src.eval.anonymization.detection import find_faces
from src.eval.anonymization.interfaces import Faces, random_bits
from src.eval.anonymization.suite import Networks
from src.progress import image_progress

__all__ = ["Guessed", "guess_passwords", "passwords_to_try", "rank_of", "security_metrics", "sharpness"]


_COUNTABLE = 20
"""Bits of which all passwords are at hand as numbers."""


@dataclass(frozen=True)
class Guessed:
    """What an attacker sees who recovers one anonymised face with G passwords, of which the last is the right one.

    Attributes:
        similarity: Float64 [G] cosine to the original, of an attacker who knows it.
        detection: Float32 [G] probability that there is a face; None without a detector.
        sharpness: Float32 [G], see `sharpness`.
        gallery: Float64 [P] highest cosine of any guess to each person of a gallery.
    """

    similarity: Tensor
    detection: Tensor | None
    sharpness: Tensor
    gallery: Tensor


def passwords_to_try(length: int, limit: int, right: Tensor, generator: torch.Generator) -> Tensor:
    """Different passwords to try in random order, the right one last.

    Args:
        length: Bits L of a password.
        limit: How many at most; all are tried where there are no more.
        right: The right one, bool [L].
        generator: Draws them; on the CPU.

    Returns:
        Bool [G, L].
    """
    if length <= _COUNTABLE:
        numbers = torch.randperm(1 << length, generator=generator)[:limit, None]
        guesses = (numbers >> torch.arange(length - 1, -1, -1) & 1).bool()
    else:
        guesses = torch.unique(random_bits(limit, length, generator), dim=0)
    others = guesses[(guesses != right).any(1)]
    return torch.cat([others[: limit - 1], right[None]])


def guess_passwords(
    networks: Networks, face: Faces, anonymised: Tensor, guesses: Tensor, gallery: Tensor, batch_size: int
) -> Guessed:
    """Recover one anonymised face with all of some passwords.

    Args:
        networks: What recovers, and what judges.
        face: The original alone.
        anonymised: [1, 3, S, S].
        guesses: Bool [G, L], passwords to recover with.
        gallery: Embeddings [P, D] of people.
        batch_size: Guesses that go through a network at once.
    """
    original = F.normalize(networks.embed(*face).double())
    people = F.normalize(gallery.double())
    scores, found, sharp = [], [], []
    best = torch.full((len(people),), -1.0, dtype=torch.float64)
    with image_progress() as progress:
        task = progress.add_task("trying passwords", total=len(guesses))
        for bits in guesses.split(batch_size):
            recovered = networks.transform(anonymised.expand(len(bits), -1, -1, -1), bits)
            embedding = F.normalize(networks.embed(recovered, face.landmarks.expand(len(bits), -1, -1)).double())
            scores.append(embedding @ original[0])
            best = torch.maximum(best, (people @ embedding.T).amax(1))
            sharp.append(sharpness(recovered))
            if networks.detector is not None:
                found.append(find_faces(networks.detector, recovered).probability)
            progress.advance(task, len(bits))
    return Guessed(torch.cat(scores), torch.cat(found) if found else None, torch.cat(sharp), best)


def sharpness(images: Tensor) -> Tensor:
    """Variance [N] of the Laplacian of the brightness of images [N, 3, H, W]."""
    kernel = images.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return F.conv2d(images.mean(1, keepdim=True), kernel).var((1, 2, 3))


def rank_of(scores: Tensor, place: int = -1) -> float:
    """Rank of one of some scores [G], 1 for the highest; of equal ones the mean of their ranks."""
    above = int((scores > scores[place]).sum())
    ties = int((scores == scores[place]).sum())
    return above + (ties + 1) / 2


def security_metrics(
    guessed: Sequence[Guessed], people: Sequence[int], length: int, thresholds: Mapping[str, float]
) -> dict[str, float]:
    """What trying passwords gives, on the mean over some faces.

    Args:
        guessed: Of each face.
        people: Place of each face's person in the gallery, -1 where it is not there.
        length: Bits of a password.
        thresholds: See `src.eval.anonymization.recognition.thresholds_of`.

    Returns:
        ``guesses``, how many were tried; the rank of the right one among them: ``brute_rank_known`` by the similarity
        to the original, ``brute_rank_detector`` and ``brute_rank_sharpness`` without the original;
        ``accepted_guesses@threshold``, share of wrong passwords that recover the identity of the original;
        ``effective_key_space@threshold``, guesses for each accepted one, where there is none a lower bound, and its
        logarithm ``effective_key_bits@threshold``; ``gallery_attack_rank1``, share of faces whose person is the best
        match of all guesses and all people of the gallery.
    """
    metrics: dict[str, float] = {}
    for key, threshold in thresholds.items():
        accepted = [one.similarity >= threshold for one in guessed]
        wrong = [float(hits[:-1].double().mean()) for hits in accepted]
        bits = [math.log2(len(hits) / max(1, int(hits.sum()))) for hits in accepted]
        known = not math.isnan(threshold)
        metrics[f"accepted_guesses@{key}"] = sum(wrong) / len(wrong) if known else math.nan
        metrics[f"effective_key_bits@{key}"] = sum(bits) / len(bits) if known else math.nan
        metrics[f"effective_key_space@{key}"] = 2 ** metrics[f"effective_key_bits@{key}"]
    metrics |= {"guesses": float(len(guessed[0].similarity)), "key_bits": float(length)}
    judged = {
        "known": [one.similarity for one in guessed],
        "detector": [one.detection for one in guessed if one.detection is not None],
        "sharpness": [one.sharpness for one in guessed],
    }
    for name, scores in judged.items():
        if scores:
            metrics[f"brute_rank_{name}"] = sum(map(rank_of, scores)) / len(scores)
    found = [rank_of(one.gallery, place) <= 1 for one, place in zip(guessed, people, strict=True) if place >= 0]
    metrics["gallery_attack_rank1"] = sum(found) / len(found) if found else math.nan
    return metrics
