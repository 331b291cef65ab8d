"""``privface plan``: what a training would take on machines that are not at hand."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from src.apps.plan_table import print_plan
from src.errors import UserError
from src.files import atomic_write
from src.models.memory_plan import count_optimizer_states
from src.models.planning.communication import Strategy
from src.models.planning.counting import StepCount, count_step
from src.models.planning.hardware import Cluster, Gpu
from src.models.planning.prediction import Data, Failures, Job, Prediction, predict

__all__ = ["run"]

_FEW = 0.1  # share of the classes that costs little accuracy, An et al. 2022, table 4
_MILLI, _MICRO, _GIGA, _MINUTE = 1e-3, 1e-6, 1e9, 60


def run(
    name: str,
    model: DictConfig,
    datamodule: DictConfig,
    trainer: DictConfig,
    hardware: DictConfig,
    plan: DictConfig,
    json: Path | str | None,
) -> None:
    """Predict, print tables, and write all numbers to a file.

    Args:
        name: Of the experiment.
        model: Config of a recogniser.
        datamodule: Its batch size, size of images and number of threads are read.
        trainer: Its strategy, precision and length are read.
        hardware: Figures of GPUs by name.
        plan: The keys of ``conf/app/plan.yaml``.
        json: For the numbers; None: none are written.

    Raises:
        UserError: The experiment has no backbone with a head, or a key has a value that makes no sense.
    """
    _check(name, model, datamodule, plan, hardware)
    cluster = _cluster(trainer, hardware, plan)
    job = _job(model, datamodule, trainer, plan)
    predicted = _predict(job, cluster, datamodule, plan)
    advice = [] if predicted.fits else list(_what_fits(job, cluster, datamodule, model, plan))
    console = Console()
    print_plan(console, f"{name} on {cluster.processes} x {plan.gpu}", job, cluster, predicted, advice)
    if json is not None:
        with atomic_write(Path(json), "w") as file:
            json_format.dump(_numbers(job, cluster, predicted), file, indent=2)
        console.print(f"Numbers: {json}")


def _check(name: str, model: DictConfig, datamodule: DictConfig, plan: DictConfig, hardware: DictConfig) -> None:
    if not all(model.get(key) for key in ("backbone", "head", "optimizer")):
        raise UserError(
            f"experiment {name}: expected a recogniser, whose config has model.backbone, model.head and "
            "model.optimizer, such as experiment=arcface; other methods cannot be planned"
        )
    if plan.gpu not in hardware:
        raise UserError(f"plan.gpu={plan.gpu}: expected {', '.join(hardware)}, or your own by +hardware.{plan.gpu}=...")
    if datamodule.batch_size is None or datamodule.batch_size < 2:
        raise UserError(f"datamodule.batch_size={datamodule.batch_size}: expected 2 or more images for each GPU")
    for key in ("images", "classes", "gpus_per_node", "image_bytes", "samples_per_shard", "cores_per_gpu",
                "decode_per_core", "save_gb_s", "gpu_hours_per_failure"):  # fmt: skip
        if plan[key] <= 0:
            raise UserError(f"plan.{key}={plan[key]}: expected more than 0")
    shares = {f"efficiency.{key}": value for key, value in plan.efficiency.items()}
    for key, value in {**shares, "1 - reserve": 1 - plan.reserve}.items():
        if not 0 < value <= 1:
            raise UserError(f"plan.{key}={value:g}: expected a share above 0, at most 1")


def _cluster(trainer: DictConfig, hardware: DictConfig, plan: DictConfig) -> Cluster:
    gpus = plan.gpus
    if gpus is None:
        if not isinstance(trainer.devices, int) or trainer.devices < 1:
            raise UserError(f"plan.gpus: trainer.devices={trainer.devices} is no number of GPUs; give plan.gpus")
        gpus = trainer.devices * trainer.num_nodes
    if gpus < 1:
        raise UserError(f"plan.gpus={gpus}: expected 1 or more")
    efficiency = plan.efficiency
    return Cluster(
        gpu=Gpu.of_table(hardware[plan.gpu]),
        processes=gpus,
        per_node=plan.gpus_per_node,
        compute=efficiency.compute,
        memory=efficiency.memory,
        network=efficiency.network,
        latency=plan.collective_us * _MICRO,
    )


def _job(model: DictConfig, datamodule: DictConfig, trainer: DictConfig, plan: DictConfig) -> Job:
    if _strategy(trainer) == "fsdp" and model.get("partial_fc") is None:
        raise UserError("model.partial_fc=null: under FSDP the head has to be shared out; set 1.0, or less to sample")
    batch, half = datamodule.batch_size, str(trainer.precision) in ("bf16-mixed", "16-mixed")
    has_epochs = trainer.max_epochs is not None and trainer.max_epochs > 0
    return Job(
        count=_count(model, batch, datamodule.size, half=half, recompute=model.get("activation_checkpointing", False)),
        batch=batch,
        image_size=datamodule.size,
        embedding_size=model.backbone.embedding_size,
        classes=plan.classes,
        sample_rate=model.get("partial_fc"),
        strategy=_strategy(trainer),
        states=count_optimizer_states(instantiate(model.optimizer)),
        half=half,
        epochs=trainer.max_epochs if has_epochs else 0,
        steps=0 if has_epochs else max(trainer.max_steps, 0),
    )


def _count(model: DictConfig, batch: int, size: int, *, half: bool, recompute: bool) -> StepCount:
    return count_step(lambda: instantiate(model.backbone), batch, size, half=half, recompute=recompute)


def _strategy(trainer: DictConfig) -> Strategy:
    """FSDP where the strategy is one that shards; all others are DDP, as Lightning's ``auto`` is."""
    strategy = trainer.strategy
    name = (strategy if isinstance(strategy, str) else strategy._target_).lower()
    return "fsdp" if "fsdp" in name or "shard" in name else "ddp"


def _predict(job: Job, cluster: Cluster, datamodule: DictConfig, plan: DictConfig) -> Prediction:
    data = Data(
        images=plan.images,
        image_bytes=plan.image_bytes,
        per_shard=plan.samples_per_shard,
        workers=datamodule.num_workers,
        cores=plan.cores_per_gpu,
        decode_rate=plan.decode_per_core,
        request=plan.request_ms * _MILLI,
    )
    failures = Failures(plan.gpu_hours_per_failure, plan.restart_minutes * _MINUTE, plan.save_gb_s * _GIGA)
    return predict(job, cluster, data, failures, reserve=plan.reserve)


def _what_fits(
    job: Job, cluster: Cluster, datamodule: DictConfig, model: DictConfig, plan: DictConfig
) -> Iterator[str]:
    """Each change of keys that brings the training into memory alone; where none does, all but the batch together."""

    def fits(changed: Job) -> bool:
        return _predict(changed, cluster, datamodule, plan).fits

    def count(batch: int, *, recompute: bool) -> StepCount:
        return _count(model, batch, job.image_size, half=job.half, recompute=recompute)

    changes: dict[str, dict[str, Any]] = {}
    if job.sample_rate is None:
        changes["model.partial_fc=1.0"] = {"sample_rate": 1.0}
    if job.sample_rate is None or job.sample_rate > _FEW:
        changes[f"model.partial_fc={_FEW}"] = {"sample_rate": _FEW}
    if job.strategy == "ddp" and job.sample_rate is not None:
        changes["trainer=fsdp"] = {"strategy": "fsdp"}
    if not job.count.recomputed:
        changes["model.activation_checkpointing=true"] = {"count": count(job.batch, recompute=True)}
    found = [keys for keys, change in changes.items() if fits(replace(job, **change))]
    yield from found
    keys = "" if found else " ".join(key for key in changes if key != "model.partial_fc=1.0")
    changed = job if found else replace(job, **{k: v for change in changes.values() for k, v in change.items()})
    recompute = bool(changed.count.recomputed)
    if not found and fits(changed):
        yield keys
    batch = job.batch // 2
    while batch >= 2 and not fits(changed := replace(changed, batch=batch, count=count(batch, recompute=recompute))):
        batch //= 2
    if batch >= 2:
        yield f"datamodule.batch_size={batch} {keys}".strip()


def _numbers(job: Job, cluster: Cluster, predicted: Prediction) -> dict[str, Any]:
    count = asdict(job.count)
    del count["operations"]
    return {
        "job": {**asdict(replace(job, count=replace(job.count, operations=()))), "count": count},
        "cluster": {**asdict(cluster), "link": cluster.link},
        "prediction": {
            **asdict(predicted),
            "memory_total": predicted.memory_total,
            "fits": predicted.fits,
            "limit": predicted.limit,
        },
    }
