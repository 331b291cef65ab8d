"""What a training would run on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Cluster", "Gpu"]

_GIGA, _TERA = 1e9, 1e12


@dataclass(frozen=True)
class Gpu:
    """Figures of a processor: bytes, bytes per second and operations per second.

    Attributes:
        memory: Bytes.
        memory_rate: Bytes per second between processor and memory.
        bf16: Operations per second of products in bfloat16.
        tf32: Of convolutions in float32, which torch lets use TF32.
        fp32: Of products in float32, which it does not.
        node_rate: Bytes per second to others of its node.
        network_rate: Bytes per second to other nodes.
    """

    memory: float
    memory_rate: float
    bf16: float
    tf32: float
    fp32: float
    node_rate: float
    network_rate: float

    @classmethod
    def of_table(cls, row: Mapping[str, Any]) -> Gpu:
        """From a row of ``conf/hardware``."""
        tera = row["tflops"]
        return cls(
            memory=row["memory_gb"] * _GIGA,
            memory_rate=row["memory_gb_s"] * _GIGA,
            bf16=tera["bf16"] * _TERA,
            tf32=tera["tf32"] * _TERA,
            fp32=tera["fp32"] * _TERA,
            node_rate=row["node_gb_s"] * _GIGA,
            network_rate=row["nic_gb_s"] * _GIGA,
        )


@dataclass(frozen=True)
class Cluster:
    """Processors, how they are joined, and what share of their figures a training reaches.

    Attributes:
        gpu: All are alike.
        processes: One for each GPU.
        per_node: GPUs of a node.
        compute: Share of the operations per second that is reached.
        memory: Share of the memory's rate.
        network: Share of the rate between GPUs.
        latency: Seconds that a collective takes beside its bytes.
    """

    gpu: Gpu
    processes: int
    per_node: int
    compute: float
    memory: float
    network: float
    latency: float

    @property
    def link(self) -> float:
        """Bytes per second that each process sends while all take part in a ring."""
        is_one_node = self.processes <= self.per_node
        rate = self.gpu.node_rate if is_one_node else min(self.gpu.node_rate, self.gpu.network_rate)
        return rate * self.network

    def seconds_of(self, flop: float, traffic: float, peak: float) -> float:
        """Time of an operation that its computation or its memory limits, whichever takes longer.

        Args:
            flop: Floating-point operations.
            traffic: Bytes read and written.
            peak: Operations per second of the kind of its numbers.
        """
        return max(flop / (peak * self.compute), traffic / (self.gpu.memory_rate * self.memory))
