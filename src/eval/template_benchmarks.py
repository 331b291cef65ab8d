"""The template benchmarks of the field, by the form their files come in."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from src.datamodules.ijb_files import Release, read_ijb
from src.datamodules.tinyface import read_tinyface
from src.datamodules.ytf import read_ytf
from src.eval.template_benchmark import TemplateBenchmark

__all__ = ["ijb", "tinyface", "ytf"]


def ijb(
    root: Path | str,
    size: int,
    release: Release,
    cache: Path | str | None = None,
    keep_norm: bool = True,
    detector: bool = True,
    flip: bool = True,
    combinations: bool = True,
) -> TemplateBenchmark:
    """IJB-B (Whitelam et al. 2017) and IJB-C (Maze et al. 2018) from the files described in docs/benchmarks.md.

    Args:
        root: Folder with `meta/` and `loose_crop/`.
        size: Side of the images that the network takes, in pixels.
        release: Which of the two.
        cache: Folder to keep the parsed pairs in.
        keep_norm: See `TemplateBenchmark`, as for the next three.
        detector: Weight every image by its detector score.
        flip: Add the embedding of the mirror image.
        combinations: Report the other combinations of these flags, too.
    """
    reader = partial(read_ijb, root, release=release, cache=cache)
    return TemplateBenchmark(reader, size, keep_norm=keep_norm, detector=detector, flip=flip, combinations=combinations)


def tinyface(root: Path | str, size: int, flip: bool = True) -> TemplateBenchmark:
    """TinyFace (Cheng et al. 2018) in the folders described in docs/benchmarks.md.

    Args:
        root: Folder with `Probe`, `Gallery_Match` and `Gallery_Distractor`.
        size: Side of the images that the network takes, in pixels.
        flip: Add the embedding of the mirror image.
    """
    return TemplateBenchmark(partial(read_tinyface, root), size, flip=flip, combinations=False)


def ytf(
    root: Path | str,
    size: int,
    splits: str = "splits.txt",
    frames: str = "aligned_images_DB",
    keep_norm: bool = False,
    flip: bool = True,
) -> TemplateBenchmark:
    """YouTube Faces (Wolf et al. 2011) from the files described in docs/benchmarks.md.

    Args:
        root: Folder with the two below.
        size: Side of the images that the network takes, in pixels.
        splits: File of pairs.
        frames: Folder of aligned frames.
        keep_norm: Pool raw embeddings; otherwise each is scaled to length 1 first.
        flip: Add the embedding of the mirror image.
    """
    reader = partial(read_ytf, root, splits=splits, frames=frames)
    return TemplateBenchmark(reader, size, keep_norm=keep_norm, flip=flip, combinations=False)
