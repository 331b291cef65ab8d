"""``privface recover``: what ``privface anonymize`` made, under the same password or another one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console

from src.apps.anonymize.faces import FaceChanger
from src.apps.anonymize.image_files import write_image
from src.apps.anonymize.jobs import Job, plan, read_batches
from src.apps.anonymize.network_file import load_transformer
from src.apps.anonymize.originals import OriginalsReader, originals_of
from src.apps.anonymize.report import list_problems
from src.apps.anonymize.secret import Secret, read_secret
from src.apps.anonymize.sidecar import NetworkFacts, Sidecar, read_sidecar, sidecar_of
from src.apps.anonymize.video_files import CONTAINERS, probe, transcode
from src.apps.gallery.arguments import to_path
from src.apps.gallery.interruption import stops_cleanly
from src.apps.gallery.output import grid
from src.errors import UserError
from src.files import atomic_write, explain_full_disk
from src.progress import image_progress

__all__ = ["run"]


def run(
    input: Path | str,
    out: Path | str,
    ckpt_path: Path | str | None,
    *,
    exact: bool,
    password_file: Path | str | None,
    password_env: str | None,
    lossy: bool,
    overwrite: bool,
    batch_size: int,
    device: str,
) -> None:
    """Recover all faces; with a wrong password they come out as other faces, which nothing here can tell.

    Args:
        input: What was anonymised, with the sidecars beside it.
        out: The file or folder to write.
        ckpt_path: The network that anonymised; not needed for exact recovery.
        exact: Put the encrypted original faces back instead, which a wrong password cannot open.
        password_file: See `read_secret`, as the next.
        password_env: See there.
        lossy: Write JPEG and H.264.
        overwrite: Replace files that are there.
        batch_size: Faces or frames at once.
        device: See `FaceChanger`.

    Raises:
        UserError: Something is missing, was changed or does not fit, raised before any long work; or a frame is
            damaged.
        SystemExit: Some images were left out, with status 1; after Ctrl-C or SIGTERM, with status 130.
    """
    start = time.perf_counter()
    source, target = to_path("input", input), to_path("out", out)
    if ckpt_path is None and not exact:
        raise UserError(
            "ckpt_path: expected the network that the input was anonymised with; only exact=true needs none"
        )
    work = plan(source, target, lossy=lossy, overwrite=overwrite)
    sidecars = [_read_sidecar(job, work.kind, exact) for job in work.jobs]
    path = ckpt_path or ""
    trained = None if exact else load_transformer(to_path("ckpt_path", path))
    if trained is not None:
        network = NetworkFacts.of(trained)
        for job, sidecar in zip(work.jobs, sidecars, strict=True):
            sidecar.check_network(network, sidecar_of(job.source))
    secret = read_secret(password_file, password_env, twice=False)
    changer = None if trained is None else FaceChanger(trained, secret, batch_size, device, to_path("ckpt_path", path))
    recoverer = _Recoverer(dict(zip(work.jobs, sidecars, strict=True)), secret, changer, lossy, batch_size)
    with (
        stops_cleanly(f"What is complete is in {target}; nothing else was written."),
        explain_full_disk(target, "files that were not complete were removed"),
    ):
        if work.kind == "video":
            recoverer.video(work.jobs[0])
        else:
            recoverer.images(work.jobs)
    table, seconds, unit = grid(), time.perf_counter() - start, "frame" if work.kind == "video" else "image"
    table.add_row(f"{unit}s", f"{recoverer.frames:,}")
    table.add_row("recovered", "exactly" if exact else "by the network; a wrong password gives other faces")
    table.add_row("time", f"{seconds:,.1f} s, {recoverer.frames / seconds:,.1f} {unit}s/s")
    Console().print(table)
    list_problems(recoverer.problems, "not recovered and not written")


@dataclass
class _Recoverer:
    """Recovers files.

    Attributes:
        sidecars: Of all files.
        secret: The passphrase.
        changer: The network; None for exact recovery.
        lossy: Write JPEG and H.264.
        batch_size: Images or frames at once.
        frames: How many were recovered.
        problems: What was not, and why.
    """

    sidecars: Mapping[Job, Sidecar]
    secret: Secret
    changer: FaceChanger | None
    lossy: bool
    batch_size: int
    frames: int = 0
    problems: list[str] = field(default_factory=list)

    def images(self, jobs: Sequence[Job]) -> None:
        """Recover images and write them one by one."""
        with image_progress() as progress:
            bar = progress.add_task("recovering", total=len(jobs))
            for batch in read_batches(jobs, self.batch_size, self.problems):
                for job, image in batch:
                    self._check_size(job, *image.shape[:2])
                if self.changer is not None:
                    faces = [self.sidecars[job].frames[0] for job, _ in batch]
                    self.changer.recover([image for _, image in batch], faces)
                for job, image in batch:
                    if self.changer is None:
                        with self._originals(job) as originals:
                            originals.restore(image)
                    with atomic_write(job.target) as file:
                        write_image(file, image, lossy=self.lossy)
                self.frames += len(batch)
                progress.update(bar, completed=self.frames + len(self.problems))
        if len(self.problems) == len(jobs) == 1:
            raise UserError(self.problems[0])

    def video(self, job: Job) -> None:
        """Recover a video."""
        facts, faces = probe(job.source), self.sidecars[job].frames
        self._check_size(job, facts.height, facts.width)
        with ExitStack() as stack:
            progress = stack.enter_context(image_progress("frames"))
            bar = progress.add_task("recovering", total=len(faces))
            file = stack.enter_context(atomic_write(job.target))
            originals = None if self.changer else stack.enter_context(self._originals(job))

            def change(numbers: Sequence[int], images: Sequence[np.ndarray]) -> None:
                if numbers[-1] >= len(faces):
                    raise self._other_length(job, "more")
                if self.changer is not None:
                    self.changer.recover(images, [faces[number] for number in numbers])
                if originals is not None:
                    for image in images:
                        originals.restore(image)
                progress.update(bar, completed=numbers[-1] + 1)

            container = CONTAINERS[job.target.suffix.lower()]
            self.frames = transcode(
                job.source, file, facts, container, change, lossy=self.lossy, batch_size=self.batch_size
            )
            if self.frames != len(faces):
                raise self._other_length(job, "fewer")

    @contextmanager
    def _originals(self, job: Job) -> Iterator[OriginalsReader]:
        """The encrypted faces of a file, read to their end."""
        path, salt = originals_of(job.source), self.sidecars[job].key_salt
        assert salt is not None
        with open(path, "rb") as file:
            reader = OriginalsReader(file, self.secret.key(salt), path)
            yield reader
            reader.close()

    def _check_size(self, job: Job, height: int, width: int) -> None:
        sidecar = self.sidecars[job]
        if (height, width) != (sidecar.height, sidecar.width):
            raise UserError(
                f"{job.source}: is of {width}x{height} pixels, its sidecar tells {sidecar.width}x{sidecar.height}; "
                "give the file as privface anonymize wrote it"
            )

    def _other_length(self, job: Job, how: str) -> UserError:
        count = len(self.sidecars[job].frames)
        return UserError(f"{job.source}: has {how} frames than the {count:,} of its sidecar; give the file as written")


def _read_sidecar(job: Job, kind: str, exact: bool) -> Sidecar:
    path = sidecar_of(job.source)
    sidecar = read_sidecar(path)
    if sidecar.kind != kind:
        raise UserError(f"{path}: is the sidecar of one {sidecar.kind}, not of one {kind}; restore the one of the file")
    if exact and (sidecar.key_salt is None or not originals_of(job.source).is_file()):
        raise UserError(
            f"exact=true: there is no {originals_of(job.source)}, which privface anonymize writes with "
            "keep_original=true only; leave exact out, and the network recovers what it can"
        )
    return sidecar
