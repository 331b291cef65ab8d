"""What ``privface generate`` writes, as a collection of labelled pairs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from src.datamodules.sources.file_source import FileSource
from src.datamodules.storage import Location
from src.errors import UserError

__all__ = ["MANIFEST", "GeneratedFaces", "person_name", "sample_file"]

MANIFEST = "manifest.jsonl"
"""File that names every image, a line each; written when all are there."""

_MODALITIES = {"image": "VIS", "nir": "NIR"}


def person_name(number: int) -> str:
    """Name of the folder, and of the class, of a synthetic person."""
    return f"id_{number}"


def sample_file(person: int, sample: int, spectrum: str) -> str:
    """Path of an image below the folder of the data set; ``spectrum`` is ``"VIS"`` or ``"NIR"``."""
    return f"{person_name(person)}/{spectrum}/sample_{sample}_{spectrum}.png"


class GeneratedFaces(FileSource):
    """Images ``root/id_0/VIS/sample_0_VIS.png`` and ``root/id_0/NIR/sample_0_NIR.png``, a class per person.

    Args:
        root: Folder that ``privface generate`` wrote; a path or a URL.

    Raises:
        UserError: There is no list of the images, or it is damaged.
    """

    def __init__(self, root: Path | str) -> None:
        folder = Location(root)
        manifest = folder / MANIFEST
        if not manifest.exists():
            raise UserError(f"{manifest}: is missing; expected a folder that privface generate has finished")
        try:
            lines = [json.loads(line) for line in manifest.read_bytes().splitlines()]
            samples = [(int(line["id"]), int(line["sample"])) for line in lines]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{manifest}: damaged ({error!r}); type the command of privface generate again") from error
        files = {
            modality: [sample_file(person, sample, spectrum) for person, sample in samples]
            for modality, spectrum in _MODALITIES.items()
        }
        people = sorted({person for person, _ in samples})
        labels = np.searchsorted(people, [person for person, _ in samples]).astype(np.int32)
        super().__init__(folder, files, labels, [person_name(person) for person in people])
