"""How far the predictions of ``privface plan`` are from measurements on this machine.

Run as ``python -m benchmarks.plan``; about a minute. The machine is measured first, by one convolution, one matrix
product, one copy and the sum of a tensor over two processes; then steps of two networks and the sums of their gradients
are predicted from that and measured. Times are the best of several rounds, with one thread in each process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, distributed, multiprocessing, nn

from src.losses.heads import ArcFaceHead
from src.models.networks.iresnet import iresnet18
from src.models.networks.mini import MiniFaceNet
from src.models.planning.communication import Collective
from src.models.planning.counting import count_step
from src.models.planning.hardware import Cluster, Gpu
from src.models.planning.prediction import Data, Failures, Job, predict

CLASSES, EMBEDDING = 1000, 512
CALIBRATED = 64 << 20  # bytes that are summed to find the rate between processes
NETWORKS: dict[str, tuple[Callable[..., nn.Module], int]] = {
    "mini, 32 pixels": (partial(MiniFaceNet, EMBEDDING), 32),
    "iresnet18, 112 pixels": (partial(iresnet18, EMBEDDING), 112),
}


@dataclass(frozen=True)
class Machine:
    """What was measured of it: operations per second, and bytes per second."""

    convolution: float
    product: float
    copy: float


def main() -> None:
    """Measure, predict and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    machine = calibrate(arguments.rounds)
    console = Console()
    console.print(
        f"convolution {machine.convolution / 1e9:.0f} GFLOP/s, product {machine.product / 1e9:.0f} GFLOP/s, "
        f"copy {machine.copy / 1e9:.1f} GB/s"
    )
    table = Table("step", "predicted ms", "measured ms", "predicted / measured", box=None, pad_edge=False)
    counts = {}
    for name, (make, size) in NETWORKS.items():
        counts[name] = count_step(lambda make=make, size=size: make(size), arguments.batch, size, half=False)
        predicted = _predicted_step(machine, counts[name], arguments.batch, size)
        measured = _measured_step(make(size), arguments.batch, size, arguments.rounds)
        _row(table, f"{name}, batch {arguments.batch}", predicted, measured)
    payloads = {name: 4 * count.trainable for name, count in counts.items()}
    rate, latency, seconds = _sums_over_processes(list(payloads.values()), arguments.rounds)
    cluster = Cluster(Gpu(1, 1, 1, 1, 1, rate, rate), 2, 2, 1.0, 1.0, 1.0, latency)
    for (name, payload), measured in zip(payloads.items(), seconds, strict=True):
        _row(table, f"sum of gradients, {name}", Collective(name, "all_reduce", payload).seconds(cluster), measured)
    console.print(table)


def calibrate(rounds: int) -> Machine:
    """Measure one operation of each kind."""
    images = torch.randn(16, 128, 28, 28).requires_grad_()
    layer = nn.Conv2d(128, 128, 3, padding=1)
    matrix = torch.randn(1024, 1024)
    source, target = torch.randn(1 << 25), torch.empty(1 << 25)

    def convolve() -> None:
        layer(images).sum().backward()

    flop = 3 * 2 * 16 * 28 * 28 * 128 * 128 * 9
    return Machine(
        convolution=flop / best(convolve, rounds),
        product=2 * 1024**3 / best(lambda: matrix @ matrix, rounds),
        copy=2 * source.nbytes / best(lambda: target.copy_(source), rounds),
    )


def best(function: Callable[[], Any], rounds: int) -> float:
    """Seconds of the fastest of several calls, after one that is not counted."""
    function()
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def _predicted_step(machine: Machine, count: Any, batch: int, size: int) -> float:
    gpu = Gpu(1e12, machine.copy, machine.convolution, machine.convolution, machine.product, 1.0, 1.0)
    cluster = Cluster(gpu, 1, 1, compute=1.0, memory=1.0, network=1.0, latency=0.0)
    job = Job(count, batch, size, EMBEDDING, CLASSES, None, "ddp", states=1, half=False, epochs=1, steps=0)
    data = Data(10**6, 1, 1, workers=1, cores=1, decode_rate=1e12, request=0.0)
    return predict(job, cluster, data, Failures(1, 1, 1), reserve=0.1).step


def _measured_step(network: nn.Module, batch: int, size: int, rounds: int) -> float:
    head = ArcFaceHead(EMBEDDING, CLASSES)
    optimizer = torch.optim.SGD([*network.parameters(), *head.parameters()], lr=1e-3, momentum=0.9)
    images, labels = torch.randn(batch, 3, size, size), torch.arange(batch)

    def step() -> None:
        optimizer.zero_grad()
        head(network(images), labels).loss.backward()
        optimizer.step()

    return best(step, rounds)


def _sums_over_processes(payloads: list[int], rounds: int) -> tuple[float, float, list[float]]:
    """Rate of two processes in bytes per second, seconds that the smallest sum takes, and those of each payload."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_sum, (folder, payloads, rounds), nprocs=2)
        latency, calibrated, *seconds = torch.load(Path(folder) / "seconds.pt", weights_only=True)
    return CALIBRATED / (calibrated - latency), latency, seconds


def _sum(rank: int, folder: str, payloads: list[int], rounds: int) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    seconds = []
    for payload in (4, CALIBRATED, *payloads):
        tensor = torch.zeros(payload // 4)
        seconds.append(best(partial(_all_reduce, tensor), rounds))
    if rank == 0:
        torch.save(seconds, Path(folder) / "seconds.pt")
    distributed.destroy_process_group()


def _all_reduce(tensor: Tensor) -> None:
    distributed.all_reduce(tensor)


def _row(table: Table, name: str, predicted: float, measured: float) -> None:
    table.add_row(name, f"{1000 * predicted:.1f}", f"{1000 * measured:.1f}", f"{predicted / measured:.2f}")


if __name__ == "__main__":
    main()
