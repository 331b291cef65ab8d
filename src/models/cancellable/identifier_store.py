"""The identifiers that templates are XORed with, and the other secrets of a gallery."""

from __future__ import annotations

import re
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
from src.models.cancellable.template_file import PLANES, Layout, Records, Rows, concatenate

__all__ = ["IdentifierKind", "IdentifierStore", "Secrets"]

IdentifierKind = Literal["csprng", "prf"]

_SECRETS = "secrets.json"
_INFO = b"drh/id/v1"
_SEED_BYTES = 32
_START_WORDS = 2
_OWN_WHEN_NEW = re.compile(r".+\.lock|\..+\.tmp")
"""What lies in a folder before its secrets do."""


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

    With ``csprng`` the operating system draws every identifier and the store holds it. With ``prf`` it draws a start of
    128 bits and the store holds that; the identifier is the key stream of AES-256 in counter mode from there, under a
    key from HKDF of the master key. Neither kind is a function of (pid, version): those come again when both stores are
    restored from copies, and an identifier must not. And both are lost with the record, whoever has the master key.

    Args:
        folder: Holds ``secrets.json``, the index and the files; only its owner may read them.
        parameters: Of the gallery.
        alone: See `RecordStore`.

    Raises:
        UserError: The secrets are missing or damaged, or others can read them.
    """

    def __init__(self, folder: Path, parameters: Parameters, alone: Callable[[], AbstractContextManager]) -> None:
        IdentifierStore.check(folder)
        check_private(folder)
        self.secrets = _read_secrets(folder / _SECRETS)
        self._template_bits = parameters.used_bits
        drawn = self._template_bits if self.kind == "csprng" else np.full(_START_WORDS, -1, np.int64)
        layout = Layout(b"DRHI", PLANES, parameters.m, parameters.q, parameters.bits, len(drawn))
        super().__init__(folder, layout, "drhi", used_bits=drawn, secret=True, alone=alone)

    @staticmethod
    def check(folder: Path) -> None:
        """Raise UserError if a folder is none of identifiers."""
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give that of the identifiers")
        if not (folder / _SECRETS).exists():
            raise UserError(
                f"{folder}: holds no {_SECRETS}: not a folder of identifiers; give that folder, or restore the file "
                "from a copy if this is it: without it no template can be compared"
            )

    @staticmethod
    def check_usable(folder: Path) -> None:
        """Raise UserError if identifiers cannot be put in a folder, because it holds something else."""
        if any(not _OWN_WHEN_NEW.fullmatch(path.name) for path in folder.iterdir()):
            IdentifierStore.check(folder)

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
        drawn = np.frombuffer(secrets.token_bytes(self.used_bits.nbytes * len(pids)), np.int64)
        records = Records(pids, versions, drawn.reshape(len(pids), -1) & self.used_bits)
        self.add(records)
        return self._opened(records)

    def identifiers(self) -> Records:
        """All identifiers; those derived from the master key are computed when they are asked for."""
        return self._opened(concatenate(self.records(), self.layout.words))

    def _opened(self, stored: Records) -> Records:
        """Identifiers of what the store holds."""
        if self.secrets.master_key is None:
            return stored
        key = HKDF(SHA256(), length=32, salt=None, info=_INFO).derive(bytes.fromhex(self.secrets.master_key))
        return Records(stored.pids, stored.versions, _Derived(key, stored.rows, self._template_bits))


@dataclass(frozen=True)
class _Derived:
    """Identifiers that are computed from a key.

    Attributes:
        key: 32 bytes.
        starts: Of N rows of two words, the low one first: the counter to begin with.
        used: int64 [W], ones where an identifier has a bit.
    """

    key: bytes
    starts: Rows
    used: NDArray[np.int64]

    def __getitem__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        # The low word alone is counted, modulo 2^64. Of 2^32 identifiers two overlap with probability 2^-60.
        starts = self.starts[positions].astype("<i8", copy=False)
        blocks = np.repeat(starts[:, None], -(-len(self.used) // 2), axis=1)
        blocks[:, :, 0] += np.arange(blocks.shape[1])
        stream = Cipher(AES(self.key), ECB()).encryptor().update(blocks.tobytes())
        return np.frombuffer(stream, "<i8").reshape(len(blocks), 2 * blocks.shape[1])[:, : len(self.used)] & self.used


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
