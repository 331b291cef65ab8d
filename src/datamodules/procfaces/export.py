"""Writing photographs in the formats that face recognition data sets are published in."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from src.datamodules.gender_sets import write_gender_bin
from src.datamodules.procfaces.data_card import ATTRIBUTE_CONVENTION, LICENCE
from src.datamodules.procfaces.drawing import Photograph
from src.datamodules.procfaces.faces_config import FOLDS, FacesConfig
from src.datamodules.procfaces.names import invented_names
from src.datamodules.procfaces.protocols import PairProtocol, Shots
from src.datamodules.procfaces.rendering import RENDER_VERSION
from src.datamodules.procfaces.templates import TemplateProtocol
from src.datamodules.shards import ShardWriter
from src.datamodules.verification_sets import write_bin

__all__ = ["write_gender_set", "write_photo_folder", "write_shards", "write_templates", "write_verification_bin"]

_LANDMARK_COLUMNS = [
    f"{point}_{axis}" for point in ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right") for axis in ("x", "y")
]


def write_shards(root: Path, photographs: Iterator[Photograph], shots: Shots, config: FacesConfig) -> None:
    """Write a training set as WebDataset shards with an index.

    Args:
        root: Folder of the shards.
        photographs: One per row of ``shots``, in order.
        shots: The training images.
        config: The data set, kept in the index.
    """
    attributes = {
        "source": "procfaces",
        "seed": config.seed,
        "render_version": RENDER_VERSION,
        "licence": LICENCE,
        "attribute": ATTRIBUTE_CONVENTION,
        "config": asdict(config),
    }
    with ShardWriter(root, resolution=config.size, attributes=attributes) as writer:
        for person, sample, photograph in zip(shots.ids, shots.samples, photographs, strict=True):
            metadata = {
                "subject": f"{person:06d}",
                "label": int(person),
                "landmarks": _rounded(photograph.landmarks),
                "source": "procfaces",
                "seed": config.seed,
                "render_version": RENDER_VERSION,
            }
            writer.add(
                f"{person:06d}_{sample:04d}",
                visible=photograph.visible,
                infrared=photograph.infrared,
                metadata=metadata | photograph.facts,
            )


def write_photo_folder(root: Path, photographs: Iterator[Photograph], protocol: PairProtocol, seed: int) -> None:
    """Write unaligned photographs as LFW does: ``Name/Name_0001.jpg``, ``pairs.txt``, and ``landmarks.csv``.

    ``pairs.txt`` starts with ``10<TAB>n``; a genuine pair is ``name i j``, an impostor pair ``name i name j``.

    Args:
        root: Folder to fill.
        photographs: One per row of the protocol's shots, in order.
        protocol: The images and pairs.
        seed: Seed of the data set.
    """
    shots = protocol.shots
    names = invented_names(seed, np.unique(shots.ids).tolist())
    people = [names[person] for person in shots.ids.tolist()]
    numbers = (shots.samples + 1).tolist()
    rows = []
    for name, number, photograph in zip(people, numbers, photographs, strict=True):
        file = f"{name}/{name}_{number:04d}.jpg"
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(photograph.visible)
        rows.append([file, *np.round(photograph.landmarks, 1).flatten().tolist()])
    _write_csv(root / "landmarks.csv", ["file", *_LANDMARK_COLUMNS], rows)
    lines = [f"{FOLDS}\t{len(protocol.pairs) // (2 * FOLDS)}"]
    for (first, second), same in zip(protocol.pairs.tolist(), protocol.same, strict=True):
        other = "" if same else f"\t{people[second]}"
        lines.append(f"{people[first]}\t{numbers[first]}{other}\t{numbers[second]}")
    _write_lines(root / "pairs.txt", lines)


def write_verification_bin(path: Path, photographs: Iterator[Photograph], protocol: PairProtocol) -> None:
    """Write aligned images and their pairs as an InsightFace ``.bin`` file.

    Args:
        path: File to write.
        photographs: One per row of the protocol's shots, in order.
        protocol: The images and pairs.
    """
    images = [photograph.visible for photograph in photographs]
    write_bin(path, [images[row] for row in protocol.pairs.flatten()], protocol.same)


def write_gender_set(path: Path, photographs: Iterator[Photograph], protocol: PairProtocol) -> None:
    """Write aligned images, their pairs, and the attributes of all of them as a ``.bin`` file with genders.

    Args:
        path: File to write.
        photographs: One per row of the protocol's shots, in order.
        protocol: The images and pairs.
    """
    images, attributes = zip(*((photo.visible, photo.facts["attribute"]) for photo in photographs), strict=True)
    write_gender_bin(
        path,
        [images[row] for row in protocol.pairs.flatten()],
        protocol.same,
        images,
        protocol.shots.ids,
        attributes,
        np.array(attributes)[protocol.pairs],
    )


def write_templates(root: Path, photographs: Iterator[Photograph], protocol: TemplateProtocol) -> None:
    """Write loose crops and the six meta files of the IJB-C release used by the field.

    Args:
        root: Folder to fill with ``loose_crop/<n>.jpg`` and ``meta/``.
        photographs: One per row of the protocol's shots, in order.
        protocol: The images, templates and searches.
    """
    crops, meta = root / "loose_crop", root / "meta"
    crops.mkdir(parents=True)
    meta.mkdir()
    points = []
    for number, photograph in enumerate(photographs, start=1):
        (crops / f"{number}.jpg").write_bytes(photograph.visible)
        landmarks = " ".join(f"{value:.3f}" for value in photograph.landmarks.flatten())
        points.append(f"{number}.jpg {landmarks} {photograph.score:.4f}")
    _write_lines(meta / "ijbc_name_5pts_score.txt", points)
    images = zip(protocol.template.tolist(), protocol.medium.tolist(), strict=True)
    _write_lines(
        meta / "ijbc_face_tid_mid.txt",
        (f"{number}.jpg {template} {medium}" for number, (template, medium) in enumerate(images, start=1)),
    )
    pairs, same = protocol.pairs()
    _write_lines(
        meta / "ijbc_template_pair_label.txt",
        (f"{first} {second} {label:d}" for (first, second), label in zip(pairs.tolist(), same, strict=True)),
    )
    subject = protocol.shots.ids
    people = np.unique(subject)
    in_first_gallery = np.isin(subject, people[: len(people) // 2])
    for file, rows in {
        "ijbc_1N_gallery_G1.csv": protocol.enrolled & in_first_gallery,
        "ijbc_1N_gallery_G2.csv": protocol.enrolled & ~in_first_gallery,
        "ijbc_1N_probe_mixed.csv": ~protocol.enrolled,
    }.items():
        table = [[protocol.template[row], subject[row], f"{row + 1}.jpg"] for row in np.flatnonzero(rows)]
        _write_csv(meta / file, ["TEMPLATE_ID", "SUBJECT_ID", "FILENAME"], table)


def _rounded(points: np.ndarray) -> list[list[float]]:
    return [[round(value, 3) for value in point] for point in points.tolist()]


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_csv(path: Path, header: list[str], rows: Iterable[list]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
