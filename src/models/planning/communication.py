"""What the processes of a training send to each other in a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from src.models.planning.hardware import Cluster

__all__ = ["Collective", "Strategy", "backbone_collectives", "dense_head_collectives", "sharded_head_collectives"]

Kind = Literal["all_reduce", "all_gather", "reduce_scatter"]
Strategy = Literal["ddp", "fsdp"]

_FLOAT, _INT, _DOUBLE = 4, 8, 8
_BUCKET = 25 << 20  # of DistributedDataParallel


@dataclass(frozen=True)
class Collective:
    """A collective operation of a step, or several alike.

    Attributes:
        name: What it is for.
        kind: Which.
        payload: Bytes of the whole tensor: what is reduced, or what all have once it is gathered.
        calls: How many operations carry the payload.
        is_hidden: Whether it runs while gradients are still being computed.
    """

    name: str
    kind: Kind
    payload: int
    calls: int = 1
    is_hidden: bool = False

    def sent(self, processes: int) -> float:
        """Bytes that a process sends in a ring; an all-reduce is a reduce-scatter and an all-gather."""
        rounds = 2 if self.kind == "all_reduce" else 1
        return rounds * self.payload * (processes - 1) / processes

    def seconds(self, cluster: Cluster) -> float:
        """Time on the links of a cluster; 0 for one process."""
        if cluster.processes == 1:
            return 0.0
        return self.sent(cluster.processes) / cluster.link + self.calls * cluster.latency


def backbone_collectives(strategy: Strategy, trainable: int, units: Sequence[int]) -> list[Collective]:
    """Those of the backbone.

    DDP sums the gradients, float32, in buckets while the backward pass runs. FSDP gathers the float32 parameters of
    each block for the forward pass and again for the backward pass, those outside of blocks once, and scatters the sums
    of their gradients.

    Args:
        strategy: How the processes share the work.
        trainable: Number of parameters that learn.
        units: Parameters of each block, and last of all that is in none.
    """
    gradient = trainable * _FLOAT
    if strategy == "ddp":
        return [Collective("gradients", "all_reduce", gradient, -(-gradient // _BUCKET), is_hidden=True)]
    gathered = (2 * sum(units) - units[-1]) * _FLOAT
    return [
        Collective("parameters", "all_gather", gathered, 2 * len(units) - 1, is_hidden=True),
        Collective("gradients", "reduce_scatter", gradient, len(units), is_hidden=True),
    ]


def dense_head_collectives(classes: int, embedding_size: int) -> Sequence[Collective]:
    """Those of a head that every process has whole: its gradient is summed with the backbone's."""
    gradient = classes * embedding_size * _FLOAT
    return [Collective("gradients of the head", "all_reduce", gradient, -(-gradient // _BUCKET), is_hidden=True)]


def sharded_head_collectives(global_batch: int, embedding_size: int, processes: int) -> Sequence[Collective]:
    """Those of a head whose classes are shared out, see `src.losses.partial_fc`; they wait for nothing else.

    Args:
        global_batch: Images of all processes in a step.
        embedding_size: Length D of an embedding.
        processes: That hold the classes.
    """
    embeddings = global_batch * embedding_size * _FLOAT
    pair = 2 * global_batch * _DOUBLE  # of each image its cosine, and the sum over the other classes
    return [
        Collective("batch sizes", "all_reduce", processes * _INT),
        Collective("embeddings", "all_gather", embeddings),
        Collective("labels", "all_gather", global_batch * _INT),
        Collective("sums over classes", "all_reduce", pair),
        Collective("loss", "all_reduce", 2 * _DOUBLE, 2),
        Collective("gradients of the sums", "all_gather", pair),
        Collective("gradients of embeddings", "reduce_scatter", embeddings),
    ]
