"""``privface features``: the identity features that a generator is conditioned on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from src.apps.device import find_device
from src.apps.embedding import Recogniser
from src.datamodules.identity_features import IDENTITY_FEATURES, feature_name, medoids, write_identity_features
from src.datamodules.preparation.build import Preparation
from src.datamodules.preparation.shard_target import ShardTarget
from src.datamodules.preparation.transform import FaceTransform
from src.datamodules.sources.paired_folders import PairedFolders
from src.datamodules.sources.source import FaceSource
from src.datamodules.sources.view import WithFeatures
from src.datamodules.storage import Location
from src.errors import UserError, check_choice
from src.eval.generative.identities import identity_scores

__all__ = ["Mode", "run"]

Mode = Literal["all", "medoid"]


def run(
    source: Callable[[], FaceSource],
    backbone: nn.Module | None,
    ckpt_path: Path | str,
    out: Path | str | None,
    *,
    mode: Mode,
    l2_normalize: bool,
    overwrite: bool,
    batch_size: int,
    device: str,
    samples_per_shard: int,
    work: Path | str,
    size: int,
) -> None:
    """Embed the visible images of a collection, write the features, and print a table.

    Args:
        source: Opens the collection.
        backbone: See :class:`~src.apps.embedding.Recogniser`, like ``ckpt_path``.
        ckpt_path: See there.
        out: File ``*.json`` to write, see :func:`~src.datamodules.identity_features.write_identity_features`; or folder
            of shards that hold the images byte for byte, and the features. None: the usual file in the source's folder.
        mode: ``"all"``: every image has its own embedding; ``"medoid"``: all of an identity have that of its most
            typical image.
        l2_normalize: Scale features to unit length.
        overwrite: Replace a file that is there.
        batch_size: Images that go through the network at once.
        device: See :func:`~src.apps.device.find_device`.
        samples_per_shard: Images per shard.
        work: See :class:`~src.datamodules.preparation.target.Target`.
        size: Side of the images that ``backbone`` takes, where it does not tell.

    Raises:
        UserError: Something is missing or does not fit, raised before any long work; or an image cannot be read.
        SystemExit: After Ctrl-C or SIGTERM while shards are written, with status 130.
    """
    start = time.perf_counter()
    check_choice("mode", mode, get_args(Mode))
    if batch_size < 1:
        raise UserError(f"batch_size: expected at least 1, found {batch_size}")
    faces = source()
    target = _find_target(faces, out, overwrite)
    recogniser = Recogniser(Path(ckpt_path), backbone, size, find_device(device))
    origin = {"mode": mode, "l2_normalized": l2_normalize, "recogniser": recogniser.fingerprint}
    featured = WithFeatures(faces, origin)
    names = [feature_name(faces.key(row)) for row in range(len(faces))]

    similarity: list[str] = []

    def compute() -> np.ndarray:
        features = recogniser.embed(faces, batch_size)
        similarity.append(_describe_similarity(features, faces.labels))
        if mode == "medoid":
            features = features[medoids(features, faces.labels, names)]
        return _to_unit_length(features) if l2_normalize else features

    if isinstance(target, Path):
        featured.features = compute()
        write_identity_features(target, names, featured.features)
    elif not _write_shards(featured, compute, ShardTarget(target, work), samples_per_shard):
        Console().print(f"{target} holds these shards already, nothing to do.", soft_wrap=True)
        return
    assert featured.features is not None
    _print_table(faces, featured.features, similarity[0], origin, str(target), time.perf_counter() - start)


def _describe_similarity(embeddings: np.ndarray, labels: np.ndarray) -> str:
    """How alike images of one identity and of two are, in the keys of the filter that relies on it."""
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) < 2 or counts.max() < 2:
        return "not measured: that takes two identities, and two images of one of them"
    found = identity_scores(torch.from_numpy(embeddings), torch.from_numpy(labels)).metrics
    return (
        f"similarity_mean={found['genuine_mean']:.3f} similarity_std={found['genuine_std']:.3f} of two images of one "
        f"identity; {found['impostor_mean']:.3f} ± {found['impostor_std']:.3f} of two identities"
    )


def _find_target(source: FaceSource, out: Path | str | None, overwrite: bool) -> Path | str:
    """The file to write as a path, or the folder or URL of shards as a string."""
    if out is None:
        if not (isinstance(source, PairedFolders) and source.root.is_local):
            raise UserError(
                "out: expected FILE.json, or where to write shards; only a local source=vis_nir has a default"
            )
        out = source.root.path / IDENTITY_FEATURES
    if not str(out).endswith(".json"):
        return str(out)
    if not Location(out).is_local:
        raise UserError(f"out={out}: the file is written locally only; give a local path, and copy it")
    path = Path(out)
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists already; overwrite=true replaces it, or give another name by out=FILE.json")
    return path


def _to_unit_length(features: np.ndarray) -> np.ndarray:
    # An embedding of zeros has no direction, and stays what it is.
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _write_shards(
    source: WithFeatures, compute: Callable[[], np.ndarray], target: ShardTarget, samples_per_shard: int
) -> bool:
    """Pack the images with their features; False if that was done before."""
    preparation = Preparation(
        source,
        target,
        FaceTransform(),
        samples_per_part=samples_per_shard,
        shuffle_seed=0,
        max_bad_fraction=0,
    )
    if preparation.is_complete():
        return False
    source.features = compute()
    try:
        preparation.run(len(os.sched_getaffinity(0)))
    except KeyboardInterrupt:
        Console(stderr=True).print("Stopped. Finished parts are kept; the same command goes on from there.")
        raise SystemExit(130) from None
    return True


def _print_table(
    source: FaceSource, features: np.ndarray, similarity: str, origin: dict[str, Any], out: str, seconds: float
) -> None:
    norms = np.linalg.norm(features, axis=1)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("source", source.name)
    table.add_row("images", f"{len(source):,} of {len(np.unique(source.labels)):,} identities")
    table.add_row("features", f"{features.shape[1]} numbers, length {norms.min():.3g} to {norms.max():.3g}")
    table.add_row("similarity", similarity)
    table.add_row("mode", "one per image" if origin["mode"] == "all" else "that of the most typical image per identity")
    table.add_row("written", out)
    table.add_row("time", f"{seconds:,.1f} s, {len(source) / seconds:,.0f} images/s")
    Console().print(table)
