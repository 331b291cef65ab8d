"""Anonymises the faces of images and videos, and writes what recovery needs beside them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from src.apps.anonymize.boxes import Box, FaceBoxes
from src.apps.anonymize.crops import Face
from src.apps.anonymize.faces import FaceChanger
from src.apps.anonymize.image_files import write_image
from src.apps.anonymize.jobs import Job, read_batches, written_together
from src.apps.anonymize.originals import OriginalsWriter, originals_of
from src.apps.anonymize.report import warn
from src.apps.anonymize.secret import SALT_BYTES, Secret
from src.apps.anonymize.sidecar import NetworkFacts, Sidecar, sidecar_of
from src.apps.anonymize.tracking import Tracker
from src.apps.anonymize.video_files import CONTAINERS, probe, transcode
from src.apps.gallery.output import count
from src.errors import UserError
from src.progress import image_progress

__all__ = ["Anonymizer", "Found", "Salts"]


@dataclass
class Salts:
    """Salts of the passwords, drawn anew in every run.

    Attributes:
        per: ``"run"`` for one for all faces, or ``"person"`` for one for each person.
        drawn: By person.
    """

    per: str
    drawn: dict[str | int, bytes] = field(default_factory=dict)

    def of(self, person: str | int) -> bytes:
        """That of a person, by name or number."""
        key = person if self.per == "person" else ""
        return self.drawn.setdefault(key, secrets.token_bytes(SALT_BYTES))


@dataclass
class Found:
    """What was done so far.

    Attributes:
        frames: Images or frames that were looked at, except those of ``problems``.
        faces: On all of them.
        without: Frames on which there is no face.
        small: Faces whose squares are smaller than what the network sees, so that less is recovered.
        problems: Files that are not written, and why.
    """

    frames: int = 0
    faces: int = 0
    without: int = 0
    small: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, faces: Sequence[Face], size: int) -> None:
        """Count the faces of a frame; ``size`` is that of what the network sees."""
        self.frames += 1
        self.faces += len(faces)
        self.without += not faces
        self.small += sum(face.crop.side < size for face in faces)


@dataclass
class Anonymizer:
    """Everything but the files.

    Attributes:
        changer: The network under a passphrase.
        secret: The passphrase.
        network: What sidecars tell of the network.
        finder: Finds the faces.
        salts: Of their passwords.
        keep_original: Encrypt the original faces beside every file, too.
        lossy: Write JPEG or H.264.
        found: What was done so far.
        first: The first face, as the network sees it, [3, S, S]; None as long as there is none.
    """

    changer: FaceChanger
    secret: Secret
    network: NetworkFacts
    finder: FaceBoxes
    salts: Salts
    keep_original: bool
    lossy: bool
    found: Found = field(default_factory=Found)
    first: Tensor | None = None

    def images(self, jobs: Sequence[Job], batch_size: int) -> None:
        """Anonymise images and write them one by one."""
        with image_progress() as progress:
            bar = progress.add_task("anonymising", total=len(jobs))
            for batch in read_batches(jobs, batch_size, self.found.problems):
                faces = [self._on_image(job, image) for job, image in batch]
                chosen = [(*pair, of_image) for pair, of_image in zip(batch, faces, strict=True) if of_image]
                originals = [image.copy() for _, image, _ in chosen]
                self.changer.anonymize([image for _, image, _ in chosen], [of_image for *_, of_image in chosen])
                for (job, image, of_image), original in zip(chosen, originals, strict=True):
                    self._write_image(job, image, original, of_image)
                progress.update(bar, completed=self.found.frames + len(self.found.problems))
        if len(self.found.problems) == len(jobs) == 1:
            raise UserError(self.found.problems[0])

    def video(self, job: Job, tracker: Tracker, batch_size: int) -> None:
        """Anonymise a video."""
        facts = probe(job.source)
        if self.lossy and (facts.height % 2 or facts.width % 2):
            raise UserError(
                f"lossy=true: H.264 needs even sides, {job.source} has {facts.width}x{facts.height}; leave it out"
            )
        if facts.dropped:
            warn(f"{job.source}: {count(facts.dropped, 'stream')} beside picture and sound are left out.")
        key_salt = secrets.token_bytes(SALT_BYTES) if self.keep_original else None
        names = [job.target, *([originals_of(job.target)] if key_salt else []), sidecar_of(job.target)]
        frames: list[list[Face]] = []
        with (
            image_progress("frames") as progress,
            written_together(*names) as files,
        ):
            bar = progress.add_task("anonymising", total=facts.frames)
            originals = OriginalsWriter(files[1], self.secret.key(key_salt)) if key_salt else None

            def change(numbers: Sequence[int], images: Sequence[np.ndarray]) -> None:
                seen = self.finder(job.name, numbers, images)
                faces = [self._on_frame(tracker, of_frame, image) for of_frame, image in zip(seen, images, strict=True)]
                for image, of_frame in zip(images, faces, strict=True):
                    # Faces that do not move are kept once: an hour has 90,000 frames.
                    frames.append(frames[-1] if frames and frames[-1] == of_frame else of_frame)
                    if originals is not None:
                        originals.add(image, of_frame)
                self.changer.anonymize(images, faces)
                progress.update(bar, completed=len(frames))

            container = CONTAINERS[job.target.suffix.lower()]
            transcode(job.source, files[0], facts, container, change, lossy=self.lossy, batch_size=batch_size)
            if not self.found.faces:
                raise UserError(f"{job.source}: no face was found on any of {len(frames)} frames; nothing was written")
            if originals is not None:
                originals.close()
            self._sidecar("video", (facts.height, facts.width), frames, key_salt).write(files[-1])
        if self.found.without:
            warn(f"{self.found.without:,} frames are as they were: no face was found on them. Look at them.")

    def _on_image(self, job: Job, image: np.ndarray) -> list[Face]:
        """The faces of an image; one without any is noted."""
        boxes = self.finder(job.name, [0], [image])[0]
        folder = Path(job.name).parent.as_posix()
        faces = self._visible([(box, box.person or folder) for box in boxes], image)
        if faces:
            self._note(faces, image)
        else:
            self.found.problems.append(f"{job.source}: no face was found on it")
        return faces

    def _on_frame(self, tracker: Tracker, boxes: Sequence[Box], image: np.ndarray) -> list[Face]:
        """The faces of the next frame."""
        tracks = tracker.update(boxes)
        faces = self._visible([(Box(*track.box.tolist()), track.person) for track in tracks], image)
        self._note(faces, image)
        return faces

    def _visible(self, boxes: Sequence[tuple[Box, str | int]], image: np.ndarray) -> list[Face]:
        faces = [Face(box.crop(), self.salts.of(person)) for box, person in boxes]
        return [face for face in faces if image[face.crop.visible(*image.shape[:2])].size]

    def _note(self, faces: Sequence[Face], image: np.ndarray) -> None:
        self.found.add(faces, self.changer.size)
        if faces and self.first is None:
            self.first = faces[0].crop.cut(image, self.changer.size)

    def _write_image(self, job: Job, image: np.ndarray, original: np.ndarray, faces: list[Face]) -> None:
        key_salt = secrets.token_bytes(SALT_BYTES) if self.keep_original else None
        names = [job.target, *([originals_of(job.target)] if key_salt else []), sidecar_of(job.target)]
        with written_together(*names) as files:
            write_image(files[0], image, lossy=self.lossy)
            if key_salt:
                writer = OriginalsWriter(files[1], self.secret.key(key_salt))
                writer.add(original, faces)
                writer.close()
            self._sidecar("image", image.shape[:2], [faces], key_salt).write(files[-1])

    def _sidecar(
        self,
        kind: Literal["image", "video"],
        size: tuple[int, ...],
        frames: Sequence[Sequence[Face]],
        key_salt: bytes | None,
    ) -> Sidecar:
        return Sidecar(kind, size[0], size[1], self.network, frames, key_salt)
