from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from src.losses.class_shard import ClassShard
from src.losses.heads import ArcFaceHead
from src.losses.partial_fc import PartialFC
from src.models.networks.mini import MiniFaceNet
from src.models.planning.communication import (
    Collective,
    backbone_collectives,
    dense_head_collectives,
    sharded_head_collectives,
)
from src.models.planning.hardware import Cluster, Gpu

BATCH, SIZE, EMBEDDING, CLASSES, PROCESSES = 4, 32, 16, 10, 2
GPU = Gpu(8e10, 3e12, 1e15, 5e14, 7e13, node_rate=4e11, network_rate=5e10)


def test_a_step_of_two_processes_sends_what_is_predicted(tmp_path: Path) -> None:
    multiprocessing.spawn(_worker, (tmp_path,), nprocs=PROCESSES)
    for rank in range(PROCESSES):
        counted: dict[str, Any] = torch.load(tmp_path / f"counted_{rank}.pt", weights_only=True)
        (gradients,) = backbone_collectives("ddp", counted["parameters"], [counted["parameters"]])
        (of_head,) = dense_head_collectives(CLASSES, EMBEDDING)
        assert counted["buckets"] == gradients.payload + of_head.payload
        predicted: dict[str, int] = {}
        for collective in sharded_head_collectives(BATCH * PROCESSES, EMBEDDING, PROCESSES):
            predicted[collective.kind] = predicted.get(collective.kind, 0) + collective.payload
        assert counted["head"] == predicted


def _worker(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=PROCESSES)
    counted = {"buckets": _bucket_bytes(), "head": _head_bytes()}
    counted["parameters"] = sum(p.numel() for p in MiniFaceNet(EMBEDDING, SIZE).parameters())
    torch.save(counted, folder / f"counted_{rank}.pt")
    distributed.destroy_process_group()


def _bucket_bytes() -> int:
    """Gradients that a data-parallel step of a backbone with a whole head sums."""
    network = nn.Sequential(MiniFaceNet(EMBEDDING, SIZE), nn.Linear(EMBEDDING, CLASSES, bias=False))
    wrapped = DistributedDataParallel(network, broadcast_buffers=False)
    sizes: list[int] = []

    def count(state, bucket):  # type: ignore[no-untyped-def]  # torch compares annotations with classes, not with text
        sizes.append(bucket.buffer().nbytes)
        work = distributed.all_reduce(bucket.buffer(), async_op=True)
        assert work is not None
        return work.get_future().then(lambda future: future.value()[0])

    wrapped.register_comm_hook(None, count)
    wrapped(torch.randn(BATCH, 3, SIZE, SIZE)).sum().backward()
    return sum(sizes)


def _head_bytes() -> dict[str, int]:
    """What a step of a head whose classes are shared out sends, by collective."""
    shard = ClassShard.of_this_process(CLASSES)
    head = PartialFC(ArcFaceHead(EMBEDDING, len(shard)), shard)
    counted: dict[str, int] = {}

    def counting(kind: str, collective: Callable[..., Any], whole: int) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            counted[kind] = counted.get(kind, 0) + arguments[whole].nbytes
            return collective(*arguments, **options)

        return run

    # Which argument is the whole tensor: what is reduced, what is gathered, what is scattered.
    for name, kind, whole in (
        ("all_reduce", "all_reduce", 0),
        ("all_gather_into_tensor", "all_gather", 0),
        ("reduce_scatter_tensor", "reduce_scatter", 1),
    ):
        setattr(distributed, name, counting(kind, getattr(distributed, name), whole))
    embedding = torch.randn(BATCH, EMBEDDING, requires_grad=True)
    head(embedding, torch.arange(BATCH)).loss.backward()
    return counted


@pytest.mark.parametrize(("kind", "sent"), [("all_reduce", 1500), ("all_gather", 750), ("reduce_scatter", 750)])
def test_a_ring_sends_all_but_its_own_part(kind: Any, sent: float) -> None:
    assert Collective("tensor", kind, 1000).sent(4) == sent
    assert Collective("tensor", kind, 1000).sent(1) == 0


@pytest.mark.parametrize(("processes", "rate"), [(8, 4e11), (9, 5e10)])
def test_more_than_a_node_is_as_fast_as_the_network(processes: int, rate: float) -> None:
    cluster = Cluster(GPU, processes, 8, compute=1.0, memory=1.0, network=0.5, latency=1e-5)
    assert cluster.link == rate / 2
    collective = Collective("tensor", "all_gather", 10**9, calls=3)
    assert collective.seconds(cluster) == pytest.approx(1e9 * (processes - 1) / processes / cluster.link + 3e-5)
