"""Lightning's strategy for fully sharded training, over all devices of a run."""

from __future__ import annotations

from datetime import timedelta

from lightning.pytorch.strategies import ModelParallelStrategy

__all__ = ["ShardedStrategy"]


class ShardedStrategy(ModelParallelStrategy):
    """Shares weights, gradients and optimiser out over all processes (FSDP2); the module does so in `configure_model`.

    A checkpoint is one file with all of the weights, which rank 0 writes, so that it can be used without this strategy.

    Args:
        process_group_backend: ``"nccl"`` or ``"gloo"``; None chooses by the device.
        timeout: Of an exchange between processes.
    """

    def __init__(self, process_group_backend: str | None = None, timeout: timedelta = timedelta(hours=1)) -> None:
        super().__init__(1, 1, False, process_group_backend, timeout)

    def setup_environment(self) -> None:
        """Connect the processes; how many they are is known only now."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()
