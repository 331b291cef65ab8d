"""What cancellable templates give away, measured on photographs of people (DRH specification, section 8)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from src.datamodules.identification_sets import IdentificationSet, read_class_folders
from src.errors import UserError
from src.eval.collector import Collected, check_count
from src.eval.face_set_benchmark import FaceSetBenchmark
from src.eval.protection.attacks import Attacks
from src.eval.protection.faces import CodedFaces, ImagePairs, mated_pairs
from src.eval.score import BenchmarkScore
from src.eval.scoring import Evaluated

if TYPE_CHECKING:
    from src.eval.matching import Matcher

__all__ = ["ProtectionBenchmark", "class_folders"]

_OTHER_SYMBOLS = 0.05
"""Share of symbols that may differ because the processor rounds otherwise."""

log = logging.getLogger(__name__)

Progress = Callable[[str], None] | None


class ProtectionBenchmark(FaceSetBenchmark):
    """Attacks on the templates of codes: linking, renewing, inverting and guessing them.

    Nobody is verified or searched for: other benchmarks do that. Of embeddings that no codes are made of, and where the
    embeddings before hashing are not known, nothing is measured.

    Args:
        reader: Reads the collection.
        size: Side of the images that the network takes, in pixels.
        people: At most so many people are attacked, drawn at random from those with several images.
        images: At most so many images of each, the first ones.
        attacks: What is done to them.

    Raises:
        UserError: An argument is out of its range.
    """

    def __init__(
        self,
        reader: Callable[[], IdentificationSet],
        size: int = 112,
        people: int = 200,
        images: int = 10,
        attacks: Attacks | None = None,
    ) -> None:
        if min(people, images) < 2:
            raise UserError(f"expected two people and two images of each or more, found people={people}, {images=}")
        super().__init__(reader, size, flip="none")  # mirror images are not enrolled
        self.people = people
        self.images_per_person = images
        self.attacks = Attacks() if attacks is None else attacks

    @cached_property
    def faces(self) -> IdentificationSet:
        """The images that are attacked; they are decoded one by one later."""
        everyone = self.reader()
        chosen = _choose(everyone.labels, self.people, self.images_per_person, self.attacks.seed)
        return IdentificationSet(everyone.name, [everyone.images[i] for i in chosen], everyone.labels[chosen])

    @cached_property
    def pairs(self) -> ImagePairs:
        """All pairs of images of one person."""
        try:
            return mated_pairs(self.faces.labels)
        except UserError as error:
            raise UserError(f"{self.faces.name}: {error}") from error

    def check(self) -> None:
        """List the images, so that mistakes show before long work.

        Raises:
            UserError: There are no images, landmarks of some are missing, or there are too few people or images.
        """
        _ = self.pairs

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics that `privacy` gives where there are codes."""
        return self.attacks.metric_names

    def score(self, collected: Collected, resamples: int = 0, matcher: Matcher | None = None) -> BenchmarkScore:
        """Nothing: how well templates serve their purpose is for other benchmarks to say.

        Raises:
            UserError: There is not one embedding or code for each image.
        """
        check_count(collected, len(self.faces.images), self.faces.name)
        return BenchmarkScore({})

    def privacy(
        self,
        name: str,
        benchmarks: Mapping[str, Any],
        evaluated: Evaluated,
        *,
        unprotected: Evaluated | None = None,
        resamples: int = 0,
        on_progress: Progress = None,
    ) -> BenchmarkScore:
        """Attack the codes, see `src.eval.scoring.PrivacyBenchmark`.

        Returns:
            The score of ``evaluated`` with the privacy metrics `metric_names` and what a report draws of them;
            unchanged where there are no codes and, with a warning, where it is not known what they were made of.
        """
        score, codes = evaluated.scores[name], evaluated.collected[name]["original"]
        if codes.dtype != torch.uint8:
            return score
        if evaluated.rank_hash is None or unprotected is None:
            log.warning(
                "%s: not measured, because what makes codes of embeddings is not known: it takes "
                "codes that are the argmax of a linear map of embeddings (model.code_mode=argmax) evaluated with them",
                name,
            )
            return score
        embeddings = unprotected.collected[name]["original"].float()
        if float((evaluated.rank_hash.codes(embeddings) != codes).float().mean()) > _OTHER_SYMBOLS:
            log.warning("%s: not measured, because the codes are of another backbone than the embeddings", name)
            return score
        faces = CodedFaces(embeddings, codes.numpy(), self.faces.labels, evaluated.rank_hash)
        tell = None if on_progress is None else lambda what: on_progress(f"{name}: {what}")
        findings = self.attacks.run(faces, self.pairs, tell)
        return replace(score, privacy=findings.metrics, curves=replace(score.curves, protection=findings.curves))


def class_folders(
    root: Path | str,
    size: int,
    folder: str = ".",
    landmarks: str | None = "landmarks.csv",
    people: int = 200,
    images: int = 10,
    attacks: Attacks | None = None,
) -> ProtectionBenchmark:
    """Attacks on templates of photographs in one folder per person.

    Args:
        root: Folder with, at any depth, ``<person>/<image>.jpg``.
        size: Side of the images that the network takes, in pixels.
        folder: Of the root, whose photographs these are.
        landmarks: CSV file in ``root`` to align the photographs by, used if it exists; None to crop by position.
        people: See `ProtectionBenchmark`.
        images: See `ProtectionBenchmark`.
        attacks: See `ProtectionBenchmark`.
    """
    reader = partial(read_class_folders, root, name=Path(root).name, landmarks=landmarks, folder=folder)
    return ProtectionBenchmark(reader, size, people, images, attacks)


def _choose(labels: NDArray[np.int64], people: int, images: int, seed: int) -> list[int]:
    """Numbers of the first ``images`` of each of ``people`` who have several, ascending."""
    names, counts = np.unique(labels, return_counts=True)
    several = names[counts > 1]
    chosen = np.random.default_rng(seed).choice(several, min(people, len(several)), replace=False)
    return sorted(i for name in chosen for i in np.flatnonzero(labels == name)[:images].tolist())
