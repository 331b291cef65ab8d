"""Retrieval from a collection of faces: of the images most similar to a probe, how many show the same person?"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.datamodules.identification_sets import IdentificationSet, read_class_folders
from src.eval.bootstrap import interval, resample_mean
from src.eval.collector import Collected
from src.eval.embedding_matching import CosineMatcher
from src.eval.face_set_benchmark import FaceSetBenchmark
from src.eval.matching import Flip, Matcher
from src.eval.retrieval import Retrieved, retrieve
from src.eval.retrieval_split import RetrievalSplit, split_at_random
from src.eval.score import BenchmarkScore, HardPair, ScoreCurves
from src.eval.score_curves import HARDEST

__all__ = ["RetrievalBenchmark", "random_split"]

_DEPTH = 50
_RANKS = range(1, 11)
_FOUND_RANKS = (1, 5, 10)
_CMC_DEPTH = 20


class RetrievalBenchmark(FaceSetBenchmark):
    """Retrieval of the images of the same person (DRH specification, section 7.2).

    Of everyone's images some, drawn at random, are probes and others the gallery. ``map@50`` is the mean over the
    probes of the average precision among the 50 most similar images; ``recognition@k`` the share of the k most similar
    ones that show the probe's person, of as many as the gallery has up to k; ``rank1`` and so on whether any does.

    Args:
        reader: Reads the collection.
        size: Side of the images that the network takes, in pixels.
        flip: What is compared, see `src.eval.benchmark.VerificationBenchmark`.
        gallery_images: Images of a person in the gallery, at most.
        probe_images: Images of a person that are probes; people with no more than these are left out.
        seed: Of the draw.
    """

    def __init__(
        self,
        reader: Callable[[], IdentificationSet],
        size: int = 112,
        flip: Flip = "sum",
        gallery_images: int = 40,
        probe_images: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__(reader, size, flip)
        self.gallery_images = gallery_images
        self.probe_images = probe_images
        self.seed = seed

    @cached_property
    def _read(self) -> tuple[IdentificationSet, RetrievalSplit]:
        faces = self.reader()
        return faces, split_at_random(faces.labels, self.gallery_images, self.probe_images, self.seed)

    @property
    def split(self) -> RetrievalSplit:
        """Who searches for whom, by the numbers of the images in the whole collection."""
        return self._read[1]

    @cached_property
    def faces(self) -> IdentificationSet:
        """The images of the split, first the gallery and then the probes; they are decoded one by one later."""
        everything, split = self._read
        chosen = np.concatenate([split.gallery, split.probes])
        images = [everything.images[number] for number in chosen.tolist()]
        return IdentificationSet(everything.name, images, everything.labels[chosen])

    def check(self) -> None:
        """List the images, so that mistakes show before long work.

        Raises:
            UserError: There are no images, landmarks of some are missing, or fewer than two people have enough.
        """
        _ = self.faces

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics that `score` gives."""
        found, recognised = (f"rank{rank}" for rank in _FOUND_RANKS), (f"recognition@{rank}" for rank in _RANKS)
        return (*found, f"map@{_DEPTH}", *recognised)

    def score(self, collected: Collected, resamples: int = 0, matcher: Matcher | None = None) -> BenchmarkScore:
        """Judge the embeddings or codes of all images.

        Args:
            collected: By `collector`: raw embeddings or codes, with mirror images unless ``flip`` is ``"none"``.
            resamples: Number of bootstrap resamples; 0 for no intervals.
            matcher: Forms templates and compares them; by default embeddings by their cosine.

        Returns:
            The metrics `metric_names`, an interval of each, and curves.

        Raises:
            UserError: Their number is not that of the images, or mirror images are missing.
        """
        matcher = matcher or CosineMatcher()
        templates = matcher.templates(collected, self.flip, len(self.faces.images), self.faces.name)
        enrolled = len(self.split.gallery)
        gallery, probes = self.faces.labels[:enrolled], self.faces.labels[enrolled:]
        found = retrieve(templates[enrolled:], probes, templates[:enrolled], gallery, _DEPTH, matcher)
        values = _by_probe(found)
        generator = np.random.default_rng(0)
        curves = ScoreCurves(
            cmc=[float(found.found(rank).mean()) for rank in range(1, min(_CMC_DEPTH, enrolled) + 1)],
            false_matches=_false_matches(found, enrolled),
        )
        return BenchmarkScore(
            {name: float(values[name].mean()) for name in self.metric_names},
            {name: interval(resample_mean(values[name], resamples, generator)) for name in values} if resamples else {},
            curves,
        )


def _by_probe(found: Retrieved) -> dict[str, NDArray[np.float64] | NDArray[np.bool_]]:
    """What each probe contributes to the metrics."""
    return {
        **{f"rank{rank}": found.found(rank) for rank in _FOUND_RANKS},
        f"map@{_DEPTH}": found.average_precision(),
        **{f"recognition@{rank}": found.recognition(rank) for rank in _RANKS},
    }


def _false_matches(found: Retrieved, enrolled: int) -> list[HardPair]:
    """Probes whose most similar image shows someone else, most similar first; ``enrolled`` images come before them."""
    similarities, images = found.similarities[:, 0], found.columns[:, 0]
    wrong = np.flatnonzero(~found.found(1))
    wrong = wrong[np.argsort(-similarities[wrong], kind="stable")][:HARDEST]
    return [HardPair(enrolled + int(probe), int(images[probe]), float(similarities[probe])) for probe in wrong]


def random_split(
    root: Path | str,
    size: int,
    gallery_images: int,
    probe_images: int = 5,
    levels: int = 1,
    flip: Flip = "sum",
    seed: int = 0,
    landmarks: str | None = "landmarks.csv",
) -> RetrievalBenchmark:
    """Retrieval among photographs or frames in one folder per person.

    Args:
        root: Folder with, at any depth, ``<person>/<image>.jpg``, or with more folders below each person's.
        size: Side of the images that the network takes, in pixels.
        gallery_images: See `RetrievalBenchmark`.
        probe_images: See `RetrievalBenchmark`.
        levels: Folders that an image is in from its person's on: 2 for ``<person>/<video>/<frame>.jpg``.
        flip: See `RetrievalBenchmark`.
        seed: See `RetrievalBenchmark`.
        landmarks: CSV file in ``root`` to align the photographs by, used if it exists; None to crop by position.
    """
    reader = partial(read_class_folders, root, name=Path(root).name, landmarks=landmarks, levels=levels)
    return RetrievalBenchmark(reader, size, flip, gallery_images, probe_images, seed)
