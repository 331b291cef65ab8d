from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.models.planning.counting import Operation, StepCount
from src.models.planning.hardware import Cluster, Gpu
from src.models.planning.prediction import Data, Failures, Job, Prediction, predict

COUNT = StepCount(
    parameters=10**6,
    trainable=10**6,
    units=(10**5, 2 * 10**5, 7 * 10**5),
    buffers=1000,
    activations=10**9,
    recomputed=0,
    operations=(Operation(flop=10**12, traffic=10**9), Operation(flop=0, traffic=3 * 10**9)),
)
JOB = Job(COUNT, 128, 112, 512, 2_000_000, 1.0, "ddp", 1, half=True, epochs=20, steps=0)
GPU = Gpu(8e10, 3e12, 1e15, 5e14, 7e13, node_rate=4e11, network_rate=5e10)
CLUSTER = Cluster(GPU, 32, 8, compute=0.5, memory=1.0, network=0.8, latency=0.0)
DATA = Data(42_000_000, 10_000, 10_000, workers=8, cores=8, decode_rate=3500, request=0.0)
FAILURES = Failures(gpu_hours=50_000, restart=600, save_rate=1e9)


def plan(job: Job = JOB, cluster: Cluster = CLUSTER, data: Data = DATA) -> Prediction:
    return predict(job, cluster, data, FAILURES, reserve=0.1)


def test_a_step_lasts_as_long_as_the_slowest_of_three() -> None:
    ours = plan()
    # The first operation is limited by its products, the second by its bytes.
    assert ours.compute >= 1e12 / 5e14 + 3e9 / 3e12
    assert ours.limit == "computation"
    assert ours.step == ours.compute + ours.waiting
    slow_disk = plan(data=replace(DATA, request=1.0))
    assert slow_disk.limit == "data"
    assert slow_disk.step == pytest.approx(128 / (8 / (1 + 1 / 3500)))
    slow_network = plan(
        cluster=replace(CLUSTER, gpu=replace(GPU, network_rate=1e7)), job=replace(JOB, sample_rate=None)
    )
    assert slow_network.limit == "communication"


def test_enough_threads_keep_up_with_object_storage() -> None:
    data = replace(DATA, request=0.03, cores=64)
    threads = plan(data=data).threads
    assert plan(data=replace(data, workers=threads)).limit == "computation"
    assert plan(data=replace(data, workers=threads // 2)).limit == "data"


def test_lengths_and_files() -> None:
    ours = plan()
    assert ours.steps_per_epoch == 42_000_000 // 4096
    assert ours.run_hours == pytest.approx(20 * ours.epoch_hours)
    assert ours.images_per_second * ours.step == pytest.approx(4096)
    assert ours.shards == 4200
    assert ours.checkpoint == 4 * 2 * (10**6 + 2_000_000 * 512) + 1000
    by_steps = plan(replace(JOB, epochs=0, steps=1000))
    assert by_steps.run_hours == pytest.approx(1000 * ours.step / 3600)


def test_the_best_interval_loses_least() -> None:
    ours = plan()
    between = ours.failure_hours * 3600

    def lost(interval: float) -> float:
        return ours.save / interval + interval / 2 / between

    assert ours.lost == pytest.approx(lost(ours.interval) + 600 / between)
    assert lost(ours.interval) < min(lost(0.9 * ours.interval), lost(1.1 * ours.interval))


def test_one_process_sends_nothing() -> None:
    alone = plan(cluster=replace(CLUSTER, processes=1))
    assert (alone.sent, alone.waiting, alone.hidden, alone.collectives) == (0, 0, 0, [])


@given(processes=st.integers(2, 512), rate=st.sampled_from([None, 0.1, 1.0]))
def test_sharing_takes_no_more_memory_and_no_fewer_collectives(processes: int, rate: float | None) -> None:
    cluster = replace(CLUSTER, processes=processes)
    shared, whole = plan(replace(JOB, strategy="fsdp", sample_rate=rate), cluster), plan(replace(JOB, sample_rate=rate))
    assert shared.memory["weights of the backbone"] <= whole.memory["weights of the backbone"]
    assert shared.memory["activations and images"] == whole.memory["activations and images"]
    assert math.isclose(sum(shared.memory.values()), shared.memory_total)
    assert shared.sent > 0
