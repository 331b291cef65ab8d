"""Pictures of one face under many passwords, and of what misspelt passphrases recover."""

from __future__ import annotations

import secrets
from pathlib import Path

import torch
from torch import Tensor

from src.apps.anonymize.faces import FaceChanger
from src.apps.anonymize.secret import SALT_BYTES, Secret
from src.eval.pictures import image_grid

__all__ = ["draw_sheets"]

_PASSWORDS, _TYPOS = 24, 14
_COLUMNS = 5


def draw_sheets(folder: Path, face: Tensor, changer: FaceChanger, secret: Secret) -> None:
    """Write ``passwords.png`` and ``typos.png``; both show the original face first.

    The first has the face anonymised under random passwords. The second has it anonymised under the passphrase,
    recovered with it, and recovered with passphrases of which one character is another.

    Args:
        folder: Where to.
        face: float32 [3, S, S] in [-1, 1].
        changer: The network.
        secret: The passphrase.
    """
    original = face[None]
    bits = torch.randint(0, 2, (_PASSWORDS, len(changer.bits(bytes(SALT_BYTES))))).bool()
    anonymised = changer.transform(original.expand(_PASSWORDS, -1, -1, -1), bits)
    image_grid(
        folder / "passwords.png",
        torch.cat([original, anonymised]),
        title=f"One face, and anonymised under {_PASSWORDS} passwords",
        alt="The original face first, then what the network made of it under random passwords",
        columns=_COLUMNS,
    )
    salt = secrets.token_bytes(SALT_BYTES)
    right = changer.bits(salt)[None]
    wrong = torch.stack([secret.misspelt(place).bits(salt, right.shape[1]) for place in range(_TYPOS - 1)])
    hidden = changer.transform(original, right)
    recovered = changer.transform(hidden.expand(_TYPOS, -1, -1, -1), ~torch.cat([right, wrong]))
    image_grid(
        folder / "typos.png",
        torch.cat([original, hidden, recovered]),
        title=f"Original, anonymised, recovered, and recovered with {_TYPOS - 1} misspelt passphrases",
        alt="The original face, the anonymised one, the recovered one, and one for every misspelt passphrase",
        columns=_COLUMNS,
    )
