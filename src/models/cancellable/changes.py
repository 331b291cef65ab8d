"""Changes of both stores of a gallery, each of which happens at one moment or not at all.

**What holds at every moment,** also after a kill or a loss of power: each template that counts has its identifier.
A change happens when the index of the templates is renamed into place; the index of the identifiers is changed before
it to take identifiers in, and after it to let them go:

* enrol: identifiers in, *templates in*.
* renew: new identifiers in, *templates under the new ones in and those under the old ones out*, old identifiers
  overwritten.
* revoke: *templates out*, identifiers overwritten.

The step in italics is the change, for all templates of a call at once. Interrupted before it, a call leaves identifiers
that belong to no template yet; after it, such that belong to none any more; in both cases perhaps files that do not
count. None of that is ever compared with a probe; an audit finds it, and `finish` erases it: in a repair, and before
the next change. Every step is on the disk before the next one begins: a file before the index that names it, an index
before what it no longer names is overwritten. A version is used up, on the disk, before a template that has it is
written.

**Older copies.** A call that is through notes in the index of the identifiers how far the versions of the templates
have come. So templates that have not come that far, and identifiers that have not come as far as the templates, are not
what an interrupted call has left, but an older copy that somebody has put in the place of a newer one: nothing is
changed or erased then. No interrupted call leaves a template without identifier either: where there is one, `finish`
erases nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from src.errors import UserError
from src.models.cancellable.durable import explain_failure
from src.models.cancellable.identifier_store import IdentifierStore
from src.models.cancellable.snapshot import counterparts, identifier_places
from src.models.cancellable.template_file import Records, Rows, concatenate
from src.models.cancellable.template_store import TemplateStore

__all__ = ["StoreName", "add", "find_older_copy", "finish", "new_pids", "renew", "revoke", "to_pids"]

StoreName = Literal["templates", "identifiers"]

_NOT_ERASED = (
    "but what went out of use may still be on the disk; the next call that changes the gallery erases it, or a repair"
)
_LARGEST = np.iinfo(np.int64).max

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


def add(templates: TemplateStore, identifiers: IdentifierStore, words: Integers, pids: Integers | None) -> Integers:
    """Add templates.

    Args:
        templates: The one store.
        identifiers: The other.
        words: int64 [n, W], bits of codes.
        pids: int64 [n], whose they are; None makes each the first template of a new person.

    Returns:
        int64 [n], whose they are.

    Raises:
        UserError: There are not n pids.
    """
    if pids is None:
        pids = new_pids(len(words), templates.records())
    if len(pids) != len(words):
        raise UserError(f"there are {len(words)} codes but {len(pids)} pids")
    if len(words):
        with _explained(templates, "all were enrolled"):
            issued = identifiers.issue(pids)
            templates.add(Records(pids, issued.versions, words ^ issued.rows[np.arange(len(words))]))
            with suppress(OSError):  # the templates are in, and the next call makes it good
                identifiers.commit(templates_version=templates.index().next_version)
    return pids


def renew(templates: TemplateStore, identifiers: IdentifierStore, pids: Integers | None) -> int:
    """Give all templates of some people new identifiers.

    Args:
        templates: The one store.
        identifiers: The other.
        pids: int64 [n], people; None means everybody.

    Returns:
        Number of templates.

    Raises:
        UserError: A pid is unknown, or a template has no identifier.
    """
    present = templates.records()
    chosen = _chosen(templates, present, pids)
    parts = [records.take(np.flatnonzero(mask)) for records, mask in zip(present, chosen, strict=True)]
    old = concatenate(parts, templates.layout.words)
    _places(identifiers, old)  # refuses before anything is changed
    if not len(old):
        return 0
    with _explained(templates, f"all were renewed, {_NOT_ERASED}"):
        new = identifiers.issue(old.pids)
        # Looked up only now: what was mapped before may have moved to another file, and its place been overwritten.
        before = identifiers.identifiers().take(_places(identifiers, old))
        templates.add(Records(old.pids, new.versions, _Reciphered(old.rows, before.rows, new.rows)), chosen)
        gone = [np.isin(records.versions, old.versions) for records in identifiers.records()]
        identifiers.commit(gone, templates_version=templates.index().next_version)
    return len(old)


def revoke(templates: TemplateStore, identifiers: IdentifierStore, pids: Integers) -> int:
    """Delete all templates of some people and overwrite their identifiers.

    Args:
        templates: The one store.
        identifiers: The other.
        pids: int64 [n], people.

    Returns:
        Number of templates.

    Raises:
        UserError: A pid is unknown.
    """
    chosen = _chosen(templates, templates.records(), pids)
    with _explained(templates, f"all were revoked, {_NOT_ERASED}"):
        templates.commit(chosen)
        identifiers.commit([np.isin(records.pids, pids) for records in identifiers.records()])
    return sum(int(np.count_nonzero(mask)) for mask in chosen)


def finish(templates: TemplateStore, identifiers: IdentifierStore) -> None:
    """Erase what an interrupted call has left: files that do not count, and identifiers that belong to no template.

    Where a template has no identifier nothing is erased: one of the stores is an older copy, and which cannot be told.

    Raises:
        UserError: One of the stores is an older copy, or a file is missing or damaged; nothing was erased.
    """
    if (older := find_older_copy(templates, identifiers)) is not None:
        raise UserError(older[1])
    without_identifier, without_template = counterparts(templates, identifiers)
    is_superfluous, is_lost = (any(map(np.any, masks)) for masks in (without_template, without_identifier))
    if is_superfluous or is_lost or templates.leftovers() or identifiers.leftovers():
        for store in (templates, identifiers):
            for segment in store.index().segments:
                store.check_whole(segment)
    if is_lost:
        return
    with explain_failure(identifiers.folder, lambda: f"{_NOT_ERASED.removeprefix('but ')}; nothing else was changed"):
        templates.delete_leftovers()
        identifiers.delete_leftovers()
        reached = templates.index().next_version
        if is_superfluous or identifiers.index().templates_version != reached:
            identifiers.commit(without_template, templates_version=reached)


def find_older_copy(templates: TemplateStore, identifiers: IdentifierStore) -> tuple[StoreName, str] | None:
    """Which of the stores is an older copy than the other, in words too; None if neither is."""
    reached, known = templates.index().next_version, identifiers.index()
    restore = "restore the newer ones, or both from copies of the same time; until then nothing is changed"
    if reached > known.next_version:
        return "identifiers", f"{identifiers.folder}: the identifiers are an older copy than the templates; {restore}"
    if reached < known.templates_version:
        return "templates", f"{templates.folder}: the templates are an older copy than the identifiers; {restore}"
    return None


def to_pids(pids: Sequence[int]) -> Integers:
    """Numbers of people as int64 [n].

    Raises:
        UserError: One is no pid.
    """
    for pid in pids:
        if not isinstance(pid, int) or not 0 < pid <= _LARGEST:
            raise UserError(f"{pid!r} is no pid; expected a number from 1 to 2^63 - 1")
    return np.array(pids, np.int64)


@dataclass(frozen=True)
class _Reciphered:
    """Templates under other identifiers."""

    ciphered: Rows
    old: Rows
    new: Rows

    def __getitem__(self, positions: Integers) -> Integers:
        return self.ciphered[positions] ^ self.old[positions] ^ self.new[positions]


def new_pids(count: int, present: Sequence[Records]) -> Integers:
    """Random numbers that are nobody's, as int64 [count]."""
    while True:
        drawn = np.frombuffer(secrets.token_bytes(8 * count), np.int64) & _LARGEST
        if len(np.unique(drawn)) == count and drawn.all() and not _held(present, drawn).any():
            return drawn


def _explained(templates: TemplateStore, happened: str) -> AbstractContextManager[None]:
    """Says, where the operating system refuses something, whether the change had happened by then."""
    before = templates.index()
    return explain_failure(templates.folder, lambda: "nothing was changed" if templates.index() == before else happened)


def _chosen(templates: TemplateStore, present: Sequence[Records], pids: Integers | None) -> list[Mask]:
    """Which records of ``present`` are those of some people, as bool [N] for each file."""
    if pids is None:
        return [np.ones(len(records), bool) for records in present]
    _check_known(templates, present, pids)
    return [np.isin(records.pids, pids) for records in present]


def _check_known(templates: TemplateStore, present: Sequence[Records], pids: Integers) -> None:
    unknown = pids[~_held(present, pids)]
    if len(unknown):
        raise UserError(
            f"{templates.folder}: {len(unknown)} of the pids are nobody's in this gallery, the first is {unknown[0]}; "
            "nothing was changed"
        )


def _held(present: Sequence[Records], pids: Integers) -> Mask:
    """Whether there are records of each of ``pids``, as bool [n]; files are in the order of their pids."""
    held = np.zeros(len(pids), bool)
    for records in present:
        nearest = np.searchsorted(records.pids, pids).clip(max=len(records) - 1)
        held |= records.pids[nearest] == pids
    return held


def _places(identifiers: IdentifierStore, records: Records) -> Integers:
    places = identifier_places([records], identifiers.identifiers())[0]
    missing = int(np.count_nonzero(places < 0))
    if missing:
        raise UserError(
            f"{identifiers.folder}: holds no identifier for {missing} of the templates, so that they cannot be "
            "renewed; one of the folders is an older copy: restore it, or revoke these people"
        )
    return places
