"""The ciphered templates of a gallery, and what everybody may know about it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from src.models.cancellable.parameters import Parameters
from src.models.cancellable.record_store import RecordStore
from src.models.cancellable.template_file import LOOKUP_TABLE, MIRRORED, PLANES, XORED, Layout

__all__ = ["PARAMETERS", "TemplateStore"]

PARAMETERS = "parameters.json"
"""Written last when a gallery is made: a folder that has it holds a gallery."""


class TemplateStore(RecordStore):
    """Codes as bits, each XORed with an identifier that lies elsewhere; holds no secret.

    Args:
        folder: Holds ``parameters.json``, the index and the DRHT files.
        parameters: Of the gallery.
        alone: See `RecordStore`.
    """

    def __init__(self, folder: Path, parameters: Parameters, alone: Callable[[], AbstractContextManager]) -> None:
        flags = LOOKUP_TABLE | XORED | PLANES | (MIRRORED if parameters.flip else 0)
        layout = Layout(b"DRHT", flags, parameters.m, parameters.q, parameters.bits, parameters.words)
        super().__init__(folder, layout, "drht", used_bits=parameters.used_bits, secret=False, alone=alone)
