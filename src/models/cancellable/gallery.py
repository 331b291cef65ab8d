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
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.errors import UserError, check_choice
from src.models.cancellable.audit import Audit, inspect, mend
from src.models.cancellable.changes import add, renew, revoke, to_pids
from src.models.cancellable.creation import check_folders, create_stores
from src.models.cancellable.identifier_store import IdentifierKind, IdentifierStore
from src.models.cancellable.locks import SharedLock, lock_for_writing
from src.models.cancellable.outcome import GalleryStats, Matches
from src.models.cancellable.parameters import Parameters
from src.models.cancellable.snapshot import Snapshot
from src.models.cancellable.template_store import PARAMETERS, TemplateStore
from src.ops.code_bits import pack_planes
from src.ops.hamming import Metric
from src.ops.lookup_table import LookupTable

__all__ = ["CancellableGallery", "GalleryStats", "Matches"]

_BLOCK = 4096

Integers = NDArray[np.int64]


class CancellableGallery:
    """Ciphered templates in one folder, what they are ciphered with in another.

    Every template is the bits of a code XORed with an identifier of its own; a probe is XORed with both, which leaves
    the bits in which the two codes differ. So scores are exactly those without a cipher, and whoever has only one of
    the two folders has noise. A person has a random number, his pid; whose face that is, the application knows. He
    may have several templates. A template is named by its pid and its version; versions are counted through the whole
    gallery and never come again, so that no identifier can serve twice.

    What a call has returned stays, whatever happens; one that is killed has done its whole work or none of it, and
    leaves at most what `repair` erases, see :mod:`src.models.cancellable.changes`.

    **Side by side:** one process writes, any number read, threads likewise. A search sees one state of both stores:
    it keeps the writer from replacing an index as long as it lasts, and the next one sees what the writer did.
    """

    def __init__(self, templates: Path, identifiers: Path, writer: ExitStack | None) -> None:
        self.parameters = Parameters.read(templates / PARAMETERS)
        self._lock = SharedLock(identifiers)
        self._templates = TemplateStore(templates, self.parameters, self._lock.write)
        self._identifiers = IdentifierStore(identifiers, self.parameters, self._lock.write)
        self._writer = writer
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
            identifier: ``"csprng"`` draws and stores every identifier; ``"prf"`` derives them from one key.

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
        check_folders(templates, identifiers)
        if not cls.exists(templates):
            raise UserError(f"{templates}: holds no gallery, {PARAMETERS} is missing; enrol somebody to make one")
        if not identifiers.is_dir():
            raise UserError(f"{identifiers}: no such folder; give that of the identifiers of {templates}")
        with ExitStack() as stack:
            if write:
                stack.enter_context(lock_for_writing(templates, identifiers))
            return cls(templates, identifiers, stack.pop_all() if write else None)

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

    def enrol(self, codes: Tensor | NDArray[np.uint8], pids: Sequence[int] | None = None) -> list[int]:
        """Add templates; they are durable on return.

        Args:
            codes: uint8 [n, m], values 0..q-1.
            pids: Whose they are, people of this gallery; None makes each the first template of a new person.

        Returns:
            Whose they are, n pids.

        Raises:
            UserError: Codes are not those of this gallery; or a pid is unknown.
        """
        with self._writing():
            owners = None if pids is None else to_pids(pids)
            return add(self._templates, self._identifiers, self._words(codes), owners).tolist()

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
            threshold: Least score of those to find, by default that of the parameters.
            metric: Whether to compare symbols or bits.

        Raises:
            UserError: Codes are not those of this gallery, or ``k`` is less than 1.
        """
        check_choice("metric", metric, ("symbols", "bits"))
        if k < 1:
            raise UserError(f"k={k}: expected at least 1")
        words, bits = self._words(codes), self.parameters.bits
        with self._snapshot() as snapshot:
            nearest, skipped = snapshot.search(words, k, metric, bits), snapshot.skipped
        scores = 1 - nearest.distances / (self.parameters.m * (1 if metric == "symbols" else bits))
        nobody = (nearest.pids < 0) | (scores < (self.parameters.threshold if threshold is None else threshold))
        return Matches(
            torch.from_numpy(np.where(nobody, -1, nearest.pids)),
            torch.from_numpy(np.where(nobody, 0, scores).astype(np.float32)),
            torch.from_numpy(np.where(nobody, -1, nearest.distances).astype(np.int32)),
            skipped,
        )

    def renew(self, pids: Sequence[int] | None = None) -> int:
        """Give all templates of some people new identifiers; scores stay the same, no face is needed.

        Args:
            pids: People; None means everybody.

        Returns:
            Number of templates.

        Raises:
            UserError: A pid is unknown, or a template has no identifier; nothing was changed.
        """
        with self._writing():
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
        with self._writing():
            return revoke(self._templates, self._identifiers, to_pids(pids))

    def audit(self) -> Audit:
        """Look for whatever should not be, in every byte of both stores.

        Raises:
            UserError: Another process is writing.
        """
        with self._undisturbed():
            return inspect(self._templates, self._identifiers)

    def repair(self) -> Audit:
        """Erase what interrupted calls left behind; nothing that a call has returned is lost.

        A store of which a file is missing or damaged is left as it is: restore the file from a copy first.
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
        with self._one_at_a_time:
            yield

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

    def _words(self, codes: Tensor | NDArray[np.uint8]) -> Integers:
        """int64 [n, W], the bits of codes."""
        values = np.asarray(codes)
        if values.ndim != 2 or values.shape[1] != self.parameters.m:
            raise UserError(f"expected codes uint8 [n, {self.parameters.m}], found {values.dtype} {list(values.shape)}")
        words = np.empty((len(values), self.parameters.words), np.int64)
        for start in range(0, len(values), _BLOCK):
            words[start : start + _BLOCK] = pack_planes(self._table.encode(values[start : start + _BLOCK]))
        return words
