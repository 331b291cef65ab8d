"""``privface gallery identify``: who of a gallery is on photographs."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from src.apps.gallery.arguments import check_kind, to_path
from src.apps.gallery.encoding import Encoder
from src.apps.gallery.interruption import stops_cleanly
from src.apps.gallery.output import check_writable, count, grid, list_unreadable, private_write
from src.apps.gallery.people_table import PeopleTable
from src.apps.gallery.photographs import Photograph, describe_alignment, find_photographs
from src.errors import UserError, check_choice
from src.files import explain_full_disk
from src.models.cancellable.gallery import CancellableGallery
from src.ops.hamming import Metric
from src.progress import image_progress

__all__ = ["run"]

_AT_ONCE = 256
"""Photographs that are looked for together."""

_SHOWN = 20


@dataclass(frozen=True)
class _Candidate:
    query: str
    rank: int
    pid: int
    score: float


def run(
    images: Path | str,
    ckpt_path: Path | str,
    templates: Path | str,
    identifiers: Path | str,
    *,
    k: int,
    threshold: float | None,
    metric: Metric,
    out: Path | str,
    people: Path | str | None,
    batch_size: int,
    device: str,
    max_bad_fraction: float,
) -> None:
    """Look for the people, write a table of candidates, and print the best.

    Args:
        images: Folder of photographs at any depth, or one file.
        ckpt_path: Checkpoint that enrolled.
        templates: Folder of the template store.
        identifiers: Folder of the identifier store.
        k: Candidates per photograph, at most.
        threshold: Least score of a candidate, from 0 to 1; None is the gallery's, which is one of symbols.
        metric: What the score is a fraction of.
        out: CSV file ``query,rank,pid,score`` to write; photographs without a candidate have no row.
        people: Table that enrolment wrote, to print names instead of numbers.
        batch_size: See :class:`~src.apps.gallery.encoding.Encoder`.
        device: See there.
        max_bad_fraction: See there.

    Raises:
        UserError: Something is missing or does not fit, raised before any long work; or too many photographs are
            unreadable.
    """
    start = time.perf_counter()
    _check(k, threshold, metric)
    templates, identifiers = to_path("templates", templates), to_path("identifiers", identifiers)
    images, out, checkpoint = to_path("images", images), to_path("out", out), to_path("ckpt_path", ckpt_path)
    check_writable(out)
    names = {} if people is None else _names(to_path("people", people))
    photographs = find_photographs(images)
    with stops_cleanly("Nothing was written."), CancellableGallery.open(templates, identifiers) as gallery:
        encoder = Encoder(checkpoint, device=device, batch_size=batch_size, max_bad_fraction=max_bad_fraction)
        gallery.check_network(encoder.fingerprint)
        threshold = gallery.parameters.least_score(metric, threshold)
        queries, codes = _encode(encoder, photographs, flip=gallery.parameters.flip)
        candidates, skipped = _search(gallery, queries, codes, k, threshold, metric)
        with explain_full_disk(out, "nothing was written"):
            _write(out, candidates)
        list_unreadable(encoder.unreadable)
        facts = _describe(candidates, len(queries), photographs)
        facts.add_row("searched", count(len(gallery), "person", "people"))
    facts.add_row("written", f"{out}: {count(len(candidates), 'row')} query,rank,pid,score")
    facts.add_row("time", f"{time.perf_counter() - start:,.1f} s")
    console = Console()
    console.print(_best(candidates, names), facts)
    if skipped:
        Console(stderr=True).print(
            f"[yellow]{count(skipped, 'template')} could not be compared, no identifier opens them; "
            "privface gallery audit tells more.",
            highlight=False,
            soft_wrap=True,
        )


def _check(k: int, threshold: float | None, metric: str) -> None:
    check_choice("metric", metric, get_args(Metric))
    check_kind("k", k, int)
    check_kind("threshold", threshold, float)
    if k < 1:
        raise UserError(f"k={k}: expected at least 1")
    if threshold is not None and not 0 <= threshold <= 1:
        raise UserError(f"threshold={threshold}: expected a score from 0 to 1")


def _names(people: Path) -> dict[int, str]:
    table = PeopleTable.existing(people)
    return {row.pid: row.person for row in [*table, *(table.pending.rows if table.pending else ())]}


def _encode(encoder: Encoder, photographs: Sequence[Photograph], *, flip: bool) -> tuple[list[str], Tensor]:
    """Names and codes of the photographs that can be read."""
    names: list[str] = []
    codes = [torch.empty(0, encoder.m * (2 if flip else 1), dtype=torch.uint8)]
    with image_progress() as progress:
        bar = progress.add_task("encoding", total=len(photographs))
        for readable, batch in encoder.encode(photographs, flip=flip, out_of=len(photographs)):
            names += [photograph.name for photograph in readable]
            codes.append(batch)
            progress.update(bar, completed=len(names) + len(encoder.unreadable))
    return names, torch.cat(codes)


def _search(
    gallery: CancellableGallery,
    queries: Sequence[str],
    codes: Tensor,
    k: int,
    threshold: float,
    metric: Metric,
) -> tuple[list[_Candidate], int]:
    """All candidates, by query and rank, and the number of templates that could not be compared."""
    k = max(1, min(k, len(gallery)))  # more than everybody would only take memory
    candidates: list[_Candidate] = []
    skipped = 0
    with image_progress() as progress:
        bar = progress.add_task("searching", total=len(queries))
        for start in range(0, len(queries), _AT_ONCE):
            names = queries[start : start + _AT_ONCE]
            matches = gallery.identify(codes[start : start + _AT_ONCE], k, threshold, metric)
            candidates += _rows(names, matches.pids, matches.scores)
            skipped = max(skipped, matches.skipped)
            progress.advance(bar, len(names))
    return candidates, skipped


def _rows(names: Sequence[str], pids: Tensor, scores: Tensor) -> Iterator[_Candidate]:
    for name, people, values in zip(names, pids.tolist(), scores.tolist(), strict=True):
        for rank, (pid, score) in enumerate(zip(people, values, strict=True), start=1):
            if pid >= 0:
                yield _Candidate(name, rank, pid, score)


def _write(path: Path, candidates: Sequence[_Candidate]) -> None:
    with private_write(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["query", "rank", "pid", "score"])
        writer.writerows((row.query, row.rank, row.pid, f"{row.score:.6f}") for row in candidates)


def _best(candidates: Sequence[_Candidate], names: Mapping[int, str]) -> Table:
    table = Table("photograph", "best candidate", "score")
    table.columns[0].overflow = "fold"
    table.columns[1].justify = table.columns[2].justify = "right"
    best = [row for row in candidates if row.rank == 1]
    for row in best[:_SHOWN]:
        table.add_row(row.query, names.get(row.pid, str(row.pid)), f"{row.score:.3f}")
    if len(best) > _SHOWN:
        table.add_row(f"and {len(best) - _SHOWN:,} more", "", "")
    return table


def _describe(candidates: Sequence[_Candidate], queries: int, photographs: Sequence[Photograph]) -> Table:
    found = len({row.query for row in candidates})
    facts = grid()
    facts.add_row("photographs", f"{queries:,}, {found:,} of them with a candidate")
    facts.add_row("faces", describe_alignment(photographs))
    return facts
