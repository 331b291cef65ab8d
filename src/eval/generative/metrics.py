"""All metrics of generated images at once, as images stream by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product

import torch
from torch import Tensor, nn

from src.errors import UserError, check_choice
from src.eval.collector import ALONE, Processes
from src.eval.generative.distances import frechet_distance, kernel_distance
from src.eval.generative.edges import EdgeAgreement
from src.eval.generative.features import Classifier, RecogniserFeatures, as_stored, three_channels
from src.eval.generative.identities import IdentityScores, identity_scores
from src.eval.generative.inception_score import inception_score
from src.eval.generative.membership import nearest_similarities
from src.eval.generative.precision_recall import precision_and_recall

__all__ = ["METRICS", "GenerativeMetrics"]

_NUMBERS = {
    "fid": ("fid",),
    "kid": ("kid",),
    "precision_recall": ("precision", "recall"),
    "inception_score": ("is", "is_std"),
}
METRICS = tuple(_NUMBERS)
"""What is measured of the features of every extractor."""

REAL, GENERATED, LOGITS, PEOPLE = "real", "generated", "logits", "people"

_OF_IDENTITIES = ("eer", "auc", "genuine_mean", "genuine_std", "impostor_mean", "impostor_std", "fdr", "decidability")
_NEAREST = "nearest_training"
_SUFFIXES = {"vis": "", "nir": "_NIR"}


class GenerativeMetrics:
    """Takes real and generated images batch by batch and measures how far apart they are.

    Args:
        extractors: By the name that results get, networks from float32 [N, 3, H, W] in [-1, 1] RGB to features [N, D].
            They are put into evaluation mode and follow the images to their device. Those that are a `Classifier` allow
            the Inception score; those that are `RecogniserFeatures` tell people apart.
        metrics: Those of `METRICS` to compute.
        seed: Of the subsets of KID.

    Raises:
        UserError: A metric is unknown.
    """

    def __init__(self, extractors: Mapping[str, nn.Module], metrics: Sequence[str] = METRICS, seed: int = 0) -> None:
        for metric in metrics:
            check_choice("metrics", metric, METRICS)
        self.extractors = {name: extractor.eval() for name, extractor in extractors.items()}
        self._metrics = tuple(metrics)
        self._seed = seed
        self._rows: dict[tuple[str, str, str], list[Tensor]] = defaultdict(list)
        self._labels: dict[str, list[Tensor]] = defaultdict(list)
        self._edges = {kind: EdgeAgreement() for kind in (REAL, GENERATED)}

    @property
    def names(self) -> list[str]:
        """What `compute` can yield, but for the agreement of edges of real pairs; see there."""
        of_features = [
            f"{number}{suffix}@{name}"
            for (name, extractor), suffix in product(self.extractors.items(), _SUFFIXES.values())
            for metric in self._metrics
            if metric != "inception_score" or isinstance(extractor, Classifier)
            for number in _NUMBERS[metric]
        ]
        of_identities = [f"{metric}@{name}" for name in self._embedders for metric in (*_OF_IDENTITIES, _NEAREST)]
        return [*of_features, *of_identities, "edge_agreement", "edge_agreement_shuffled"]

    @property
    def _embedders(self) -> list[str]:
        return [name for name, extractor in self.extractors.items() if isinstance(extractor, RecogniserFeatures)]

    @torch.inference_mode()
    def add(self, vis: Tensor, nir: Tensor | None = None, *, real: bool, labels: Tensor | None = None) -> None:
        """Take a batch. Images are judged as they would be stored in 8 bits.

        Args:
            vis: float [N, 3, H, W], nominally in [-1, 1].
            nir: float [N, 1, H, W], the near-infrared images of the same faces; repeated to three channels for the
                extractors.
            real: Whether they show people, and are not generated.
            labels: int64 [N], the people on real images; what all batches have, or none.

        Raises:
            UserError: They have other shapes.
        """
        kind = REAL if real else GENERATED
        spectra = {"vis": vis} if nir is None else {"vis": vis, "nir": nir}
        stored = {spectrum: as_stored(images.float()) for spectrum, images in spectra.items()}
        for spectrum, images in stored.items():
            for name, extractor in self.extractors.items():
                features = extractor.to(images.device)(three_channels(images))
                self._rows[name, spectrum, kind].append(features.float().cpu())
                if not real and "inception_score" in self._metrics and isinstance(extractor, Classifier):
                    self._rows[name, spectrum, LOGITS].append(extractor.logits(features).float().cpu())
        if nir is not None:
            self._edges[kind].add(stored["vis"], stored["nir"])
        if labels is not None:
            self._labels[kind].append(labels.cpu())

    @torch.inference_mode()
    def add_identities(self, vis: Tensor, labels: Tensor) -> None:
        """Take a batch of generated images of synthetic people, which count for nothing but the identity metrics.

        Args:
            vis: float [N, 3, H, W], nominally in [-1, 1].
            labels: int64 [N], the same for images that were made of one identity.
        """
        stored = as_stored(vis.float())
        for name in self._embedders:
            embeddings = self.extractors[name].to(stored.device)(stored)
            self._rows[name, "vis", PEOPLE].append(embeddings.float().cpu())
        self._labels[PEOPLE].append(labels.cpu())

    def forget_generated(self) -> None:
        """Start anew with generated images; what is known of real ones is kept."""
        self._edges[GENERATED] = EdgeAgreement()
        for key in [key for key in self._rows if key[-1] != REAL]:
            del self._rows[key]
        self._labels.pop(PEOPLE, None)

    def compute(self, processes: Processes = ALONE) -> dict[str, float]:
        """Measure all images of all processes.

        Args:
            processes: Joins what several processes took; all of them have to call this.

        Returns:
            By name of metric: ``fid``, ``kid``, ``precision``, ``recall``, ``is`` and ``is_std``, followed by ``_NIR``
            for near infrared and by ``@`` and the name of the extractor; and, where there are pairs,
            ``edge_agreement`` and ``edge_agreement_shuffled``, mean correlations of the edges of pairs that do and do
            not belong together, with ``_real`` after the name for those of people. Of synthetic people, by extractor,
            ``eer``, ``auc``, ``genuine_mean``, ``genuine_std``, ``impostor_mean``, ``impostor_std``, ``fdr`` and
            ``decidability``, see `IdentityScores.metrics`, and ``nearest_training``, mean similarity of their images to
            the nearest of the real images.

        Raises:
            UserError: Real or generated images are missing, or too few for a metric.
        """
        results: dict[str, float] = {}
        for name, (spectrum, suffix) in product(self.extractors, _SUFFIXES.items()):
            real, generated, logits = (
                join_rows(self._rows[name, spectrum, kind], processes) for kind in (REAL, GENERATED, LOGITS)
            )
            if real is None and generated is None and spectrum == "nir":
                continue
            if real is None or generated is None:
                raise UserError(
                    f"{spectrum}: expected real and generated images, found {_count(real)} and {_count(generated)}"
                )
            found = self._measure(real, generated, logits)
            results |= {f"{metric}{suffix}@{name}": value for metric, value in found.items()}
        return results | self._identity_metrics(processes) | self._edge_metrics(processes)

    def identities(self, *, real: bool, processes: Processes = ALONE) -> dict[str, IdentityScores]:
        """How alike the images of one and of two people are, by extractor that tells people apart.

        Args:
            real: Of real people, whose labels were given, instead of synthetic ones.
            processes: Joins what several processes took; all of them have to call this.

        Returns:
            Empty where there are no two images of one person and one of another.
        """
        kind = REAL if real else PEOPLE
        labels = join_rows(self._labels[kind], processes)
        if labels is None or not 1 < len(labels.unique()) < len(labels):
            return {}
        rows = {name: join_rows(self._rows[name, "vis", kind], processes) for name in self._embedders}
        return {name: identity_scores(found, labels) for name, found in rows.items() if found is not None}

    def _identity_metrics(self, processes: Processes) -> dict[str, float]:
        results: dict[str, float] = {}
        for name, scores in self.identities(real=False, processes=processes).items():
            real, people = (join_rows(self._rows[name, "vis", kind], processes) for kind in (REAL, PEOPLE))
            assert real is not None
            assert people is not None
            results |= {f"{metric}@{name}": scores.metrics[metric] for metric in _OF_IDENTITIES}
            results[f"{_NEAREST}@{name}"] = float(nearest_similarities(people, real).mean())
        return results

    def _measure(self, real: Tensor, generated: Tensor, logits: Tensor | None) -> dict[str, float]:
        found: dict[str, float] = {}
        if "fid" in self._metrics:
            found["fid"] = frechet_distance(real, generated)
        if "kid" in self._metrics:
            found["kid"] = kernel_distance(real, generated, seed=self._seed)
        if "precision_recall" in self._metrics:
            found |= precision_and_recall(real, generated)._asdict()
        if logits is not None:
            score = inception_score(logits)
            found |= {"is": score.mean, "is_std": score.std}
        return found

    def _edge_metrics(self, processes: Processes) -> dict[str, float]:
        results = {}
        for kind, suffix in ((GENERATED, ""), (REAL, "_real")):
            stream = self._edges[kind]
            for name, parts in (("edge_agreement", stream.pairs), ("edge_agreement_shuffled", stream.shuffled)):
                correlations = join_rows(parts, processes)
                if correlations is not None:
                    results[f"{name}{suffix}"] = float(correlations.mean())
        return results


def join_rows(parts: Sequence[Tensor], processes: Processes) -> Tensor | None:
    """Concatenate what all processes have, which need not be equally much.

    Args:
        parts: Tensors [n, ...] of this process, on the CPU.
        processes: All of them have to call this.

    Returns:
        [N, ...], in the order of the processes; None if no process has any parts.

    Raises:
        UserError: Some processes have none.
    """
    share = torch.cat(list(parts)) if parts else None
    counts = processes.rows(torch.tensor([-1 if share is None else len(share)])).tolist()
    if max(counts) < 0:
        return None
    if share is None or min(counts) < 0:
        raise UserError(
            f"{counts.count(-1)} of {len(counts)} processes took no images: use fewer devices, or more images"
        )
    missing = max(counts) - len(share)
    rows = processes.rows(torch.cat([share, share.new_zeros(missing, *share.shape[1:])]))
    return torch.cat([part[:count] for part, count in zip(rows.chunk(len(counts)), counts, strict=True)])


def _count(rows: Tensor | None) -> int:
    return 0 if rows is None else len(rows)
