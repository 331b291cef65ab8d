"""A tiny set with the files of IJB-C."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from src.datamodules.alignment import ARCFACE_TEMPLATE

TEMPLATES = [30, 30, 10, 10, 10, 20, 40, 40]
"""Template id of each of the eight images."""

SUBJECTS = {10: 1, 20: 2, 30: 1, 40: 2}


def write_ijb(root: Path, image: bytes, release: str = "ijbc") -> Path:
    """Eight images in four templates of two subjects; 10 and 20 are enrolled, 30 and 40 are probes.

    Args:
        root: Folder to fill.
        image: The file that each loose crop is.
        release: With which the names of the files begin.
    """
    meta, crops = root / "meta", root / "loose_crop"
    meta.mkdir(parents=True)
    crops.mkdir()
    names = [f"{number}.jpg" for number in range(1, 9)]
    for name in names:
        (crops / name).write_bytes(image)
    media = [5, 5, 1, 1, 2, 5, 6, 7]
    points = " ".join(f"{value:.3f}" for value in ARCFACE_TEMPLATE.flatten().tolist())
    lines = {
        "face_tid_mid": [f"{name} {t} {m}" for name, t, m in zip(names, TEMPLATES, media, strict=True)],
        "name_5pts_score": [f"{name} {points} 0.{9 - i}" for i, name in enumerate(names)],
        "template_pair_label": ["10 30 1", "10 40 0", "20 30 0", "20 40 1"],
    }
    for file, rows in lines.items():
        (meta / f"{release}_{file}.txt").write_text("".join(f"{row}\n" for row in rows))
    first, second = ("S1", "S2") if release == "ijbb" else ("G1", "G2")
    for file, templates in {f"gallery_{first}": [10], f"gallery_{second}": [20], "probe_mixed": [30, 40]}.items():
        rows = [
            f"{TEMPLATES[i]},{SUBJECTS[TEMPLATES[i]]},img/{i}.jpg"
            for i in np.flatnonzero(np.isin(TEMPLATES, templates))
        ]
        text = "".join(f"{row}\n" for row in ["TEMPLATE_ID,SUBJECT_ID,FILENAME", *rows])
        (meta / f"{release}_1N_{file}.csv").write_text(text)
    return root
