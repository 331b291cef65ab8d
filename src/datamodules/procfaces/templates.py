"""The template protocol of the procedural faces, after IJB-C (Maze et al. 2018).

A template is a set of images of one person: stills, each a medium of its own, and videos, whose frames share
light, background, hair, make-up and age and differ in pose, expression and blur.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.datamodules.procfaces.faces_config import FacesConfig
from src.datamodules.procfaces.hashing import uniform
from src.datamodules.procfaces.protocols import Shots, people

__all__ = ["TemplateProtocol", "template_protocol"]


@dataclass(frozen=True)
class TemplateProtocol:
    """Images, and the templates and searches made of them.

    Attributes:
        shots: One row per image.
        template: Template of each image, counted from 1, int64 ``[N]``.
        medium: Medium of each image, counted from 1 over all people, int64 ``[N]``.
        enrolled: Whether the image belongs to an enrolment template (else to a probe), bool ``[N]``.
    """

    shots: Shots
    template: np.ndarray
    medium: np.ndarray
    enrolled: np.ndarray

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Every enrolment template against every probe template.

        Returns:
            The template numbers, int64 ``[P, 2]``, and whether both are of one person, bool ``[P]``.
        """
        template, row = np.unique(self.template, return_index=True)
        person, enrolled = self.shots.ids[row], self.enrolled[row]
        grid = np.meshgrid(np.flatnonzero(enrolled), np.flatnonzero(~enrolled), indexing="ij")
        first, second = (rows.ravel() for rows in grid)
        return np.stack([template[first], template[second]], axis=1), person[first] == person[second]


def template_protocol(config: FacesConfig) -> TemplateProtocol:
    """IJB-C-like templates: for each person one to enrol (3 to 5 stills) and 2 to 4 to search with."""
    columns: dict[str, list[int]] = {key: [] for key in ("id", "sample", "media", "template", "medium", "enrolled")}
    template = medium = 0
    for person in people("ijbc", config.ijbc_subjects):
        sample = media = 0
        for number, frames_of_media in enumerate(_templates_of(config.seed, int(person))):
            template += 1
            for frames in frames_of_media:
                medium += 1
                for _ in range(frames):
                    row = (int(person), sample, media, template, medium, int(number == 0))
                    for key, value in zip(columns, row, strict=True):
                        columns[key].append(value)
                    sample += 1
                media += 1
    arrays = {key: np.array(values, dtype=np.int64) for key, values in columns.items()}
    return TemplateProtocol(
        shots=Shots(ids=arrays["id"], samples=arrays["sample"], media=arrays["media"]),
        template=arrays["template"],
        medium=arrays["medium"],
        enrolled=arrays["enrolled"].astype(bool),
    )


def _templates_of(seed: int, person: int) -> list[list[int]]:
    """Frames in each medium of each template of one person; the first template is the one to enrol."""
    stills, probes = uniform(seed, "ijbc/person", person, np.arange(2))
    templates = [[1] * (3 + int(3 * stills))]
    for probe in range(2 + int(3 * probes)):
        has_stills, count, has_video, frames = uniform(seed, "ijbc/probe", person, probe, np.arange(4))
        media = [1] * (1 + int(2 * count)) if has_stills < 0.5 else []
        if has_video < 0.6 or not media:
            media.append(3 + int(4 * frames))
        templates.append(media)
    return templates
