"""What is wrong with a gallery, and mending what interrupted calls left behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from src.errors import UserError
from src.models.cancellable.changes import StoreName, find_older_copy, finish
from src.models.cancellable.identifier_store import IdentifierStore
from src.models.cancellable.record_store import RecordStore
from src.models.cancellable.snapshot import counterparts
from src.models.cancellable.template_file import Records, concatenate
from src.models.cancellable.template_store import TemplateStore

__all__ = ["Audit", "Finding", "inspect", "mend"]

_BLOCK = 1 << 16
_CHANCE = 1e-9
"""Two equal identifiers are taken for one that was used twice if chance makes any with less than this probability."""


@dataclass(frozen=True)
class Finding:
    """Something that should not be.

    Attributes:
        store: Where.
        kind: What, in a few words.
        count: How many.
        detail: Which, and what to do.
    """

    store: StoreName
    kind: str
    count: int
    detail: str


@dataclass(frozen=True)
class Audit:
    """Outcome of an audit or a repair.

    Attributes:
        templates: Number of templates looked at.
        identifiers: Number of identifiers looked at.
        findings: What is wrong; after a repair, what still is.
        repaired: What a repair mended.
    """

    templates: int
    identifiers: int
    findings: list[Finding]
    repaired: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def inspect(templates: TemplateStore, identifiers: IdentifierStore) -> Audit:
    """Look at every byte of both stores, which nobody changes meanwhile."""
    findings = [*_leftovers("templates", templates), *_leftovers("identifiers", identifiers)]
    damage = [*_damage("templates", templates), *_damage("identifiers", identifiers)]
    findings += damage
    if not damage:
        findings += [*_disorder("templates", templates), *_disorder("identifiers", identifiers)]
        findings += [*_unmatched(templates, identifiers), *_reused(templates, identifiers)]
    return Audit(templates.index().records, identifiers.index().records, findings)


def mend(templates: TemplateStore, identifiers: IdentifierStore) -> Audit:
    """Erase what interrupted calls have left, unless a file is damaged or a store is an older copy."""
    before = inspect(templates, identifiers)
    if not any(finding.kind in (_DAMAGED, _OLDER) for finding in before.findings):
        finish(templates, identifiers)
    after = inspect(templates, identifiers)
    repaired = [finding for finding in before.findings if finding not in after.findings]
    return Audit(after.templates, after.identifiers, after.findings, repaired)


_DAMAGED, _OLDER = "damaged file", "older copy"


def _leftovers(name: StoreName, store: RecordStore) -> Iterator[Finding]:
    if left := store.leftovers():
        names = ", ".join(path.name for path in left)
        yield Finding(name, "leftover file", len(left), f"{store.folder}: {names}: of an interrupted call; repair")


def _damage(name: StoreName, store: RecordStore) -> Iterator[Finding]:
    for segment in store.index().segments:
        try:
            store.check_whole(segment)
        except UserError as error:
            yield Finding(name, _DAMAGED, 1, str(error))


def _disorder(name: StoreName, store: RecordStore) -> Iterator[Finding]:
    """Versions that are out of range or not unique, records out of order, bits where there should be none."""
    index, parts = store.index(), store.records()
    records = concatenate(parts, store.layout.words)
    used_twice = len(records) - len(np.unique(records.versions))
    if used_twice:
        yield Finding(name, "version used twice", used_twice, f"{store.folder}: enrol these people anew")
    high = int(np.count_nonzero(records.versions >= index.next_version))
    if high:
        yield Finding(name, "version not yet handed out", high, f"{store.folder}: is its index an older copy?")
    unordered = sum(int(np.count_nonzero(np.diff(part.pids) < 0)) for part in parts)
    if unordered:
        yield Finding(name, "record out of order", unordered, f"{store.folder}: restore it from a copy")
    padded = sum(int((rows & ~store.used_bits).any(axis=1).sum()) for rows in _row_blocks(records))
    if padded:
        yield Finding(name, "bits beyond the code", padded, f"{store.folder}: enrol these people anew")


def _unmatched(templates: TemplateStore, identifiers: IdentifierStore) -> Iterator[Finding]:
    lonely = [sum(int(mask.sum()) for mask in masks) for masks in counterparts(templates, identifiers)]
    if (older := find_older_copy(templates, identifiers)) is not None:
        yield Finding(older[0], _OLDER, 1, older[1])
    if lonely[0]:
        detail = "one of the folders is an older copy: restore it, or revoke these people; never compared until then"
        yield Finding("templates", "template without identifier", lonely[0], f"{templates.folder}: {detail}")
    if lonely[1]:
        is_copy = older is not None or lonely[0] > 0
        detail = f"{identifiers.folder}: " + ("see above" if is_copy else "of an interrupted call; repair")
        yield Finding("identifiers", "identifier without template", lonely[1], detail)


def _reused(templates: TemplateStore, identifiers: IdentifierStore) -> Iterator[Finding]:
    """Identifiers that are equal although chance does not make two of them so."""
    records = identifiers.identifiers()
    bits = templates.layout.m * templates.layout.bits
    if len(records) ** 2 * 2.0 ** -min(bits, 1000) > _CHANCE:
        return
    hashes = np.concatenate([np.empty(0, np.uint64), *(_hashes(rows) for rows in _row_blocks(records))])
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    equal = (records.rows[order[same]] == records.rows[order[same + 1]]).all(axis=1)
    if equal.any():
        detail = f"{identifiers.folder}: XOR of their templates is XOR of the codes; renew all"
        yield Finding("identifiers", "identifier used twice", int(equal.sum()), detail)


def _row_blocks(records: Records) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(records), _BLOCK):
        yield records.rows[np.arange(start, min(start + _BLOCK, len(records)))]


def _hashes(rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """uint64 [N], equal for equal rows and hardly ever for others."""
    factors = np.random.default_rng(0).integers(1 << 63, size=rows.shape[1], dtype=np.uint64) | np.uint64(1)
    return (rows.view(np.uint64) * factors).sum(axis=1, dtype=np.uint64)
