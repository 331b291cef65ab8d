"""Weights of MTCNN by hand: they find what is red, think more of what is green, and know where its landmarks are."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from src.models.networks.mtcnn.networks import OutputNetwork, ProposalNetwork, RefinementNetwork

__all__ = ["LANDMARKS", "RED", "scene", "write_weights"]

LANDMARKS = torch.tensor([[0.3, 0.35], [0.7, 0.35], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
"""Of every face, as fractions of its square."""
RED, SPOT = (255, 0, 0), 4


def write_weights(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Write the three files; returns what they hold."""
    weights = {
        name: {key: torch.zeros_like(value) for key, value in network().state_dict().items()}
        for name, network in (("pnet", ProposalNetwork), ("rnet", RefinementNetwork), ("onet", OutputNetwork))
    }
    pnet, rnet, onet = weights.values()
    pnet["conv1.weight"][0, 0, 1, 1] = pnet["conv2.weight"][0, 0, 1, 1] = pnet["conv3.weight"][0, 0, 1, 1] = 1
    pnet["conv4_1.weight"][1, 0], pnet["conv4_1.bias"][1] = 8, -2
    rnet["dense5_1.bias"][1] = 3
    onet["conv1.weight"][0, 1, 1, 1] = onet["conv2.weight"][0, 0, 1, 1] = 1
    onet["conv3.weight"][0, 0, 1, 1] = onet["conv4.weight"][0, 0, 0, 0] = 1
    onet["dense5.weight"][0, ::128] = 1
    onet["dense6_1.weight"][1, 0], onet["dense6_1.bias"][1] = 1, 3
    onet["dense6_3.bias"] = LANDMARKS.T.flatten()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in weights.items():
        torch.save(content, folder / f"{name}.pt")
    return weights


def scene(height: int, width: int, *spots: tuple[int, int, tuple[int, int, int]]) -> Tensor:
    """A black image uint8 [3, height, width] with spots of 4 pixels: the column and row of their centre, and colour.

    P-Net fires once at a spot whose centre is a multiple of 10, on an image whose sides are 3 more than one of 5.
    """
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    half = SPOT // 2
    for x, y, colour in spots:
        image[:, y - half : y + half, x - half : x + half] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    return image
