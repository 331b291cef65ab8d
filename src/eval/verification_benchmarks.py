"""The verification benchmarks of the field, by the form their files come in."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from src.datamodules.verification_pairs import read_calfw_pairs, read_lfw_pairs
from src.datamodules.verification_sets import read_bin
from src.eval.benchmark import Flip, VerificationBenchmark

__all__ = ["bin_file", "calfw", "lfw"]


def lfw(
    root: Path | str,
    size: int,
    flip: Flip = "sum",
    pairs: str = "pairs.txt",
    landmarks: str | None = "landmarks.csv",
) -> VerificationBenchmark:
    """LFW and sets in its form (Huang et al. 2007): photographs and ``pairs.txt``.

    Args:
        root: Folder with, at any depth, ``<name>/<name>_0001.jpg``.
        size: Side of the images that the network takes, in pixels.
        flip: See `VerificationBenchmark`.
        pairs: The pair file, relative to ``root``.
        landmarks: CSV file in ``root`` to align the photographs by, used if it exists; None to crop by position.
    """
    return VerificationBenchmark(partial(read_lfw_pairs, root, pairs=pairs, landmarks=landmarks), size, flip)


def calfw(
    root: Path | str,
    size: int,
    name: str,
    pairs: str,
    flip: Flip = "sum",
    landmarks: str | None = "landmarks.csv",
    folds: int = 10,
) -> VerificationBenchmark:
    """CALFW and CPLFW as their authors publish them: photographs and a file with two lines ``<image> <flag>`` per pair.

    Args:
        root: Folder with the photographs at any depth.
        size: Side of the images that the network takes, in pixels.
        name: Of the set, for messages.
        pairs: The pair file, relative to ``root``.
        flip: See `VerificationBenchmark`.
        landmarks: CSV file in ``root`` to align the photographs by, used if it exists; None to crop by position.
        folds: Number of contiguous folds.
    """
    reader = partial(read_calfw_pairs, root, name=name, pairs=pairs, landmarks=landmarks, folds=folds)
    return VerificationBenchmark(reader, size, flip)


def bin_file(path: Path | str, size: int, flip: Flip = "sum", folds: int = 10) -> VerificationBenchmark:
    """AgeDB-30, CFP-FP, CALFW, CPLFW and others as InsightFace packs them: aligned 112x112 images in one ``.bin``.

    Args:
        path: The file.
        size: Side of the images that the network takes, in pixels.
        flip: See `VerificationBenchmark`.
        folds: Number of contiguous folds.
    """
    return VerificationBenchmark(partial(read_bin, path, folds=folds), size, flip)
