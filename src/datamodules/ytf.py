"""YouTube Faces (Wolf et al. 2011): are two videos of the same person?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from src.datamodules.photographs import list_images
from src.datamodules.template_sets import ImageFiles, TemplatePairs, TemplateSet
from src.datamodules.text_tables import to_integer
from src.errors import UserError

__all__ = ["read_ytf"]


def read_ytf(root: Path | str, *, splits: str = "splits.txt", frames: str = "aligned_images_DB") -> TemplateSet:
    """Read the official pairs; a video is a template, and each of its frames a medium.

    Args:
        root: Folder with the two below.
        splits: File of pairs: a line of titles, then `split, pair, name/video, name/video, same` for each.
        frames: Folder with `<name>/<video>/` of aligned square crops.

    Raises:
        UserError: A line is malformed, frames are missing, or splits differ in size or lack pairs of one kind.
    """
    root = Path(root)
    rows = _read_splits(root / splits)
    split, first, second, same = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    videos = sorted({*first, *second})
    images = [list_images(root, f"{frames}/{video}") for video in videos]
    missing = [video for video, names in zip(videos, images, strict=True) if not names]
    if missing:
        raise UserError(
            f"{root / frames}: {len(missing)} of {len(videos)} videos of {splits} have no frames, "
            f"first: {', '.join(missing[:3])}"
        )
    number = {video: position for position, video in enumerate(videos)}
    template = np.repeat(np.arange(len(videos), dtype=np.int32), [len(names) for names in images])
    return TemplateSet(
        name="ytf",
        images=ImageFiles(root, [name for names in images for name in names]),
        template=template,
        medium=np.arange(len(template), dtype=np.int32),
        weight=np.ones(len(template), dtype=np.float32),
        pairs=TemplatePairs(
            np.array([number[video] for video in first], dtype=np.int32),
            np.array([number[video] for video in second], dtype=np.int32),
            np.array(same),
            _count_folds(root / splits, np.array(split), np.array(same)),
        ),
    )


def _read_splits(path: Path) -> list[tuple[int, str, str, bool]]:
    """Split, both videos and whether they show the same person, of each line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        fields = [field.strip() for field in line.split(",")]
        if fields == [""]:
            continue
        try:
            split, _, first, second, same = fields
            if same not in ("0", "1") or not (_is_video(first) and _is_video(second)):
                raise ValueError
            rows.append((to_integer(split), first, second, same == "1"))
        except ValueError as error:
            raise UserError(
                f"{path}, line {number}: expected `split, pair, name/video, name/video, 1 or 0`, found {line[:80]!r}"
            ) from error
    if not rows:
        raise UserError(f"{path}: holds no pairs; get the file again")
    return rows


def _is_video(name: str) -> bool:
    """Whether it can only be a folder of a folder below the frames."""
    parts = name.split("/")
    return len(parts) == 2 and not any(part in ("", ".", "..") or "\0" in part for part in parts)


def _count_folds(path: Path, split: np.ndarray, same: np.ndarray) -> int:
    """Number of splits, which must be of the same size and hold pairs of both kinds."""
    _, sizes = np.unique(split, return_counts=True)
    folds = same.reshape(len(sizes), -1) if len(set(sizes)) == 1 else None
    if folds is None or folds.all(axis=1).any() or not folds.any(axis=1).all():
        raise UserError(
            f"{path}: splits of {', '.join(map(str, sizes))} pairs; expected all of the same size, "
            "with pairs of the same and of different persons in each"
        )
    return len(sizes)
