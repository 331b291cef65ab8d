"""What is written about a data set of synthetic people once no more are added, and the check of the written images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from src.apps.generate.folder import GeneratedFolder, count_rules
from src.datamodules.decode import decode
from src.datamodules.sources.generated_faces import MANIFEST, GeneratedFaces
from src.files import atomic_write
from src.models.generation.gallery import Gallery, to_unit
from src.models.generation.rules import Rule

__all__ = ["Audit", "audit", "explain_rejections", "write_facts", "write_summary"]


@dataclass(frozen=True)
class Audit:
    """Every written image compared with every real person, and all people with each other.

    Attributes:
        images: How many.
        known: Embeddings of real people.
        max_cos_known: Largest absolute cosine of any image to any of these.
        ids_above_threshold: People of whom an image exceeds the threshold there.
        max_cos_between: Largest absolute cosine of the first images of two people.
    """

    images: int
    known: int
    max_cos_known: float
    ids_above_threshold: int
    max_cos_between: float


def audit(
    folder: GeneratedFolder, known: np.ndarray, embed: Callable[[Tensor], Tensor], threshold: float, batch_size: int
) -> Audit:
    """Read the images back from the disk, embed them, and compare all with all.

    Args:
        folder: Whose manifest is written.
        known: float32 [K, D], embeddings of real people.
        embed: Makes embeddings of uint8 [N, 3, R, R].
        threshold: Similarity up to which two images are of different people.
        batch_size: Images that are embedded at once.
    """
    source, gallery = GeneratedFaces(folder.path), Gallery(torch.from_numpy(known))
    highest = np.empty(len(source))
    first_rows = np.unique(source.labels, return_index=True)[1]
    firsts: list[Tensor] = []
    for start in range(0, len(source), batch_size):
        rows = range(start, min(start + batch_size, len(source)))
        images = torch.stack([decode(source.content(row)).movedim(-1, 0) for row in rows])
        unit = to_unit(embed(images))
        highest[rows.start : rows.stop] = gallery.similarity_to_known(unit).numpy()
        firsts += [unit[row - start] for row in first_rows if row in rows]
    between = (torch.stack(firsts) @ torch.stack(firsts).mT).abs().fill_diagonal_(0)
    return Audit(
        images=len(source),
        known=gallery.known,
        max_cos_known=float(highest.max()),
        ids_above_threshold=len(np.unique(source.labels[highest > threshold])),
        max_cos_between=float(between.max()),
    )


def write_summary(folder: GeneratedFolder, vectors: Callable[[list[int]], Tensor]) -> None:
    """Write ``manifest.jsonl``, ``rejections.json``, ``identities.npy`` and ``embeddings.npy``.

    Args:
        folder: The data set.
        vectors: Makes the identity vectors [N, D] of people by their numbers.
    """
    people, images = count_rules(folder.outcomes)
    rejections = {
        "accepted": len(folder.accepted),
        "people": {rule.value: people[rule] for rule in Rule if rule in people},
        "images_tried": sum(outcome.attempts for outcome in folder.outcomes),
        "images": {rule.value: images[rule] for rule in Rule if rule in images},
    }
    with atomic_write(folder.path / "rejections.json", "w") as file:
        json.dump(rejections, file, indent=1)
    if not folder.accepted:
        return
    with atomic_write(folder.path / "identities.npy") as file:
        np.save(file, vectors([outcome.person for outcome in folder.accepted]).numpy())
    embeddings = np.stack([folder.embeddings(number) for number in range(len(folder.accepted))])
    with atomic_write(folder.path / "embeddings.npy") as file:
        np.save(file, embeddings.astype(np.float32))
    with atomic_write(folder.path / MANIFEST, "w") as file:
        for outcome in folder.accepted:
            file.writelines(json.dumps(row) + "\n" for row in outcome.samples)


def write_facts(folder: GeneratedFolder, checked: Audit) -> None:
    """Write ``generation.json``: settings, thresholds, digests of the networks and the people, and the check."""
    content = {"schema": 1, "ids": len(folder.accepted), "settings": folder.settings, "audit": asdict(checked)}
    with atomic_write(folder.path / "generation.json", "w") as file:
        json.dump(content, file, indent=1)


def explain_rejections(folder: GeneratedFolder) -> str:
    """Which rules rejected how many people, the most frequent first, in words."""
    people, _ = count_rules(folder.outcomes)
    if not people:
        return "nobody was rejected"
    text = f"people rejected by: {_enumerate(people)}"
    if people[Rule.ATTEMPTS]:
        _, images = count_rules([outcome for outcome in folder.outcomes if outcome.rule == Rule.ATTEMPTS])
        text += f"; the images of those with too many attempts by: {_enumerate(images)}"
    return text


def _enumerate(counts: Counter[Rule]) -> str:
    return ", ".join(f"{rule.value} {number:,}" for rule, number in counts.most_common())
