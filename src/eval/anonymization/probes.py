"""What simple classifiers learn to read off anonymised faces: bits of the password, and identities.

Attackers who have the network can make as many examples as they like, so that one that was trained on anonymised faces
tells more than a recogniser that never saw any.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

from src.eval.anonymization.interfaces import random_bits
from src.eval.anonymization.pairs import FacePairs
from src.eval.anonymization.suite import Networks, batches
from src.progress import image_progress

__all__ = ["bit_accuracy", "identity_probe", "leakage"]

Array = NDArray[np.floating[Any]]

_GRID = 16  # pixels that a linear probe of passwords sees in a row
_PASSWORDS = 3  # under which an image is anonymised for those who learn


def leakage(
    networks: Networks, pairs: FacePairs, *, limit: int, generator: torch.Generator, batch_size: int
) -> dict[str, float]:
    """Train probes on anonymised faces and try them on other faces, or other images, under other passwords.

    Args:
        networks: Transformer and recogniser.
        pairs: The faces.
        limit: Images that are anonymised at most.
        generator: For the passwords.
        batch_size: Faces that go through a network at once.

    Returns:
        ``leak_bits_pair`` and ``leak_bits_anon``: share of single bits that a linear probe tells from the pixels of the
        original and the anonymised face, and of the anonymised face alone; 0.5 is chance. ``adaptive_rank1`` and
        ``naive_rank1``: share of anonymised faces whose person a probe tells by their embeddings that was trained on
        anonymised faces of these people, and on clean ones; ``adaptive_chance`` is that of who guesses.
    """
    numbers = pairs.clean
    people = pairs.identity[numbers]
    alone = ~np.isin(people, pairs.identity[pairs.gallery])
    numbers = numbers[np.lexsort((people, alone))][:limit]  # people with several images come first, each whole
    pixels, embeddings, clean, bits = [], [], [], []
    with image_progress() as progress:
        task = progress.add_task("anonymising for probes", total=len(numbers) * _PASSWORDS)
        for part in batches(numbers, batch_size):
            faces = pairs.load(part)
            clean.append(networks.embed(*faces))
            drawn, made = [], []
            for _ in range(_PASSWORDS):
                drawn.append(random_bits(len(part), networks.length, generator))
                made.append(networks.transform(faces.images, drawn[-1]))
                progress.advance(task, len(part))
            embeddings.append(torch.stack([networks.embed(images, faces.landmarks) for images in made], 1))
            pixels.append(torch.stack([_small(faces.images), _small(made[0])], 1))
            bits.append(drawn[0])
    seen, password = torch.cat(pixels), torch.cat(bits).numpy()
    return {
        "leak_bits_pair": bit_accuracy(seen.flatten(1).numpy(), password),
        "leak_bits_anon": bit_accuracy(seen[:, 1].numpy(), password),
        **identity_probe(torch.cat(clean), torch.cat(embeddings), pairs.identity[numbers]),
    }


def bit_accuracy(features: Array, bits: NDArray[np.bool_]) -> float:
    """Share of bits that a ridge classifier tells of every other row, which it has not seen.

    Args:
        features: [n, F], n at least 4.
        bits: [n, L].
    """
    learnt, tried = slice(0, None, 2), slice(1, None, 2)
    probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=features.shape[1]))
    probe.fit(features[learnt], bits[learnt].astype(np.int64))
    return float((probe.predict(features[tried]) == bits[tried]).mean())


def identity_probe(clean: Tensor, anonymised: Tensor, identity: NDArray[np.int64]) -> dict[str, float]:
    """Tell people by embeddings of anonymised faces, having learnt from other images of them.

    The last image of every person is to be told, the others are learnt from; people with one image are left out.

    Args:
        clean: [n, D] embeddings of images.
        anonymised: [n, K, D] of the same images under K passwords each.
        identity: [n], whom they show.

    Returns:
        ``adaptive_rank1`` of linear discriminant analysis of anonymised faces, ``naive_rank1`` of that of clean ones,
        and ``adaptive_chance``; NaN where fewer than two people have several images.
    """
    people, last, count = np.unique(identity[::-1], return_index=True, return_counts=True)
    kept = people[count > 1]
    if len(kept) < 2:
        return {name: math.nan for name in ("adaptive_rank1", "naive_rank1", "adaptive_chance")}
    tried = len(identity) - 1 - last[count > 1]
    learnt = np.setdiff1d(np.flatnonzero(np.isin(identity, kept)), tried)
    passwords = anonymised.shape[1]
    shown, truth = _unit(anonymised[tried].flatten(0, 1)), np.repeat(identity[tried], passwords)
    adaptive = _told(_unit(anonymised[learnt].flatten(0, 1)), np.repeat(identity[learnt], passwords), shown, truth)
    naive = _told(_unit(clean[learnt]), identity[learnt], shown, truth)
    return {"adaptive_rank1": adaptive, "naive_rank1": naive, "adaptive_chance": 1 / len(kept)}


def _told(features: Array, labels: NDArray[np.int64], shown: Array, truth: NDArray[np.int64]) -> float:
    if len(labels) == len(np.unique(labels)):  # no spread within people: the nearest one
        return float((labels[(shown @ features.T).argmax(1)] == truth).mean())
    probe = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(features, labels)
    return float((probe.predict(shown) == truth).mean())


def _small(images: Tensor) -> Tensor:
    """Pixels [N, F] of images, coarsely."""
    return F.interpolate(images, (_GRID, _GRID), mode="area").flatten(1)


def _unit(embeddings: Tensor) -> Array:
    return F.normalize(embeddings.double(), dim=-1).numpy()
