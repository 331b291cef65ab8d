"""``privface prepare``: pack any collection of faces into shards, class folders or a record file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from src.datamodules.preparation.build import Preparation, Result
from src.datamodules.preparation.estimate import check_space, estimate
from src.datamodules.preparation.target import Target
from src.datamodules.preparation.transform import FaceTransform
from src.datamodules.sources.source import FaceSource

__all__ = ["run"]

_MODALITIES = {"image": "visible", "nir": "near infrared"}
_ATTRIBUTES = {0: "female", 1: "male", -1: "unknown"}
_NAMED = 3


def run(
    source: Callable[[], FaceSource],
    target: Callable[..., Target],
    out: Path | str,
    *,
    work: Path | str,
    size: int | None,
    align: bool,
    quality: int,
    shuffle: bool,
    seed: int,
    samples_per_shard: int,
    processes: int | None,
    max_bad_fraction: float,
    dry_run: bool,
) -> None:
    """Say what there is and what becomes of it, and do it unless ``dry_run``.

    Args:
        source: Opens the collection.
        target: Makes the target from ``out`` and ``work``.
        out: See :class:`~src.datamodules.preparation.target.Target`.
        work: See there.
        size: See :class:`~src.datamodules.preparation.transform.FaceTransform`.
        align: See there.
        quality: See there.
        shuffle: Mix all images, instead of keeping classes together.
        seed: Of the mix.
        samples_per_shard: Images per shard.
        processes: That work side by side; by default one per usable core.
        max_bad_fraction: Largest fraction of unreadable images that is tolerated.
        dry_run: Write nothing.

    Raises:
        UserError: See :class:`~src.datamodules.preparation.build.Preparation`; or there is too little space.
        SystemExit: After Ctrl-C or SIGTERM, with status 130.
    """
    preparation = Preparation(
        source(),
        target(out=out, work=work),
        FaceTransform(size, align, quality),
        samples_per_part=samples_per_shard,
        shuffle_seed=seed if shuffle else None,
        max_bad_fraction=max_bad_fraction,
    )
    console = Console()
    complete = preparation.is_complete()
    if not complete:
        console.print(_plan(preparation))
        if dry_run:
            console.print("Dry run: nothing was written.")
            return
    try:
        result = preparation.run(len(os.sched_getaffinity(0)) if processes is None else processes)
    except KeyboardInterrupt:
        Console(stderr=True).print("Stopped. Finished parts are kept; the same command goes on from there.")
        raise SystemExit(130) from None
    if result is None:
        console.print(f"{out} holds this data set already, nothing to do.", soft_wrap=True)
    else:
        console.print(_summary(preparation, result))
    console.print(f"Next: {preparation.target.use}", highlight=False, markup=False, soft_wrap=True)


def _plan(preparation: Preparation) -> Table:
    source, target = preparation.source, preparation.target
    expected = estimate(preparation)
    free = check_space(preparation, expected.bytes)
    counts = np.bincount(source.labels)
    counts = counts[counts > 0]
    table = _grid()
    table.add_row("source", source.name)
    table.add_row("images", f"{len(source):,}")
    table.add_row(
        "classes", f"{len(counts):,} of {counts.min():,} to {counts.max():,} images, median {np.median(counts):,.0f}"
    )
    table.add_row("attributes", _attributes(source.attributes))
    table.add_row("modalities", _contents(source))
    table.add_row("left out", _left_out(source))
    table.add_row("transform", str(preparation.transform))
    table.add_row("target", f"{target.out}: {target.kind}")
    if omitted := target.omitted(source):
        table.add_row("not kept", f"[yellow]{', '.join(omitted)}")
    seed = preparation.shuffle_seed
    table.add_row("order", "class by class" if seed is None else f"shuffled, seed {seed}")
    finished = f", {preparation.journal.finished} are finished" if preparation.journal.exists else ""
    table.add_row("parts", f"{len(preparation.parts):,} of up to {len(preparation.parts[0]):,} images{finished}")
    space = f"about {decimal(expected.bytes)}"
    if target.out.is_local:
        space += f"{' and as much while it is written' if target.copies > 1 else ''}, {decimal(free)} free"
    table.add_row("size", space)
    if expected.unreadable:
        table.add_row("unreadable", f"[yellow]{expected.unreadable} of {expected.looked_at} images looked at")
    return table


def _summary(preparation: Preparation, result: Result) -> Table:
    table = _grid()
    table.add_row("images", f"{result.images:,}")
    table.add_row("skipped", f"{result.skipped:,}" + (", see skipped.csv" if result.skipped else ""))
    if result.degenerate:
        table.add_row("not aligned", f"{result.degenerate:,} have unusable landmarks, their centre was taken")
    table.add_row("written", f"{decimal(result.bytes)} to {preparation.target.out}")
    speed = f"{result.new_images / result.seconds:,.0f} images/s"
    table.add_row("time", f"{result.seconds:,.1f} s, {speed}")
    return table


def _grid() -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    return table


def _attributes(attributes: np.ndarray) -> str:
    counts = Counter(attributes.tolist())
    return ", ".join(f"{counts[value]:,} {name}" for value, name in _ATTRIBUTES.items() if counts[value])


def _contents(source: FaceSource) -> str:
    names = [_MODALITIES[modality] for modality in source.modalities]
    names += ["landmarks"] if source.has_landmarks else []
    return ", ".join(names + (["features"] if source.has_features else []))


def _left_out(source: FaceSource) -> str:
    lines = [f"{len(source.left_out):,}"]
    lines += [f"{left.name}: {left.reason}" for left in source.left_out[:_NAMED]]
    return "\n".join(lines + (["..."] if len(source.left_out) > _NAMED else []))
