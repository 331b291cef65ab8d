"""What trying all passwords would cost."""

from __future__ import annotations

import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from src.eval.anonymization.interfaces import Transform, random_bits
from src.eval.anonymization.suite import Networks

__all__ = ["brute_force_cost", "count_flop", "time_pass"]

_REPEATS = 3


def brute_force_cost(
    network: nn.Module, networks: Networks, size: int, batch_size: int, device: torch.device
) -> dict[str, float]:
    """What it costs to recover one face with all 2^L passwords; comparing the results comes on top.

    Args:
        network: The transformer.
        networks: The same as a function, for the time it takes.
        size: Side of the face in pixels.
        batch_size: Faces that go through the network at once.
        device: Where the network is.

    Returns:
        ``pass_flop`` and ``pass_seconds`` of one face on this device, and ``brute_flop`` and ``brute_seconds`` of all.
    """
    flop = float(count_flop(network, size, networks.length, device))
    seconds = time_pass(networks.transform, size, networks.length, batch_size)
    guesses = 2.0**networks.length
    return {
        "pass_flop": flop,
        "pass_seconds": seconds,
        "brute_flop": flop * guesses,
        "brute_seconds": seconds * guesses,
    }


def count_flop(network: nn.Module, size: int, length: int, device: torch.device) -> int:
    """Floating point operations of one pass, two for each multiplication that is added up.

    Args:
        network: The transformer.
        size: Side of the face in pixels.
        length: Bits of a password.
        device: Where the network is.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, size, size, device=device), torch.zeros(1, length, dtype=torch.bool, device=device))
    return counter.get_total_flops()


def time_pass(transform: Transform, size: int, length: int, batch_size: int) -> float:
    """Seconds of a pass for each face of a batch: the shortest of three runs, after one that is not counted."""
    images = torch.zeros(batch_size, 3, size, size)
    bits = random_bits(batch_size, length, torch.Generator().manual_seed(0))
    seconds = []
    for _ in range(_REPEATS + 1):
        start = time.perf_counter()
        transform(images, bits)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:]) / batch_size
