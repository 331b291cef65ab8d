"""Verification and identification by templates.

IJB-B (Whitelam et al. 2017) and IJB-C (Maze et al. 2018) define both protocols.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from src.datamodules.template_sets import TemplateSearch
from src.errors import UserError
from src.eval.gallery_search import Searches, search
from src.eval.identification import tpir_at_fpir
from src.eval.matching import Matcher
from src.eval.operating_points import OperatingPoint, RocCurve, far_operating_points, roc_curve

__all__ = [
    "FARS",
    "TemplateIdentification",
    "TemplateVerification",
    "score_pairs",
    "search_templates",
    "verify_templates",
]

Array = NDArray[np.float64]

Templates = NDArray[np.float32] | NDArray[np.uint8]
Numbers = NDArray[np.integer]

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""False accept rates that the protocols report."""

_DENSE = 0.05  # share of a grid of templates above which all of it is compared
_GRID = 1 << 27  # similarities of a grid held at once, 512 MB
_SEARCHED = 1 << 21  # similarities of searches that a thread holds at once, 8 MB
_ROWS = 128  # of a grid that a thread computes at once
_PAIRS = 1 << 16  # pairs looked up at once
_GATHERED = 1 << 13  # pairs whose templates are copied at once, 32 MB


@dataclass(frozen=True)
class TemplateVerification:
    """1:1 verification.

    Attributes:
        scores: float32 [P] cosine similarities of the pairs.
        same: bool [P].
        roc: ROC curve of the scores.
        operating_points: True accept rates at the false accept rates asked for.
    """

    scores: NDArray[np.float32]
    same: NDArray[np.bool_]
    roc: RocCurve
    operating_points: tuple[OperatingPoint, ...]


@dataclass(frozen=True)
class TemplateIdentification:
    """1:N identification in one or several galleries.

    Attributes:
        galleries: What became of the searches, for each gallery.
    """

    galleries: tuple[Searches, ...]

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """[M] ranks of the mates in all searches of mated probes, of one gallery after the other."""
        return np.concatenate([searches.rank[searches.mated] for searches in self.galleries])

    def cmc(self, depth: int) -> Array:
        """Share [depth] of the searches of mated probes whose mate has rank 1, at most 2, ...

        In IJB each probe is mated in one of the two galleries, so that this is a share of the probes.
        """
        return np.bincount(self.ranks.clip(max=depth + 1) - 1, minlength=depth + 1)[:depth].cumsum() / len(self.ranks)

    def tpir(self, fpirs: Sequence[float]) -> Array:
        """True positive identification rates [F] at F false positive identification rates, mean over the galleries.

        Raises:
            UserError: In some gallery all probes are mated, or none is.
        """
        return np.mean([tpir_at_fpir(searches.open_set, fpirs)[1] for searches in self.galleries], axis=0)


def verify_templates(
    templates: Templates,
    first: Numbers,
    second: Numbers,
    same: NDArray[np.bool_],
    fars: Sequence[float] = FARS,
    matcher: Matcher | None = None,
) -> TemplateVerification:
    """Compare templates 1:1.

    Args:
        templates: float32 [T, D], of length 1, as `template_pooling.pool_templates` gives them; or what ``matcher``
            takes, such as codes by `code_pooling.pool_codes`.
        first: [P] numbers of templates, 0 .. T - 1.
        second: [P] numbers of the templates to compare them to.
        same: bool [P], true for a genuine pair.
        fars: Target false accept rates.
        matcher: Compares the templates; by default their dot product does.

    Returns:
        Scores, their ROC curve and operating points.

    Raises:
        UserError: Lengths disagree, a number is no template's, or there are no genuine or no impostor pairs.
    """
    if not len(first) == len(second) == len(same):
        raise UserError(f"expected pairs first [P], second [P], same [P]; got {len(first)}, {len(second)}, {len(same)}")
    _check_numbers(templates, first, second)
    scores = score_pairs(templates, first, second, matcher)
    roc = roc_curve(scores, same)
    return TemplateVerification(scores, same, roc, far_operating_points(roc, fars))


def search_templates(
    templates: Templates, searches: Sequence[TemplateSearch], matcher: Matcher | None = None
) -> TemplateIdentification:
    """Search galleries for templates, 1:N.

    Args:
        templates: See `verify_templates`.
        searches: One for each gallery. A subject enrolled with several templates counts by the most similar.
        matcher: Compares the templates; by default their dot product does.

    Returns:
        Ranks, and similarities to mates and to others.

    Raises:
        UserError: A number is no template's.
    """
    for task in searches:
        _check_numbers(templates, task.gallery, task.probe)
    with _block_threads() as threads:
        return TemplateIdentification(tuple(_search_gallery(templates, task, threads, matcher) for task in searches))


def _search_gallery(templates: Templates, task: TemplateSearch, threads: Executor, matcher: Matcher | None) -> Searches:
    compare = _enrol(templates[task.gallery], matcher)

    def search_block(block: slice) -> Searches:
        return search(compare(templates[task.probe[block]]), task.probe_subject[block], task.gallery_subject)

    blocks = _blocks(len(task.probe), max(1, _SEARCHED // len(task.gallery)))
    return _joined(list(threads.map(search_block, blocks)))


def _enrol(gallery: NDArray[Any], matcher: Matcher | None) -> Callable[[Templates], NDArray[np.floating]]:
    """What gives similarities [S, G] of templates [S, D] to a gallery [G, D]; dot products are as precise as it is."""
    if matcher is None:
        transposed = gallery.T
        return lambda probes: probes.astype(gallery.dtype, copy=False) @ transposed
    compare = matcher.enrol(torch.from_numpy(gallery))
    return lambda probes: compare(torch.from_numpy(probes))


def _joined(parts: Sequence[Searches]) -> Searches:
    """Searches of the same gallery for some probes and others."""
    mated, mate, rival, rank = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("mated", "mate", "rival", "rank")
    )
    return Searches(mated, mate, rival, rank, parts[0].n_identities)


def _check_numbers(templates: Templates, *numbers: Numbers) -> None:
    for values in numbers:
        if len(values) and not 0 <= values.min() <= values.max() < len(templates):
            raise UserError(
                f"numbers of templates go from {values.min()} to {values.max()}; there are {len(templates)}"
            )


def score_pairs(
    templates: Templates, first: Numbers, second: Numbers, matcher: Matcher | None = None
) -> NDArray[np.float32]:
    """Similarities of pairs of templates.

    Lists that hold much of the grid of some templates and some others, as those of IJB do, are read off a product of
    matrices.

    Args:
        templates: See `verify_templates`.
        first: [P] numbers of templates.
        second: [P] numbers of the templates to compare them to.
        matcher: Compares the templates; by default their dot product does.

    Returns:
        float32 [P] similarities; dot products are computed in float64.
    """
    scores = np.empty(len(first), dtype=np.float32)
    rows, row = _positions(first, len(templates))
    columns, column = _positions(second, len(templates))
    if len(first) < _DENSE * len(rows) * len(columns):
        for block in _blocks(len(first), _GATHERED):
            scores[block] = _pairs(templates[first[block]], templates[second[block]], matcher)
    elif len(rows) * len(columns) > _GRID:
        upper = first >= rows[len(rows) // 2]
        for half in (upper, ~upper):
            scores[half] = score_pairs(templates, first[half], second[half], matcher)
    else:
        similarity = _similarities(templates[rows], templates[columns], matcher)
        for block in _blocks(len(first), _PAIRS):
            cells = row[first[block]] * len(columns) + column[second[block]]
            similarity.ravel().take(cells, out=scores[block], mode="clip")  # other modes take a copy for `out`
    return scores


def _pairs(first: Templates, second: Templates, matcher: Matcher | None) -> NDArray[np.floating]:
    """Similarities [P] of templates [P, D] to templates [P, D]."""
    if matcher is None:
        return np.einsum("pd,pd->p", first, second, dtype=np.float64)
    return matcher.pairs(torch.from_numpy(first), torch.from_numpy(second))


def _similarities(first: Templates, second: Templates, matcher: Matcher | None) -> NDArray[np.float32]:
    """Similarities [P, Q] of P and Q templates.

    Dot products are computed in float64: products of float32 matrices add up one term at a time, to errors of 6e-7
    where similarities are near 1.
    """
    similarity = np.empty((len(first), len(second)), dtype=np.float32)
    against_all = _enrol(second if matcher else second.astype(np.float64), matcher)

    def compare(block: slice) -> None:
        similarity[block] = against_all(first[block])

    with _block_threads() as threads:
        list(threads.map(compare, _blocks(len(first), _ROWS)))
    return similarity


def _positions(numbers: Numbers, count: int) -> tuple[Numbers, Numbers]:
    """Those of 0 .. count - 1 that occur, ascending, and int64 [count] the position of each of them in there."""
    occurs = np.zeros(count, dtype=np.bool_)
    occurs[numbers] = True
    return np.flatnonzero(occurs), np.cumsum(occurs) - 1


@contextmanager
def _block_threads() -> Iterator[Executor]:
    """A thread for each core, to work on blocks.

    Those of the matrix products themselves would wait, busily, while results are used.
    """
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        yield threads


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
