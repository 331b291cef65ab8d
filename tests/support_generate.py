"""A tiny generator, a recogniser of its images and real people, and `privface generate` on them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from support_arcbifacegan import TINY, filled
from support_checkpoint import write_checkpoint
from support_pairs import write_pairs
from torch import nn

from src.apps.overrides import check
from src.apps.user_errors import explain
from src.errors import UserError
from src.models.networks.mini import MiniFaceNet
from src.models.networks.stylegan2 import Generator

__all__ = ["SMALL", "contents", "generate", "without", "write_inputs"]

SMALL = [
    "ids=3",
    "samples_per_id=4",
    "similarity_mean=0.6",
    "similarity_std=0.1",
    "detector=none",
    "max_attempts=200",
    "batch_size=8",
    "device=cpu",
]
"""Similarities of a network that has learned nothing: above 0.4 it is the same person, above 0.7 a duplicate."""

ARGUMENTS: dict[str, Any] = {"z_dim": 32, "w_dim": 32, "c_dim": 16, "mapping_layers": 2, **TINY}


def write_inputs(folder: Path) -> list[str]:
    """Write checkpoints and images of real people; returns the keys of the command that name them."""
    generator = filled(Generator(**ARGUMENTS)).eval()
    config = {"_target_": "src.models.networks.stylegan2.Generator", **ARGUMENTS}
    state = {f"average.{name}": value for name, value in generator.state_dict().items()}
    others = {f"generator.{name}": torch.zeros_like(value) for name, value in generator.state_dict().items()}
    model = {"_target_": "src.models.arcbifacegan.ArcBiFaceGAN", "generator": config}
    content = {"epoch": 0, "global_step": 8, "state_dict": {**state, **others}, "hyper_parameters": {"model": model}}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / "generator.ckpt")
    backbone = {"_target_": "src.models.networks.mini.MiniFaceNet", "embedding_size": 16, "size": 32}
    recogniser = write_checkpoint(folder / "recogniser.ckpt", _recogniser(generator), backbone, 32)
    write_pairs(folder / "real", ["1_1", "1_2", "2_1", "2_2"])
    return [
        f"ckpt_path={folder / 'generator.ckpt'}",
        f"recogniser={recogniser}",
        "source=vis_nir",
        f"source.root={folder / 'real'}",
    ]


def _recogniser(generator: Generator) -> nn.Module:
    """A network with random weights whose statistics are those of the generator's images."""
    torch.manual_seed(0)
    network = MiniFaceNet(16, 32)
    images, _ = generator(torch.randn(64, 32), 4 * nn.functional.normalize(torch.randn(64, 16)), noise_mode="const")
    network.train()
    with torch.no_grad():
        for _ in range(30):
            network(images.detach().clamp(-1, 1))
    return network.eval()


def without(*keys: str) -> list[str]:
    """`SMALL` but for some keys, given with or without a value."""
    names = {key.partition("=")[0] for key in keys}
    return [key for key in SMALL if key.partition("=")[0] not in names]


def generate(*overrides: str) -> None:
    """Run the command in this process."""
    config = check("privface", ["app=generate", *overrides])
    try:
        instantiate(config.run)
    except InstantiationException as error:
        raise UserError(explain(error)) from error


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file of a data set by its path, but of sheets and of what is kept in order to go on."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in files.items()
        if not name.startswith((".generate", "sheets"))
    }
