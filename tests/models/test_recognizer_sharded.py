"""Training with shared-out classes and FSDP: the same as one process with the whole head."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor, multiprocessing, nn

from src.errors import UserError
from src.losses.heads import ArcFaceHead
from src.models.networks.backbone import Backbone
from src.models.optimization import cosine
from src.models.recognizer import FaceRecognizer

CLASSES, BATCH, STEPS = 7, 12, 4


class Network(Backbone):
    """Without batch norm, so that what a process computes does not depend on the other rows of its batch."""

    def __init__(self) -> None:
        super().__init__(embedding_size=6, size=16)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(12, 12), nn.Tanh()) for _ in range(3)))
        self.fc = nn.Linear(12, 6)
        self.fc.bias.requires_grad = False  # as the last scale of IResNet
        self.last = nn.Linear(6, 6)

    def embed(self, images: Tensor) -> Tensor:
        return self.last(self.fc(self.blocks(images.flatten(1)[:, :12])))


class Data(L.LightningDataModule):
    """The same joined batches, shared out; a run that is continued goes on with the next."""

    num_classes = CLASSES
    batch_size = BATCH
    position = 0

    def train_dataloader(self) -> Loader:
        assert self.trainer is not None
        share, rank = BATCH // self.trainer.world_size, self.trainer.global_rank
        rows = slice(rank * share, (rank + 1) * share)
        return Loader(self, [{name: value[rows] for name, value in batch.items()} for batch in batches()])

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.position = state_dict["position"]


class Loader:
    def __init__(self, data: Data, batches: list[dict[str, Tensor]]) -> None:
        self.data = data
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        while self.data.position < len(self.batches):
            self.data.position += 1
            yield self.batches[self.data.position - 1]


def batches() -> Iterator[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        label = torch.randint(CLASSES, (BATCH,), generator=generator)
        yield {"image": torch.randn(BATCH, 3, 16, 16, generator=generator), "label": label}


def recognizer(**options: object) -> FaceRecognizer:
    torch.manual_seed(0)
    return FaceRecognizer(
        Network(),
        head=partial(ArcFaceHead, margin=0.2, scale=8.0),
        optimizer=partial(torch.optim.SGD, lr=0.5, momentum=0.9, weight_decay=1e-3),
        scheduler=cosine,
        **{"partial_fc": 1.0, "decay_norm_and_bias": False, **options},  # type: ignore[arg-type]
    )


def fit(
    module: FaceRecognizer,
    *,
    devices: int = 1,
    strategy: Strategy | str = "auto",
    steps: int = STEPS,
    start: Path | None = None,
    end: Path | None = None,
) -> L.Trainer:
    trainer = L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=strategy,
        max_epochs=1,
        gradient_clip_val=0.5,
        callbacks=[Save(steps, end)],
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(module, datamodule=Data(), ckpt_path=start)
    return trainer


class Save(L.Callback):
    """Saves a checkpoint after some steps and ends training there."""

    def __init__(self, steps: int, path: Path | None) -> None:
        self.steps, self.path = steps, path

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_step == self.steps:
            trainer.should_stop = True
            if self.path is not None:
                trainer.save_checkpoint(self.path)


def fsdp(devices: int) -> ModelParallelStrategy:
    return ModelParallelStrategy(
        data_parallel_size=devices,
        tensor_parallel_size=1,
        save_distributed_checkpoint=False,
        process_group_backend="gloo",
    )


def read(path: Path) -> dict[str, Tensor]:
    """Weights of a checkpoint, and the momentum of each by its name; every parameter that learns has one."""
    content = torch.load(path, weights_only=True)
    module = recognizer()
    module.head = ArcFaceHead(6, CLASSES)
    names = [name for name, _ in module.named_parameters()]
    momenta = {
        f"momentum of {names[number]}": state["momentum_buffer"]
        for number, state in content["optimizer_states"][0]["state"].items()
    }
    assert len(momenta) == len(names) - 1
    return {**content["state_dict"], **momenta}


def check(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    torch.testing.assert_close(dict(found), dict(expected), rtol=1e-4, atol=1e-6)  # says which


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*number of training batches", "ignore:You.re resuming"
)
class TestProcesses:
    def test_any_number_of_processes_and_strategy_train_the_same(self, tmp_path: Path) -> None:
        """Specification of face recognition, section 8, check 11, and of the platform, section 1.5."""
        fit(recognizer(), steps=2, end=tmp_path / "one_2.ckpt")
        fit(recognizer(), end=tmp_path / "one_4.ckpt")
        multiprocessing.spawn(_work, (tmp_path, free_port(), free_port()), nprocs=3)
        fit(recognizer(), start=tmp_path / "fsdp_2.ckpt", end=tmp_path / "one_after_fsdp_4.ckpt")
        half, whole = read(tmp_path / "one_2.ckpt"), read(tmp_path / "one_4.ckpt")
        for name in ("ddp_2", "fsdp_2"):
            check(read(tmp_path / f"{name}.ckpt"), half)
        for name in ("ddp_4", "fsdp_after_ddp_4", "three_after_fsdp_4", "one_after_fsdp_4"):
            check(read(tmp_path / f"{name}.ckpt"), whole)
        sampled = [torch.load(tmp_path / f"sampled_{name}.ckpt", weights_only=True) for name in ("4", "again_4")]
        assert sampled[0]["partial_fc"]["draws"] == 4
        assert torch.equal(*(content["state_dict"]["head.weight"] for content in sampled))


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _join(rank: int, port: int) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}


def _work(rank: int, folder: Path, port_of_two: int, port_of_three: int) -> None:
    """Two processes first, then these and a third, which waits for them until then."""
    torch.set_num_threads(1)
    if rank < 2:
        _join(rank, port_of_two)
        _two(folder)
        torch.distributed.destroy_process_group()
    _join(rank, port_of_three)
    _three(folder)
    torch.distributed.destroy_process_group()


def _two(folder: Path) -> None:
    run = partial(fit, devices=2)
    run(recognizer(), strategy=DDPStrategy(), steps=2, end=folder / "ddp_2.ckpt")
    run(recognizer(), strategy=DDPStrategy(), start=folder / "ddp_2.ckpt", end=folder / "ddp_4.ckpt")
    run(recognizer(), strategy=fsdp(2), steps=2, end=folder / "fsdp_2.ckpt")
    module = recognizer(activation_checkpointing=True)
    run(module, strategy=fsdp(2), start=folder / "ddp_2.ckpt", end=folder / "fsdp_after_ddp_4.ckpt")
    saved = torch.load(folder / "fsdp_after_ddp_4.ckpt", weights_only=True)["state_dict"]
    for name, value in module.backbone.state_dict().items():  # whole again
        assert torch.equal(value, saved[f"backbone.{name}"])
    sample = partial(recognizer, partial_fc=0.5)
    run(sample(), strategy=DDPStrategy(), steps=2, end=folder / "sampled_2.ckpt")
    run(sample(), strategy=DDPStrategy(), end=folder / "sampled_4.ckpt")
    run(sample(), strategy=DDPStrategy(), start=folder / "sampled_2.ckpt", end=folder / "sampled_again_4.ckpt")
    with pytest.raises(UserError, match=r"model\.partial_fc=null: FSDP does not average"):
        run(recognizer(partial_fc=None), strategy=fsdp(2))


def _three(folder: Path) -> None:
    start, end = folder / "fsdp_2.ckpt", folder / "three_after_fsdp_4.ckpt"
    fit(recognizer(), devices=3, strategy=fsdp(3), start=start, end=end)
