"""A rank-hash checkpoint and photographs of procedural people, for tests of the gallery commands."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from support import faces_config
from support_checkpoint import write_checkpoint
from support_commands import run_command

from src.apps.overrides import CONF, check
from src.datamodules.evaluation_images import EvaluationImages
from src.datamodules.identification_sets import read_class_folders
from src.datamodules.procfaces.dataset import build
from src.datamodules.sample import to_float
from src.models.networks.rank_hash import RankHashLayer, RankHashNetwork
from src.models.networks.whitened_pca import WhitenedPCA

__all__ = ["GalleryCommands", "draw_people", "write_rank_hash"]

_SIZE = 32


def draw_people(folder: Path) -> Path:
    """Draw five people on some photographs each, 54 in all; return the folder of their folders, with landmarks."""
    config = faces_config(
        "ci32",
        name="tiny",
        identities=2,
        per_identity=2,
        evaluation_identities=5,
        evaluation_images=20,
        pairs_per_fold=2,
    )
    return build(folder, config, processes=1) / "lfw"


def write_rank_hash(path: Path, people: Path, *, m: int = 40, seed: int = 0) -> Path:
    """Write a checkpoint of a rank hash behind principal components of photographs of people.

    Args:
        path: The file.
        people: Folder of their folders.
        m: Symbols of a code, out of 8.
        seed: Of the projection.
    """
    backbone = WhitenedPCA(embedding_size=16, size=_SIZE)
    images = EvaluationImages(read_class_folders(people, name="people").images, _SIZE)
    backbone.fit(np.stack([to_float(images[index]["image"]).numpy() for index in range(len(images))]))
    torch.manual_seed(seed)
    network = RankHashNetwork(backbone, partial(RankHashLayer, m=m, q=8))
    config = {"_target_": "src.models.networks.whitened_pca.WhitenedPCA", "embedding_size": 16, "size": _SIZE}
    write_checkpoint(path, network, config, _SIZE)
    content = torch.load(path, weights_only=True)
    layer = {"_target_": "src.models.networks.rank_hash.RankHashLayer", "_partial_": True, "m": m, "q": 8}
    content["hyper_parameters"]["model"] |= {"_target_": "src.models.drh.DRH", "layer": layer}
    torch.save(content, path)
    return path


class GalleryCommands:
    """Runs ``privface gallery`` on one gallery, in this process or as typed.

    Args:
        folder: Of all that the commands write.
        checkpoint: Of the network.
    """

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.templates = folder / "templates"
        self.identifiers = folder / "identifiers"
        self.people = folder / "people.csv"
        self.matches = folder / "matches.csv"

    def __call__(self, command: str, **keys: Any) -> None:
        """Run a command with the keys that it was given, composed and checked as from the command line."""
        instantiate(check("privface", [f"app=gallery/{command}", *self._overrides(command, keys)]).run)

    def start(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        """Type a command; ``arguments`` follow the keys of `__call__`."""
        typed = [sys.executable, "-m", "src.apps.main", "gallery", command, *self._overrides(command, {}), *arguments]
        return subprocess.Popen(typed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CONF.parent)

    def type(self, command: str, *arguments: str) -> tuple[int, str, str]:
        """Type a command and wait: exit status, output, errors."""
        result = run_command("privface", "gallery", command, *self._overrides(command, {}), *arguments)
        assert "Traceback" not in result.stderr, result.stderr
        return result.returncode, result.stdout, result.stderr

    def rows(self, path: Path | None = None) -> list[dict[str, str]]:
        """The rows of a table, by default that of the people."""
        with open(path or self.people, newline="") as file:
            return list(csv.DictReader(file))

    def pids(self) -> dict[str, int]:
        """Person -> number; each has only one."""
        pairs = {(row["person"], int(row["pid"])) for row in self.rows()}
        assert len(pairs) == len(dict(pairs))
        return dict(pairs)

    def _overrides(self, command: str, keys: Mapping[str, Any]) -> list[str]:
        defaults = {"templates": self.templates, "identifiers": self.identifiers}
        if command in ("enrol", "identify"):
            defaults |= {"ckpt_path": self.checkpoint, "out": self.people if command == "enrol" else self.matches}
        return [f"{key}={value}" for key, value in (defaults | dict(keys)).items()]
