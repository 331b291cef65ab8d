"""From what is counted to what a training takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from src.models.memory_plan import HeadMemory, backbone_memory, head_memory
from src.models.planning.communication import (
    Collective,
    Strategy,
    backbone_collectives,
    dense_head_collectives,
    sharded_head_collectives,
)
from src.models.planning.counting import StepCount
from src.models.planning.hardware import Cluster

__all__ = ["Data", "Failures", "Job", "Prediction", "predict"]

_FLOAT = 4


@dataclass(frozen=True)
class Data:
    """Images, and where they come from.

    Attributes:
        images: Of the training set.
        image_bytes: Of one encoded image with its place in a shard.
        per_shard: Images of a shard.
        workers: Threads of a process that read and decode.
        cores: Cores of a process.
        decode_rate: Images per second that a core decodes.
        request: Seconds from asking for an image to having its bytes; 0 for a disk in the machine.
    """

    images: int
    image_bytes: float
    per_shard: int
    workers: int
    cores: float
    decode_rate: float
    request: float

    @property
    def rate(self) -> float:
        """Images per second that a process can read: each thread waits for one image, then decodes it."""
        threads = max(self.workers, 1)
        return min(threads / (self.request + 1 / self.decode_rate), self.cores * self.decode_rate)

    def threads_for(self, rate: float) -> int:
        """Threads that a process needs to read ``rate`` images per second."""
        return math.ceil(rate * (self.request + 1 / self.decode_rate))


@dataclass(frozen=True)
class Failures:
    """What interruptions cost.

    Attributes:
        gpu_hours: Between two failures, of one GPU.
        restart: Seconds until training goes on.
        save_rate: Bytes per second that a checkpoint is written with.
    """

    gpu_hours: float
    restart: float
    save_rate: float


@dataclass(frozen=True)
class Job:
    """A training.

    Attributes:
        count: Of a step of the backbone in one process.
        batch: Images of a process in a step.
        image_size: Their side in pixels.
        embedding_size: Length of an embedding.
        classes: People.
        sample_rate: Share of the classes that a batch is compared with; None: every process holds the whole head.
        strategy: How processes share the work.
        states: Tensors that the optimiser keeps for a parameter.
        half: Whether the backbone runs in bfloat16 where it can.
        epochs: Passes over the data; 0 if it is steps that end the training.
        steps: Steps that end it; 0 if epochs do.
    """

    count: StepCount
    batch: int
    image_size: int
    embedding_size: int
    classes: int
    sample_rate: float | None
    strategy: Strategy
    states: int
    half: bool
    epochs: int
    steps: int


@dataclass(frozen=True)
class Prediction:
    """What a training takes; sizes in bytes, times in seconds, memory and times of one process.

    Attributes:
        memory: Parts by name; their sum is the greatest at any time at most.
        head: Parts of the head.
        capacity: Bytes that can be used of a GPU.
        collectives: Of a step.
        sent: Bytes that a process sends in a step.
        flop: Floating-point operations of a step.
        compute: Seconds of a step that are computed.
        waiting: Seconds of a step in collectives that nothing hides.
        hidden: Seconds of collectives that run beside the computation.
        data: Seconds that reading a batch takes.
        step: Seconds of a step.
        images_per_second: Of all processes.
        steps_per_epoch: Steps.
        epoch_hours: Hours.
        run_hours: Hours, without failures.
        read_rate: Bytes per second that all processes read.
        requests: Images per second that all processes ask for.
        threads: Reading threads that each process needs to keep up.
        shards: Files of the data set.
        data_bytes: Of the data set.
        checkpoint: Bytes of a checkpoint.
        save: Seconds to write one.
        failure_hours: Between two failures of any GPU.
        interval: Seconds between checkpoints that lose least.
        lost: Share of the time that checkpoints and failures take.
    """

    memory: dict[str, int]
    head: HeadMemory
    capacity: int
    collectives: Sequence[Collective]
    sent: float
    flop: float
    compute: float
    waiting: float
    hidden: float
    data: float
    step: float
    images_per_second: float
    steps_per_epoch: int
    epoch_hours: float
    run_hours: float
    read_rate: float
    requests: float
    threads: int
    shards: int
    data_bytes: float
    checkpoint: int
    save: float
    failure_hours: float
    interval: float
    lost: float

    @property
    def memory_total(self) -> int:
        """Bytes of a process."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether a GPU's memory suffices."""
        return self.memory_total <= self.capacity

    @property
    def limit(self) -> str:
        """What a step waits for: ``"data"``, ``"communication"`` or ``"computation"``."""
        times = {
            "computation": self.compute + self.waiting,
            "communication": self.hidden + self.waiting,
            "data": self.data,
        }
        return max(times, key=times.__getitem__)


def predict(job: Job, cluster: Cluster, data: Data, failures: Failures, *, reserve: float) -> Prediction:
    """What a training takes on a cluster.

    A step lasts as long as the slowest of computation, communication and data. Gradients of the backbone are sent while
    others are computed; the head's collectives are waited for.

    Args:
        job: The training.
        cluster: Where it runs.
        data: What it reads.
        failures: What interrupts it.
        reserve: Share of a GPU's memory for what is not counted.
    """
    processes, count = cluster.processes, job.count
    global_batch = job.batch * processes
    head = _head_memory(job, processes)
    collectives = _collectives(job, processes)
    compute = _compute_seconds(job, cluster, head)
    waiting = sum(c.seconds(cluster) for c in collectives if not c.is_hidden)
    hidden = sum(c.seconds(cluster) for c in collectives if c.is_hidden)
    reading = job.batch / data.rate
    step = max(compute + waiting, hidden + waiting, reading)
    rate = global_batch / step
    steps_per_epoch = max(data.images // global_batch, 1)
    steps = steps_per_epoch * job.epochs or job.steps
    checkpoint = (
        _FLOAT * (count.parameters + job.states * count.trainable)
        + _FLOAT * (1 + job.states) * job.classes * job.embedding_size
        + count.buffers
    )
    save = checkpoint / failures.save_rate
    between = failures.gpu_hours * 3600 / processes
    interval = math.sqrt(2 * save * between)
    return Prediction(
        memory=_memory(job, processes, head),
        head=head,
        capacity=round(cluster.gpu.memory * (1 - reserve)),
        collectives=collectives,
        sent=sum(c.sent(processes) for c in collectives),
        flop=count.flop + _head_flop(job, head),
        compute=compute,
        waiting=waiting,
        hidden=hidden,
        data=reading,
        step=step,
        images_per_second=rate,
        steps_per_epoch=steps_per_epoch,
        epoch_hours=steps_per_epoch * step / 3600,
        run_hours=steps * step / 3600,
        read_rate=rate * data.image_bytes,
        requests=rate,
        threads=data.threads_for(job.batch / max(compute + waiting, hidden + waiting)),
        shards=-(-data.images // data.per_shard),
        data_bytes=data.images * data.image_bytes,
        checkpoint=checkpoint,
        save=save,
        failure_hours=between / 3600,
        interval=interval,
        lost=save / interval + (interval / 2 + failures.restart) / between,
    )


def _head_memory(job: Job, processes: int) -> HeadMemory:
    return head_memory(job.classes, job.embedding_size, processes, job.batch * processes, job.sample_rate, job.states)


def _memory(job: Job, processes: int, head: HeadMemory) -> dict[str, int]:
    count = job.count
    shards = processes if job.strategy == "fsdp" else 1
    backbone = backbone_memory(count.parameters, count.trainable, job.states, shards)
    images = job.batch * 3 * job.image_size**2 * _FLOAT
    return {
        "weights of the backbone": backbone.weight + count.buffers,
        "gradients of the backbone": backbone.gradient,
        "optimiser states of the backbone": backbone.optimizer,
        # Two blocks at a time, and the gradient of one.
        "gathered blocks of the backbone": 3 * max(count.units) * _FLOAT if shards > 1 else 0,
        "activations and images": count.activations + images,
        "activations of a block that is run again": count.recomputed,
        "class centres, gradient and optimiser states": head.weight + head.gradient + head.optimizer,
        "sampled centres": head.sample,
        "embeddings of all processes": head.embeddings,
        "logits": head.logits,
    }


def _collectives(job: Job, processes: int) -> list[Collective]:
    if processes == 1:
        return []
    count = job.count
    own = backbone_collectives(job.strategy, count.trainable, count.units)
    if job.sample_rate is None:
        return [*own, *dense_head_collectives(job.classes, job.embedding_size)]
    return [*own, *sharded_head_collectives(job.batch * processes, job.embedding_size, processes)]


def _compute_seconds(job: Job, cluster: Cluster, head: HeadMemory) -> float:
    gpu = cluster.gpu
    peak = gpu.bf16 if job.half else gpu.tf32
    backbone = sum(cluster.seconds_of(o.flop, o.traffic, peak) for o in job.count.operations)
    # Logits are written, and read and written once more by each pass; centres are read by three products.
    traffic = 4 * head.logits + 3 * head.sampled * job.embedding_size * _FLOAT
    centres = cluster.seconds_of(_head_flop(job, head), traffic, gpu.fp32)
    # An optimiser reads and writes the weights and its states, and reads the gradients.
    kept = _memory(job, cluster.processes, replace(head, logits=0, sample=0, embeddings=0))
    updated = 2 * sum(kept[name] for name in kept if "optimiser" in name or "weights" in name)
    return backbone + centres + cluster.seconds_of(0, updated, peak)


def _head_flop(job: Job, head: HeadMemory) -> float:
    """Of three products of embeddings with centres: the cosines, and the gradients of both."""
    return 3 * 2 * (head.logits // _FLOAT) * job.embedding_size
