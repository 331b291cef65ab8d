"""The identifiers that templates are XORed with, and the other secrets of a gallery."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter

from src.errors import UserError
from src.models.cancellable.durable import PRIVATE, check_private, replace_file
from src.models.cancellable.parameters import Parameters
from src.models.cancellable.record_store import RecordStore
from src.models.cancellable.template_file import PLANES, Layout, Records, concatenate

__all__ = ["IdentifierKind", "IdentifierStore", "Secrets"]

IdentifierKind = Literal["csprng", "prf"]

_SECRETS = "secrets.json"
_INFO = b"drh/id/v1"
_SEED_BYTES = 32


@dataclass(frozen=True)
class Secrets:
    """What is secret beside the identifiers themselves.

    Attributes:
        schema: Of the file.
        lut_seed: Seed of the lookup table, in hex.
        master_key: What identifiers are derived from, in hex; None where each is drawn at random and stored.
    """

    __pydantic_config__: ClassVar = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    schema: Literal[1]
    lut_seed: str
    master_key: str | None


_FILE = TypeAdapter(Secrets)


class IdentifierStore(RecordStore):
    """One identifier of as many random bits as a template has, for each template and each version of it.

    With ``csprng`` the operating system draws every identifier and the store holds it. With ``prf`` the store holds
    only which (pid, version) exist; the identifier is AES-256 of the blocks (pid, version, number of the block) under
    a key from HKDF of the master key, so that who has that key has all identifiers, deleted ones too.

    Args:
        folder: Holds ``secrets.json``, the index and the files; only its owner may read them.
        parameters: Of the gallery.
        alone: See `RecordStore`.

    Raises:
        UserError: The secrets are missing or damaged, or others can read them.
    """

    def __init__(self, folder: Path, parameters: Parameters, alone: Callable[[], AbstractContextManager]) -> None:
        check_private(folder)
        self.secrets = _read_secrets(folder / _SECRETS)
        words = parameters.words if self.kind == "csprng" else 0
        layout = Layout(b"DRHI", PLANES, parameters.m, parameters.q, parameters.bits, words)
        super().__init__(folder, layout, "drhi", used_bits=parameters.used_bits, secret=True, alone=alone)

    @staticmethod
    def prepare(folder: Path, kind: IdentifierKind) -> None:
        """Draw the secrets of a folder; those of an earlier gallery are lost."""
        check_private(folder)
        drawn = Secrets(1, secrets.token_hex(_SEED_BYTES), secrets.token_hex(_SEED_BYTES) if kind == "prf" else None)
        replace_file(folder / _SECRETS, _FILE.dump_json(drawn, indent=2) + b"\n", PRIVATE)

    @property
    def kind(self) -> IdentifierKind:
        """Where identifiers come from."""
        return "csprng" if self.secrets.master_key is None else "prf"

    @property
    def lut_seed(self) -> bytes:
        """Seed of the lookup table."""
        return bytes.fromhex(self.secrets.lut_seed)

    def issue(self, pids: NDArray[np.int64]) -> Records:
        """Make a new identifier for each of ``pids``, durably.

        Args:
            pids: int64 [n], in any order, some of them perhaps more than once.

        Returns:
            The identifiers, in the order of ``pids``.
        """
        versions = self.unused_versions(len(pids))
        if self.secrets.master_key is not None:
            nothing = np.empty((len(pids), 0), np.int64)
            self.add(Records(pids, versions, nothing))
            return Records(pids, versions, self._derived(pids, versions))
        drawn = np.frombuffer(secrets.token_bytes(self.used_bits.nbytes * len(pids)), np.int64)
        records = Records(pids, versions, drawn.reshape(len(pids), -1) & self.used_bits)
        self.add(records)
        return records

    def identifiers(self) -> Records:
        """All identifiers; those derived from the master key are computed when they are asked for."""
        stored = concatenate(self.records(), self.layout.words)
        if self.secrets.master_key is None:
            return stored
        return Records(stored.pids, stored.versions, self._derived(stored.pids, stored.versions))

    def _derived(self, pids: NDArray[np.int64], versions: NDArray[np.uint32]) -> _Derived:
        assert self.secrets.master_key is not None
        key = HKDF(SHA256(), length=32, salt=None, info=_INFO).derive(bytes.fromhex(self.secrets.master_key))
        return _Derived(key, pids, versions, self.used_bits)


@dataclass(frozen=True)
class _Derived:
    """Identifiers that are computed from a key.

    Attributes:
        key: 32 bytes.
        pids: int64 [N].
        versions: uint32 [N].
        used: int64 [W], ones where an identifier has a bit.
    """

    key: bytes
    pids: NDArray[np.int64]
    versions: NDArray[np.uint32]
    used: NDArray[np.int64]

    def __getitem__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        blocks = np.empty((len(positions), -(-len(self.used) // 2)), _BLOCK)
        blocks["pid"] = self.pids[positions, None]
        blocks["version"] = self.versions[positions, None]
        blocks["number"] = np.arange(blocks.shape[1])
        # Each block is a counter that never comes again: together they are the key stream of counter mode.
        stream = Cipher(AES(self.key), ECB()).encryptor().update(blocks.tobytes())
        return np.frombuffer(stream, "<i8").reshape(len(blocks), 2 * blocks.shape[1])[:, : len(self.used)] & self.used


_BLOCK = np.dtype([("pid", "<i8"), ("version", "<u4"), ("number", "<u4")])


def _read_secrets(path: Path) -> Secrets:
    try:
        read = _FILE.validate_json(path.read_bytes())
        keys = [read.lut_seed] if read.master_key is None else [read.lut_seed, read.master_key]
        if any(len(bytes.fromhex(key)) != _SEED_BYTES for key in keys):
            raise UserError(f"{path}: expected {_SEED_BYTES} bytes in hex for each secret; restore it from a copy")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); without it no template can be compared") from error
    except UserError:
        raise
    except ValueError:
        # Neither the error nor its cause is named: they may quote a secret.
        raise UserError(f"{path}: not the secrets of a gallery; restore it from a copy") from None
    return read
