"""A gallery of ciphered templates that can be searched, renewed and revoked without a face (Dong et al. 2022)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from src.errors import UserError, check_choice
from src.models.cancellable.audit import Audit, inspect, mend
from src.models.cancellable.changes import add, finish, new_pids, renew, revoke, to_pids
from src.models.cancellable.creation import check_stores, create_stores
from src.models.cancellable.durable import check_writable, explain_failure
from src.models.cancellable.identifier_store import IdentifierKind, IdentifierStore
from src.models.cancellable.locks import SharedLock, lock_for_writing
from src.models.cancellable.outcome import GalleryStats, Matches
from src.models.cancellable.parameters import Parameters
from src.models.cancellable.snapshot import Snapshot
from src.models.cancellable.template_store import PARAMETERS, TemplateStore
from src.ops.hamming import Metric
from src.ops.lookup_table import LookupTable

__all__ = ["CancellableGallery", "GalleryStats", "Matches"]


class CancellableGallery:
    """Ciphered templates in one folder, what they are ciphered with in another.

    Every template is the bits of a code XORed with an identifier of its own; a probe is XORed with both, which leaves
    the bits in which the two codes differ. So scores are exactly those without a cipher, and whoever has only one of
    the two folders has noise. A person has a random number, his pid; whose face that is, the application knows. He
    may have several templates. A template is named by its pid and its version; versions are counted through the whole
    gallery and never come again, so that no identifier can serve twice.

    What a call has returned stays, whatever happens; one that is killed has done its whole work or none of it, and
    leaves at most what the next change or `repair` erases, see :mod:`src.models.cancellable.changes`.

    **Side by side:** one process writes, any number read, threads likewise. A search sees one state of both stores:
    it keeps the writer from replacing an index as long as it lasts, and the next one sees what the writer did.
    """

    def __init__(self, templates: Path, identifiers: Path) -> None:
        self.parameters = Parameters.read(templates / PARAMETERS)
        self._lock = SharedLock(identifiers)
        self._templates = TemplateStore(templates, self.parameters, self._lock.write)
        self._identifiers = IdentifierStore(identifiers, self.parameters, self._lock.write)
        self._writer: ExitStack | None = None
        self._is_finished = False
        self._one_at_a_time = threading.RLock()
        self._latest: Snapshot | None = None
        if self._templates.index().gallery != self._identifiers.index().gallery:
            raise UserError(f"{identifiers}: holds the identifiers of another gallery than that of {templates}")

    @staticmethod
    def exists(templates: Path | str) -> bool:
        """Whether a folder of templates belongs to a gallery."""
        return (Path(templates) / PARAMETERS).exists()

    @classmethod
    def create(
        cls,
        templates: Path | str,
        identifiers: Path | str,
        parameters: Parameters,
        identifier: IdentifierKind = "csprng",
    ) -> CancellableGallery:
        """Make an empty gallery and open it for writing.

        Args:
            templates: Folder, made if need be.
            identifiers: Folder, made if need be; only its owner may read it. It belongs on another machine, disk or
                account than the templates: who has both has the codes.
            parameters: What codes are.
            identifier: ``"csprng"`` draws and stores every identifier; ``"prf"`` draws and stores 16 bytes for each and
                derives it from them and one key.

        Raises:
            UserError: A folder holds a gallery, or one lies in the other, or others may read that of identifiers.
        """
        check_choice("identifier", identifier, ("csprng", "prf"))
        create_stores(Path(templates), Path(identifiers), parameters, identifier)
        return cls.open(templates, identifiers, write=True)

    @classmethod
    def open(cls, templates: Path | str, identifiers: Path | str, *, write: bool = False) -> CancellableGallery:
        """Open a gallery.

        Args:
            templates: See `create`.
            identifiers: See there.
            write: Be the one who may change it, until it is closed.

        Raises:
            UserError: There is no gallery; the folders are of different ones; others can read the identifiers; or
                another process is writing.
        """
        templates, identifiers = Path(templates), Path(identifiers)
        with explain_failure(identifiers, lambda: "the gallery was not opened"), ExitStack() as stack:
            check_stores(templates, identifiers)
            if write:
                stack.enter_context(lock_for_writing(templates, identifiers))
            gallery = cls(templates, identifiers)
            if write:
                gallery._writer = stack.pop_all()
            return gallery

    def close(self) -> None:
        """Let others write."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Number of people."""
        with self._snapshot() as snapshot:
            return len(snapshot.pids)

    @property
    def pids(self) -> list[int]:
        """Everybody, in ascending order; each from 1 to 2^63 - 1."""
        with self._snapshot() as snapshot:
            return snapshot.pids.tolist()

    def check_network(self, fingerprint: str) -> None:
        """Raise UserError unless the gallery's codes are those of the network with this fingerprint."""
        if fingerprint != self.parameters.network:
            raise UserError(
                f"{self._templates.folder}: its codes are another model's (network {self.parameters.network}, this is "
                f"{fingerprint}); give the checkpoint it was enrolled with, or enrol into new folders"
            )

    def draw_pids(self, count: int) -> list[int]:
        """Random pids that are nobody's, for an application that notes whose they are before it enrols them."""
        with self._lock.read():
            return new_pids(count, self._templates.records()).tolist()

    def enrol(self, codes: Tensor | NDArray[np.uint8], pids: Sequence[int] | None = None) -> list[int]:
        """Add templates; they are durable on return.

        Args:
            codes: uint8 [n, m], values 0..q-1.
            pids: Whose they are: people of this gallery, or new ones, see `draw_pids`; a pid may occur more than once.
                None makes each the first template of a new person.

        Returns:
            Whose they are, n pids.

        Raises:
            UserError: Codes are not those of this gallery, or there are not n pids.
        """
        with self._changing():
            words = self.parameters.to_words(codes, self._table)
            return add(self._templates, self._identifiers, words, None if pids is None else to_pids(pids)).tolist()

    def identify(
        self,
        codes: Tensor | NDArray[np.uint8],
        k: int = 10,
        threshold: float | None = None,
        metric: Metric = "symbols",
    ) -> Matches:
        """Find the people whose templates are nearest to probes.

        Args:
            codes: uint8 [Q, m], values 0..q-1.
            k: How many people to find for each.
            threshold: Least score of those to find, by default that of the parameters, which is one for symbols.
            metric: Whether to compare symbols or bits.

        Raises:
            UserError: Codes are not those of this gallery, ``k`` is less than 1, or bits need a threshold of their own.
        """
        check_choice("metric", metric, ("symbols", "bits"))
        if k < 1:
            raise UserError(f"k={k}: expected at least 1")
        least = self.parameters.least_score(metric, threshold)
        words, bits = self.parameters.to_words(codes, self._table), self.parameters.bits
        with self._snapshot() as snapshot:
            nearest, skipped = snapshot.search(words, k, metric, bits), snapshot.skipped
        return Matches.of(nearest, self.parameters.m * (1 if metric == "symbols" else bits), least, skipped)

    def renew(self, pids: Sequence[int] | None = None) -> int:
        """Give all templates of some people new identifiers; scores stay the same, no face is needed.

        Args:
            pids: People; None means everybody.

        Returns:
            Number of templates.

        Raises:
            UserError: A pid is unknown, or a template has no identifier; nothing was changed.
        """
        with self._changing():
            return renew(self._templates, self._identifiers, None if pids is None else to_pids(pids))

    def revoke(self, pids: Sequence[int]) -> int:
        """Delete all templates of some people and overwrite their identifiers.

        Args:
            pids: People.

        Returns:
            Number of templates.

        Raises:
            UserError: A pid is unknown; nobody was revoked.
        """
        with self._changing():
            return revoke(self._templates, self._identifiers, to_pids(pids))

    def audit(self) -> Audit:
        """Look for whatever should not be, in every byte of both stores.

        Raises:
            UserError: Another process is writing.
        """
        with self._undisturbed():
            return inspect(self._templates, self._identifiers)

    def repair(self) -> Audit:
        """Erase what interrupted calls left behind; a template is never deleted.

        Where a file is missing or damaged, or one of the folders is an older copy, both stay as they are: restore what
        is missing first.
        """
        with self._writing():
            return mend(self._templates, self._identifiers)

    def stats(self) -> GalleryStats:
        """What the gallery holds."""
        with self._snapshot() as snapshot:
            index = snapshot.indexes[0]
            return GalleryStats(
                people=len(snapshot.pids),
                templates=index.records,
                renewals=index.renewals,
                template_bytes=self._templates.bytes(),
                identifier_bytes=self._identifiers.bytes(),
                identifier=self._identifiers.kind,
                parameters=self.parameters,
            )

    @contextmanager
    def _snapshot(self) -> Iterator[Snapshot]:
        """The present state of both stores, which stays as long as the context."""
        with self._lock.read():
            snapshot = self._latest
            if snapshot is None or snapshot.indexes != (self._templates.index(), self._identifiers.index()):
                snapshot = self._latest = Snapshot(self._templates, self._identifiers)
            yield snapshot

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._writer is None:
            raise UserError(f"{self._templates.folder}: the gallery is open for reading only, or closed")
        for folder in (self._templates.folder, self._identifiers.folder):
            check_writable(folder)
        with self._one_at_a_time:
            yield

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Begins with what an interrupted call of this process or an earlier one has left."""
        with self._writing():
            if not self._is_finished:
                finish(self._templates, self._identifiers)
            self._is_finished = False
            yield
            self._is_finished = True

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """No writer but perhaps this one."""
        with self._one_at_a_time, ExitStack() as stack:
            if self._writer is None:
                stack.enter_context(lock_for_writing(self._templates.folder, self._identifiers.folder))
            yield

    @cached_property
    def _table(self) -> LookupTable:
        return self.parameters.lookup_table(self._identifiers.lut_seed)
