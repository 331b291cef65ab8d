"""What recovery needs to know beside the password: a JSON file next to every anonymised one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from src.apps.anonymize.crops import Crop, Face
from src.apps.anonymize.network_file import TrainedTransformer
from src.errors import UserError

__all__ = ["SUFFIX", "NetworkFacts", "Sidecar", "read_sidecar", "sidecar_of"]

SUFFIX = ".json"

_SCHEMA = 1
_KDF = {"name": "scrypt", "n": 2**14, "r": 8, "p": 1}


@dataclass(frozen=True)
class NetworkFacts:
    """Which network anonymised, and what it was given.

    Attributes:
        fingerprint: See `TrainedTransformer.fingerprint`.
        size: Side of the faces it is given, in pixels.
        length: Bits L of a password.
        magnitude: Of the code of a bit.
        zero_one: A bit is 0 or 1 instead.
    """

    fingerprint: str
    size: int
    length: int
    magnitude: float
    zero_one: bool

    @classmethod
    def of(cls, trained: TrainedTransformer) -> NetworkFacts:
        """Those of a network."""
        network = trained.network
        return cls(trained.fingerprint(), trained.size, network.length, network.magnitude, network.zero_one)


@dataclass(frozen=True)
class Sidecar:
    """Everything but the password.

    Attributes:
        kind: Of the anonymised file.
        height: Of it, in pixels.
        width: Likewise.
        network: See there.
        frames: The faces on every frame, in the order in which they were anonymised; one frame for an image.
        key_salt: With which the key of the encrypted original faces beside it is derived; None where there are none.
    """

    kind: Literal["image", "video"]
    height: int
    width: int
    network: NetworkFacts
    frames: Sequence[Sequence[Face]]
    key_salt: bytes | None = None

    def write(self, file: IO[bytes]) -> None:
        """Write it; every salt once, and faces by their number in that list."""
        salts = list(dict.fromkeys(face.salt for faces in self.frames for face in faces))
        numbers = {salt: number for number, salt in enumerate(salts)}
        content = {
            "schema": _SCHEMA,
            "kind": self.kind,
            "height": self.height,
            "width": self.width,
            "network": vars(self.network),
            "kdf": _KDF,
            "salts": [salt.hex() for salt in salts],
            "original": None if self.key_salt is None else {"cipher": "AES-256-GCM", "salt": self.key_salt.hex()},
            "frames": [[[*face.crop, numbers[face.salt]] for face in faces] for faces in self.frames],
        }
        file.write(json.dumps({**content, "checksum": _checksum(content)}).encode())

    def check_network(self, network: NetworkFacts, path: Path) -> None:
        """Raise UserError if another network anonymised.

        Args:
            network: To recover with.
            path: This sidecar, for the message.
        """
        if network.length != self.network.length:
            raise UserError(
                f"{path}: was anonymised with passwords of {self.network.length} bits, the network of ckpt_path takes "
                f"{network.length}; give the checkpoint that it was anonymised with"
            )
        if network != self.network:
            raise UserError(
                f"{path}: was anonymised with another network ({self.network.fingerprint[:12]}, found "
                f"{network.fingerprint[:12]}); give the checkpoint that it was anonymised with"
            )


def sidecar_of(path: Path) -> Path:
    """The sidecar of an anonymised file."""
    return path.with_name(path.name + SUFFIX)


def read_sidecar(path: Path) -> Sidecar:
    """Read a sidecar.

    Raises:
        UserError: There is none, it is damaged, or it was changed.
    """
    try:
        content = json.loads(path.read_bytes())
        schema = content["schema"]
    except FileNotFoundError:
        raise UserError(f"no {path}: privface anonymize wrote it beside its output; put it back there") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is damaged or no sidecar of privface anonymize ({error!r}); restore it") from error
    if schema != _SCHEMA:
        raise UserError(f"{path}: expected schema {_SCHEMA}, found {schema}; use the version that wrote it")
    if content.pop("checksum", None) != _checksum(content):
        raise UserError(f"{path}: was changed since privface anonymize wrote it; restore it from a copy")
    try:
        return _parse(content)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{path}: is damaged ({error!r}); restore it from a copy") from error


def _parse(content: dict[str, Any]) -> Sidecar:
    salts = [bytes.fromhex(salt) for salt in content["salts"]]
    original = content["original"]
    return Sidecar(
        kind=content["kind"],
        height=int(content["height"]),
        width=int(content["width"]),
        network=NetworkFacts(**content["network"]),
        frames=[
            [Face(Crop(int(left), int(top), int(side)), salts[number]) for left, top, side, number in faces]
            for faces in content["frames"]
        ],
        key_salt=None if original is None else bytes.fromhex(original["salt"]),
    )


def _checksum(content: dict[str, Any]) -> str:
    """SHA-256 of all else; keeps accidents apart from what was meant, not forgery."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
