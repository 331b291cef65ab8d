"""The metrics of anonymised, recovered and wrongly recovered faces. Their definitions are ours; none are published."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from src.eval.anonymization.detection import Found, detection_rate, find_faces, landmark_distance
from src.eval.anonymization.interfaces import Detector, Embed, Faces, Predict, Transform, random_bits, wrong_bits
from src.eval.anonymization.pairs import FacePairs
from src.eval.anonymization.quality import STORED, background_change, perceptual_distance, reconstruction, stored_as
from src.eval.anonymization.recognition import (
    KINDS,
    distribution_metrics,
    diversity,
    reidentification,
    similarity,
    success,
    thresholds_of,
    verification,
)
from src.eval.verification import VerificationResult
from src.progress import image_progress

__all__ = ["Measured", "Networks", "batches", "measure", "spread"]

Rows = dict[str, Tensor]


@dataclass(frozen=True)
class Networks:
    """What is judged, and by what.

    Attributes:
        transform: Anonymises and recovers.
        length: Bits of a password.
        embed: A recogniser that had no part in the training of the transformer.
        name: Of the recogniser, for names of metrics.
        detector: Finds faces; None to leave detection out.
        predict: Reads passwords off faces, trained together with the transformer; None to leave it out.
        trained_with: The recogniser that the transformer was trained with, for comparison alone: it was to be misled.
    """

    transform: Transform
    length: int
    embed: Embed
    name: str
    detector: Detector | None = None
    predict: Predict | None = None
    trained_with: Embed | None = None


@dataclass(frozen=True)
class Measured:
    """What `measure` found.

    Attributes:
        metrics: By name.
        thresholds: Cosines from which on faces are taken for one person, see `thresholds_of`.
        originals: Embedding [D] of every image by its number.
        similarities: Cosines [N] by what is compared: ``anon``, ``rec`` and ``wrong`` with the originals.
    """

    metrics: dict[str, float]
    thresholds: dict[str, float]
    originals: dict[int, Tensor]
    similarities: dict[str, Tensor]


def measure(
    networks: Networks,
    pairs: FacePairs,
    *,
    generator: torch.Generator,
    batch_size: int,
    passwords: int = 10,
    diversity_faces: int = 100,
) -> Measured:
    """Anonymise, recover and wrongly recover the second faces of all pairs, and compare them.

    Args:
        networks: What is judged, and by what.
        pairs: The faces.
        generator: For the passwords, two for each face; on the CPU.
        batch_size: Faces that go through a network at once.
        passwords: Under which a face is anonymised for its diversity.
        diversity_faces: How many faces that is measured on.
    """
    lpips = perceptual_distance()
    originals: dict[int, Tensor] = {}
    parts: list[Rows] = []
    with image_progress() as progress:
        task = progress.add_task("embedding originals", total=len(pairs.clean))
        for numbers in batches(pairs.clean, batch_size):
            faces = pairs.load(numbers)
            originals |= _by_number(numbers, networks.embed(*faces))
            progress.advance(task, len(numbers))
        task = progress.add_task("anonymising and recovering", total=len(pairs.changed))
        for numbers in batches(pairs.changed, batch_size):
            parts.append(_change(networks, pairs.load(numbers), generator, lpips))
            progress.advance(task, len(numbers))
    rows = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    clean = verification(pairs, originals, originals)
    thresholds = thresholds_of(clean)
    rows["I"] = torch.stack([originals[int(number)] for number in pairs.changed])
    changed = {kind: _by_number(pairs.changed, rows[kind]) for kind in KINDS}
    metrics = {
        **_success(rows, thresholds),
        **_verification_metrics("orig", clean),
        **{k: v for kind in KINDS for k, v in _verified(pairs, originals, changed[kind], kind).items()},
        **{
            f"reid_{kind}_{name}": value
            for kind in KINDS
            for name, value in reidentification(pairs, originals, changed[kind]).items()
            if name != "chance" or kind == "anon"
        },
        **_diversity(networks, pairs, generator, batch_size, passwords, diversity_faces),
        **{name: float(rows[name].double().nanmean()) for name in rows if name.startswith(_AVERAGED)},
        **(_detected(rows) if networks.detector else {}),
        **distribution_metrics(networks.name, rows["I"], rows),
        **_stored_success(rows, thresholds),
    }
    similarities = {kind: similarity(rows["I"], rows[kind]) for kind in KINDS}
    return Measured(metrics, thresholds, originals, similarities)


_AVERAGED = ("rec_", "bg_", "q_", "compress_", "trained_with_")
_MADE = ("I", *KINDS)


def batches(numbers: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Consecutive parts of at most ``size``."""
    yield from np.split(numbers, range(size, len(numbers), size))


def spread(numbers: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most ``count`` of some numbers, evenly."""
    return numbers[np.linspace(0, len(numbers) - 1, min(count, len(numbers))).astype(int)]


def _change(networks: Networks, faces: Faces, generator: torch.Generator, lpips: nn.Module | None) -> Rows:
    """All that is kept of some faces, a row for each: embeddings by kind, and values by name of a metric."""
    images, landmarks = faces
    first = random_bits(len(images), networks.length, generator)
    wrong = wrong_bits(first, generator)
    anonymised = networks.transform(images, first)
    made = {
        "anon": anonymised,
        "rec": networks.transform(anonymised, ~first),
        "wrong": networks.transform(anonymised, wrong),
    }
    rows = {kind: networks.embed(pictures, landmarks) for kind, pictures in made.items()}
    rows |= {f"rec_{name}": value for name, value in reconstruction(images, made["rec"]).items()}
    if lpips is not None:
        rows["rec_lpips"] = lpips(made["rec"], images).detach().expand(len(images))
    rows["bg_l1"] = background_change(images, anonymised, landmarks)
    for storage in STORED:
        recovered = networks.transform(stored_as(anonymised, storage), ~first)
        rows |= {f"compress_{storage}_rec_{k}": value for k, value in reconstruction(images, recovered).items()}
        rows[f"stored_{storage}"] = networks.embed(recovered, landmarks)
    if networks.detector is not None:
        for kind, pictures in {"I": images, **made}.items():
            found = find_faces(networks.detector, pictures)
            rows |= {f"probability_{kind}": found.probability, f"landmarks_{kind}": found.landmarks}
    if networks.predict is not None:
        told = [
            _read_passwords(networks.predict(before, after), bits)
            for before, after, bits in (
                (images, anonymised, first),
                (anonymised, made["rec"], ~first),
                (anonymised, made["wrong"], wrong),
            )
        ]
        groups, single = (torch.stack(values).mean(0) for values in zip(*told, strict=True))
        rows |= {"q_acc": groups, "q_bit_acc": single}
    if networks.trained_with is not None:
        before = networks.trained_with(images, landmarks)
        for kind, pictures in made.items():
            rows[f"trained_with_{kind}_cos"] = similarity(before, networks.trained_with(pictures, landmarks))
    return rows


def _read_passwords(logits: Tensor, bits: Tensor) -> tuple[Tensor, Tensor]:
    """Share [N] of groups, and of single bits, that a predictor tells rightly."""
    places = torch.tensor([8, 4, 2, 1])
    told = (logits.argmax(-1)[..., None] & places) > 0
    right = told == bits.unflatten(1, (-1, len(places)))
    return right.all(-1).float().mean(1), right.float().mean((1, 2))


def _success(rows: Rows, thresholds: Mapping[str, float]) -> dict[str, float]:
    original = rows["I"]
    return {
        **success("rec_success", similarity(original, rows["rec"]), thresholds, recognised=True),
        **success("anon_success", similarity(original, rows["anon"]), thresholds, recognised=False),
        **success("wrong_success", similarity(original, rows["wrong"]), thresholds, recognised=False),
        **success("wrong_anon_success", similarity(rows["anon"], rows["wrong"]), thresholds, recognised=False),
    }


def _stored_success(rows: Rows, thresholds: Mapping[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for storage in STORED:
        scores = similarity(rows["I"], rows[f"stored_{storage}"])
        found |= success(f"compress_{storage}_rec_success", scores, thresholds, recognised=True)
    return found


def _verified(
    pairs: FacePairs, originals: Mapping[int, Tensor], changed: Mapping[int, Tensor], kind: str
) -> dict[str, float]:
    return _verification_metrics(kind, verification(pairs, originals, changed))


def _verification_metrics(kind: str, result: VerificationResult) -> dict[str, float]:
    return {
        f"verif_{kind}_accuracy": result.accuracy,
        f"verif_{kind}_auc": result.auc,
        f"verif_{kind}_tar@1e-3": result.tar_at_far[1e-3],
    }


def _diversity(
    networks: Networks, pairs: FacePairs, generator: torch.Generator, batch_size: int, passwords: int, count: int
) -> dict[str, float]:
    """Of faces under several passwords, and of what several wrong ones recover."""
    found: dict[str, list[float]] = {"diversity_anon": [], "diversity_wrong": []}
    numbers = spread(pairs.changed, count)
    with image_progress() as progress:
        task = progress.add_task("diversity over passwords", total=len(numbers))
        for number in numbers if passwords > 1 else ():
            images, landmarks = (tensor.expand(passwords, *tensor.shape[1:]) for tensor in pairs.load(number[None]))
            bits = random_bits(passwords, networks.length, generator)
            anonymised = _in_parts(networks.transform, images, bits, batch_size)
            one, password = anonymised[:1].expand_as(anonymised), bits[:1].expand_as(bits)
            wrong = _in_parts(networks.transform, one, wrong_bits(password, generator), batch_size)
            for name, made in (("diversity_anon", anonymised), ("diversity_wrong", wrong)):
                found[name].append(diversity(_in_parts(networks.embed, made, landmarks, batch_size)[:, None]))
            progress.advance(task)
    return {name: float(np.mean(values)) if values else math.nan for name, values in found.items()}


def _in_parts(network: Transform | Embed, first: Tensor, second: Tensor, size: int) -> Tensor:
    return torch.cat([network(*part) for part in zip(first.split(size), second.split(size), strict=True)])


def _detected(rows: Rows) -> dict[str, float]:
    found = {kind: Found(rows[f"probability_{kind}"], rows[f"landmarks_{kind}"]) for kind in _MADE}
    rates = {f"detect_rate_{kind}": detection_rate(found["I"], found[kind]) for kind in KINDS}
    return {**rates, "lmk_dist": landmark_distance(found["I"], found["anon"])}


def _by_number(numbers: NDArray[np.int64], rows: Tensor) -> dict[int, Tensor]:
    return {int(number): row for number, row in zip(numbers, rows, strict=True)}
