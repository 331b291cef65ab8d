"""How safe passwords are: bits that matter, guesses, and what attackers learn from examples of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from src.eval.anonymization.brute_force import guess_passwords, passwords_to_try, security_metrics
from src.eval.anonymization.flips import FlippedBits, flip_bits
from src.eval.anonymization.interfaces import Faces, random_bits
from src.eval.anonymization.pairs import FacePairs
from src.eval.anonymization.probes import leakage
from src.eval.anonymization.suite import Measured, Networks, spread

__all__ = ["Effort", "Security", "attack"]


@dataclass(frozen=True)
class Effort:
    """How much is tried.

    Attributes:
        flip_faces: Faces that are recovered with nearly right passwords.
        guess_faces: Faces whose passwords are guessed.
        guesses: Passwords that are tried for each of them; all where there are no more.
        probe_images: Images that probes learn from or are tried on.
    """

    flip_faces: int = 32
    guess_faces: int = 2
    guesses: int = 1024
    probe_images: int = 1000


@dataclass(frozen=True)
class Security:
    """What `attack` found.

    Attributes:
        metrics: By name.
        flipped: Recovery with nearly right passwords.
    """

    metrics: dict[str, float]
    flipped: FlippedBits


def attack(
    networks: Networks,
    pairs: FacePairs,
    measured: Measured,
    effort: Effort,
    *,
    generator: torch.Generator,
    batch_size: int,
) -> Security:
    """Attack passwords and anonymised faces.

    Args:
        networks: What is attacked, and what judges.
        pairs: The faces.
        measured: Thresholds, and embeddings of all originals.
        effort: How much is tried.
        generator: For all that is random; on the CPU.
        batch_size: Faces that go through a network at once.
    """
    flipped = _flip(networks, pairs.load(spread(pairs.changed, effort.flip_faces)), generator)
    return Security(
        {
            **_guess(networks, pairs, measured.originals, measured.thresholds, effort, generator, batch_size),
            **flipped.metrics(measured.thresholds),
            **leakage(networks, pairs, limit=effort.probe_images, generator=generator, batch_size=batch_size),
        },
        flipped,
    )


def _flip(networks: Networks, faces: Faces, generator: torch.Generator) -> FlippedBits:
    bits = random_bits(len(faces.images), networks.length, generator)
    return flip_bits(networks, faces, networks.transform(faces.images, bits), bits, generator)


def _guess(
    networks: Networks,
    pairs: FacePairs,
    originals: Mapping[int, Tensor],
    thresholds: Mapping[str, float],
    effort: Effort,
    generator: torch.Generator,
    batch_size: int,
) -> dict[str, float]:
    gallery = pairs.gallery
    numbers = np.setdiff1d(pairs.changed, gallery)
    people = list(pairs.identity[gallery])
    enrolled = torch.stack([originals[int(number)] for number in gallery]) if len(gallery) else None
    guessed, places = [], []
    for number in spread(numbers if len(numbers) else pairs.changed, effort.guess_faces):
        face = pairs.load(number[None])
        bits = random_bits(1, networks.length, generator)
        guesses = passwords_to_try(networks.length, effort.guesses, ~bits[0], generator)
        shown = originals[int(number)][None] if enrolled is None else enrolled
        anonymised = networks.transform(face.images, bits)
        guessed.append(guess_passwords(networks, face, anonymised, guesses, shown, batch_size))
        person = pairs.identity[number]
        places.append(people.index(person) if person in people else -1)
    return security_metrics(guessed, places, networks.length, thresholds)
