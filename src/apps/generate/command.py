"""``privface generate``: synthetic people in visible light and near infrared who resemble nobody real."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from src.apps.gallery.arguments import to_path
from src.apps.gallery.interruption import stops_cleanly
from src.apps.generate.folder import GeneratedFolder
from src.apps.generate.imaging import DevicePool, FaceEmbedder, ImageMaker, Resize
from src.apps.generate.known_people import GalleryRows, KnownPeople
from src.apps.generate.plan import MakerPlan, find_devices
from src.apps.generate.sheets import contact_sheet, interpolation_sheet, truncation_sheet
from src.apps.generate.summary import Audit, audit, explain_rejections, write_facts, write_summary
from src.datamodules.preparation.build import Preparation
from src.datamodules.preparation.journal import Journal
from src.datamodules.preparation.shard_target import ShardTarget
from src.datamodules.preparation.transform import FaceTransform
from src.datamodules.sources.generated_faces import GeneratedFaces
from src.datamodules.sources.source import FaceSource
from src.errors import UserError, check_choice
from src.files import explain_full_disk
from src.models.generation.faces import FaceDetector, FaceRule
from src.models.generation.gallery import Gallery
from src.models.generation.rules import FilterSettings
from src.models.generation.selection import select
from src.progress import image_progress

__all__ = ["run"]

_VERSION = 1


def run(
    ids: int,
    seed: int,
    ckpt_path: Path | str,
    recogniser: Path | str,
    backbone: nn.Module | None,
    size: int,
    source: Callable[[], FaceSource] | None,
    known: Path | str | None,
    out: Path | str,
    shards: Path | str | None,
    *,
    psi: float,
    identity_scale: float,
    max_identity_attempts: int,
    gallery: GalleryRows,
    resize_mode: Resize,
    sheet: bool,
    batch_size: int,
    device: str,
    devices: int | str,
    samples_per_shard: int,
    work: Path | str,
    detector: FaceDetector | None,
    face_rule: FaceRule,
    settings: FilterSettings,
) -> None:
    """Generate people until there are enough, check them, and print a table.

    A run that was killed, or a larger number of ``ids``, goes on where the folder ends.

    Args:
        ids: How many people.
        seed: Of everything.
        ckpt_path: See :func:`~src.apps.generate.generator_file.load_generator`.
        recogniser: See :class:`~src.apps.embedding.Recogniser`, like the next two.
        backbone: See there.
        size: See there.
        source: Opens a collection of the real people.
        known: File of their features instead.
        out: Folder of the data set.
        shards: Folder or URL for the same as shards; None for none.
        psi: Truncation.
        identity_scale: Norm of the identity vectors.
        max_identity_attempts: Stop when so many people in a row were rejected.
        gallery: See :func:`~src.apps.generate.known_people.choose_rows`.
        resize_mode: See :class:`~src.apps.generate.imaging.FaceEmbedder`.
        sheet: Draw interpolations and truncations.
        batch_size: Images that go through the networks at once, per device.
        device: See :func:`~src.apps.device.find_device`.
        devices: How many, or ``"auto"``.
        samples_per_shard: Images per shard.
        work: See :class:`~src.datamodules.preparation.target.Target`.
        detector: Finds the faces on first images; None: they are not checked.
        face_rule: What is asked of them.
        settings: Of the filter.

    Raises:
        UserError: Something is missing or does not fit, raised before any long work; or too many people in a row were
            rejected, or an image that was written resembles a real person.
        SystemExit: After Ctrl-C or SIGTERM, with status 130; the people accepted until then are kept.
    """
    start = time.perf_counter()
    check_choice("gallery", gallery, get_args(GalleryRows))
    check_choice("resize_mode", resize_mode, get_args(Resize))
    for key, value in (("ids", ids), ("max_identity_attempts", max_identity_attempts)):
        if value < 1:
            raise UserError(f"{key}: expected at least 1, found {value}")
    plan = MakerPlan(
        to_path("ckpt_path", ckpt_path),
        to_path("recogniser", recogniser),
        backbone,
        size,
        resize_mode,
        detector,
        face_rule,
        seed,
        psi,
        identity_scale,
        batch_size,
    )
    real = KnownPeople.of(source, known)
    out = to_path("out", out)
    target = None if shards is None else _shard_target(shards, work)
    consequence = f"The people accepted so far are in {out}; the same command goes on from there"
    with (
        stops_cleanly(f"{consequence}."),
        explain_full_disk(out, consequence),
        DevicePool(plan, find_devices(device, devices)) as pool,
    ):
        embed = pool.local.embed
        assert isinstance(embed, FaceEmbedder)
        folder = GeneratedFolder(out, _describe(pool.local, embed, real, gallery, settings))
        if len(folder.accepted) > ids:
            raise UserError(f"ids: {out} holds {len(folder.accepted)} people already, found {ids}; give another folder")
        if (embeddings := folder.known()) is None:
            embeddings = real.embeddings(embed.recogniser, gallery, batch_size)
            _check_length(embeddings, embed)
            folder.begin(embeddings)
        complete = _generate(folder, pool, embeddings, settings, ids, max_identity_attempts)
        write_summary(folder, pool.local.vectors)
        checked = audit(folder, embeddings, embed, settings.same_identity, batch_size) if folder.accepted else None
        if checked is not None:
            write_facts(folder, checked)
            _check(checked, settings, out)
            _draw(folder, settings.samples_per_id, pool.local if sheet else None)
        if not complete or checked is None:
            raise UserError(
                f"stopped with {len(folder.accepted)} of {ids} people: {max_identity_attempts} in a row were rejected "
                f"(max_identity_attempts); {explain_rejections(folder)}. See rejections.json in {out}, which keeps "
                "the accepted people. A generator with more variety, less truncation (psi nearer to 1), or a "
                "recogniser that tells people apart better accept more; the same command with a larger "
                "max_identity_attempts goes on."
            )
    if target is not None:
        _pack(folder.path, target, samples_per_shard)
    _print_table(folder, checked, settings, shards, time.perf_counter() - start)


def _describe(
    make: ImageMaker, embed: FaceEmbedder, real: KnownPeople, gallery: GalleryRows, settings: FilterSettings
) -> dict[str, Any]:
    """All that the images and decisions depend on, but the number of people."""
    return {
        "version": _VERSION,
        "seed": make.seed,
        "generator": make.synthesiser.fingerprint,
        "recogniser": embed.recogniser.fingerprint,
        "known": real.fingerprint,
        "gallery": gallery,
        "psi": make.psi,
        "identity_scale": make.identity_scale,
        "resize_mode": embed.resize,
        "detector": None if make.detector is None else make.detector.fingerprint,
        "face_rule": vars(make.face_rule),
        "filter": vars(settings),
        "same_identity": settings.same_identity,
        "duplicate": settings.duplicate,
    }


def _check_length(known: np.ndarray, embed: FaceEmbedder) -> None:
    """Raise UserError if the real people's features cannot be by this recogniser."""
    blank = torch.zeros(1, 3, embed.recogniser.size, embed.recogniser.size, dtype=torch.uint8)
    length = embed(blank).shape[1]
    if known.shape[1] != length:
        raise UserError(
            f"known: features of {known.shape[1]} numbers, but the recogniser makes {length}; make them by privface "
            "features with this recogniser"
        )


def _generate(
    folder: GeneratedFolder,
    pool: DevicePool,
    known: np.ndarray,
    settings: FilterSettings,
    ids: int,
    limit: int,
) -> bool:
    """Add people to a folder until there are enough; False if the limit was reached before."""
    gallery = Gallery(torch.from_numpy(known))
    for number in range(len(folder.accepted)):
        gallery.add(torch.from_numpy(folder.embeddings(number)[0]))
    accepted, in_a_row = len(folder.accepted), folder.rejected_in_a_row
    candidates = select(pool, gallery, settings, ids=ids, capacity=pool.capacity, first=len(folder.outcomes))
    with image_progress() as progress:
        task = progress.add_task("generating", total=ids * settings.samples_per_id)
        while accepted < ids and in_a_row < limit:
            outcome = folder.add(next(candidates))
            accepted += outcome.rule is None
            in_a_row = 0 if outcome.rule is None else in_a_row + 1
            progress.update(
                task,
                completed=accepted * settings.samples_per_id,
                description=f"generating, {len(folder.outcomes) - accepted:,} people rejected",
            )
    return accepted == ids


def _check(checked: Audit, settings: FilterSettings, out: Path) -> None:
    """Raise UserError if the written images do not keep what the filter promised."""
    if checked.ids_above_threshold:
        raise UserError(
            f"{out}: {checked.ids_above_threshold} people resemble a real person when their images are read back, by "
            f"up to {checked.max_cos_known:.6f} where {settings.same_identity:.6f} is allowed; the images were changed "
            "after they were written, or the filter is at fault: do not use them"
        )


def _draw(folder: GeneratedFolder, samples: int, make: ImageMaker | None) -> None:
    """Draw who was generated, and with a generator what lies between and around them."""
    contact_sheet(folder.path, len(folder.accepted), samples)
    if make is not None:
        people = [outcome.person for outcome in folder.accepted]
        truncation_sheet(folder.path / "sheets" / "truncation.png", make, people)
        interpolation_sheet(folder.path / "sheets" / "interpolation.png", make, people)


def _shard_target(shards: Path | str, work: Path | str) -> ShardTarget:
    """Where shards go; raises UserError if something else is there."""
    target = ShardTarget(shards, work)
    if not Journal(target.work).exists and target.read_record() is None and (foreign := target.foreign_files()):
        raise UserError(f"shards={shards}: expected a new or empty target, found {', '.join(foreign[:3])} in it")
    return target


def _pack(root: Path, target: ShardTarget, samples_per_shard: int) -> None:
    preparation = Preparation(
        GeneratedFaces(root),
        target,
        FaceTransform(),
        samples_per_part=samples_per_shard,
        shuffle_seed=0,
        max_bad_fraction=0,
    )
    if preparation.is_complete():
        return
    try:
        preparation.run(len(os.sched_getaffinity(0)))
    except KeyboardInterrupt:
        Console(stderr=True).print("Stopped. Finished shards are kept; the same command goes on from there.")
        raise SystemExit(130) from None


def _print_table(
    folder: GeneratedFolder, checked: Audit, settings: FilterSettings, shards: Path | str | None, seconds: float
) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    tried = sum(outcome.attempts for outcome in folder.outcomes)
    table.add_row("people", f"{len(folder.accepted):,}, {checked.images:,} images of {tried:,} that were tried")
    table.add_row("rejected", explain_rejections(folder))
    table.add_row(
        "privacy",
        f"all images read back: at most {checked.max_cos_known:.3f} similar to {checked.known:,} real ones, "
        f"{settings.same_identity:.3f} is allowed",
    )
    table.add_row("written", str(folder.path))
    table.add_row("time", f"{seconds:,.1f} s")
    console = Console()
    console.print(table)
    pack = f"privface prepare source=generated source.root={folder.path} out=DIR, then " if shards is None else ""
    console.print(
        f"Next: {pack}python train.py experiment=arcface datamodule=shards "
        f"datamodule.source.root={'DIR' if shards is None else shards}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
