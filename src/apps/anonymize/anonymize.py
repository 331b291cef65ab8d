"""``privface anonymize``: images, folders and videos under a password."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal, get_args

from rich.console import Console

from src.apps.anonymize.anonymizer import Anonymizer, Salts
from src.apps.anonymize.boxes import WHOLE, BoxTable, DetectedBoxes, FaceBoxes, WholeImage, read_boxes
from src.apps.anonymize.faces import FaceChanger
from src.apps.anonymize.jobs import Work, plan
from src.apps.anonymize.network_file import load_transformer
from src.apps.anonymize.originals import originals_of
from src.apps.anonymize.report import list_problems, warn
from src.apps.anonymize.secret import read_secret
from src.apps.anonymize.sheets import draw_sheets
from src.apps.anonymize.sidecar import NetworkFacts, sidecar_of
from src.apps.anonymize.tracking import Tracker
from src.apps.gallery.arguments import to_path
from src.apps.gallery.interruption import stops_cleanly
from src.apps.gallery.output import count, grid
from src.errors import UserError, check_choice
from src.files import explain_full_disk
from src.models.generation.faces import FaceDetector

__all__ = ["PasswordPer", "run"]

PasswordPer = Literal["run", "person"]


def run(
    input: Path | str,
    out: Path | str,
    ckpt_path: Path | str,
    *,
    boxes: Path | str | None,
    detector: FaceDetector | None,
    password_file: Path | str | None,
    password_env: str | None,
    password_per: PasswordPer,
    keep_original: bool,
    lossy: bool,
    smoothing: float,
    hold: int,
    sheet: Path | str | None,
    overwrite: bool,
    batch_size: int,
    device: str,
) -> None:
    """Anonymise all faces, write a sidecar beside every file, and print a table.

    Args:
        input: An image, a folder of images, or a video.
        out: The file or folder to write.
        ckpt_path: See `load_transformer`.
        boxes: CSV file with the boxes of all faces, or ``"frame"``: every image is one face.
        detector: Finds the faces instead.
        password_file: See `read_secret`, as the next.
        password_env: See there.
        password_per: Whether one password is derived for all faces of the run, or one for each person: who the table
            of boxes names, else the folder of an image, else a face that is followed through a video.
        keep_original: Encrypt the original faces beside every file, too.
        lossy: Write JPEG and H.264, from which less is recovered.
        smoothing: See `Tracker`.
        hold: See `Tracker`; of a detector.
        sheet: Folder for pictures of the first face under many passwords; they show it as it is.
        overwrite: Replace files that are there.
        batch_size: Faces or frames at once.
        device: See `FaceChanger`.

    Raises:
        UserError: Something is missing or does not fit, raised before any long work; or a frame is damaged, or no face
            is on a whole video.
        SystemExit: Some images were left out, with status 1; after Ctrl-C or SIGTERM, with status 130.
    """
    start = time.perf_counter()
    check_choice("password_per", password_per, get_args(PasswordPer))
    if not 0 <= smoothing < 1 or hold < 0:
        raise UserError(f"expected smoothing from 0 to below 1 and hold of 0 or more; found {smoothing} and {hold}")
    source, target = to_path("input", input), to_path("out", out)
    finder = _finder(boxes, detector)

    def companions(path: Path) -> list[Path]:
        return [sidecar_of(path), originals_of(path)]

    work = plan(source, target, lossy=lossy, overwrite=overwrite, companions=companions)
    if isinstance(finder, BoxTable):
        finder.check_files([job.name for job in work.jobs])
    path = to_path("ckpt_path", ckpt_path)
    trained = load_transformer(path)
    secret = read_secret(password_file, password_env, twice=True)
    changer = FaceChanger(trained, secret, batch_size, device, path)
    anonymizer = Anonymizer(
        changer, secret, NetworkFacts.of(trained), finder, Salts(password_per), keep_original, lossy
    )
    if lossy:
        warn("lossy=true: JPEG and H.264 change the anonymised faces, so that less of the original ones is recovered.")
    with (
        stops_cleanly(f"What is complete is in {target}; nothing else was written."),
        explain_full_disk(target, "files that were not complete were removed"),
    ):
        if work.kind == "video":
            anonymizer.video(work.jobs[0], Tracker(smoothing, 0 if finder.is_complete else hold), batch_size)
        else:
            anonymizer.images(work.jobs, batch_size)
    if sheet is not None and anonymizer.first is not None:
        draw_sheets(to_path("sheet", sheet), anonymizer.first, changer, secret)
        warn(f"sheet={sheet}: these pictures show an original face; keep them where you keep the originals.")
    _print(anonymizer, work, trained.network.length, time.perf_counter() - start)
    Console().print(
        f"Next: privface recover input={target} out=... ckpt_path={path}", highlight=False, markup=False, soft_wrap=True
    )
    list_problems(anonymizer.found.problems, "not anonymised and not written")


def _finder(boxes: Path | str | None, detector: FaceDetector | None) -> FaceBoxes:
    if (boxes is None) == (detector is None):
        raise UserError(
            "boxes and detector: expected one of boxes=FILE.csv, boxes=frame (every image is one face) and "
            f"detector=mtcnn detector.path=WEIGHTS, found {'none' if boxes is None else 'both'}"
        )
    if detector is not None:
        return DetectedBoxes(detector)
    return WholeImage() if boxes == WHOLE else read_boxes(to_path("boxes", boxes or ""))


def _print(anonymizer: Anonymizer, work: Work, length: int, seconds: float) -> None:
    found, unit = anonymizer.found, "frame" if work.kind == "video" else "image"
    table = grid()
    notes = [f"{found.without:,} {unit}s without"] if found.without else []
    table.add_row(f"{unit}s", f"{found.frames:,}")
    table.add_row("faces", "; ".join([f"{found.faces:,}", *notes]))
    if found.small:
        table.add_row(
            "small faces",
            f"{found.small:,} squares below the network's {anonymizer.changer.size} pixels: less is recovered",
        )
    if work.left_out:
        table.add_row("left out", f"{count(work.left_out, 'file')} that are no images")
    table.add_row("passwords", f"{len(anonymizer.salts.drawn):,}, of {length} bits")
    table.add_row("time", f"{seconds:,.1f} s, {found.frames / seconds:,.1f} {unit}s/s")
    Console().print(table)
