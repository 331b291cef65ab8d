"""Checkpoints as ``train.py`` writes them, without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

__all__ = ["write_checkpoint"]


def write_checkpoint(
    path: Path, network: nn.Module, backbone: dict[str, Any], size: int, model: dict[str, Any] | None = None
) -> Path:
    """Write a checkpoint of the run ``tiny``.

    Args:
        path: The file.
        network: Its weights.
        backbone: Config that builds it.
        size: Side of its images.
        model: More of the config of the module.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {f"backbone.{name}": value for name, value in network.state_dict().items()}
    config = {
        "name": "tiny",
        "init_from": "/home/someone/weights/start.pth",
        "datamodule": {
            "_target_": "src.datamodules.face_datamodule.FaceDataModule",
            "source": {"_target_": "src.datamodules.sources.shard_source.ShardSource", "root": "/home/someone/faces"},
            "size": size,
        },
        "model": {
            "_target_": "src.models.recognizer.FaceRecognizer",
            "backbone": backbone,
            "head": {"_target_": "src.losses.heads.ArcFaceHead", "_partial_": True, "margin": 0.5, "scale": 64.0},
            **(model or {}),
        },
        "benchmark": {"lfw": {"_target_": "src.eval.verification_benchmarks.lfw", "root": "/home/someone/sets/lfw"}},
    }
    torch.save(
        {
            "epoch": 2,
            "global_step": 1234,
            "state_dict": {**state, "head.weight": torch.zeros(4, 16)},
            "hyper_parameters": config,
        },
        path,
    )
    return path
