from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from src.datamodules.augmentation import FaceAugmentation
from src.datamodules.face_datamodule import FaceDataModule
from src.datamodules.sample import Sample
from src.datamodules.sampling import IdentityBalanced
from src.datamodules.shards import ShardWriter
from src.datamodules.sources.class_folders import ClassFolders
from src.datamodules.sources.shard_source import ShardSource
from src.errors import UserError

MakeImage = Callable[..., bytes]


class Recorder(LightningModule):
    """Remembers the keys and the pixels of every training batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.seen: list[tuple[list[str], float]] = []
        self.trained: list[torch.Tensor] = []
        self.validated: list[torch.Tensor] = []

    def training_step(self, batch: Sample, batch_index: int) -> torch.Tensor:
        self.seen.append((batch["key"], batch["image"].double().square().sum().item()))
        self.trained.append(batch["image"])
        return self.layer(torch.nn.functional.dropout(batch["image"]).mean((2, 3))).mean()

    def validation_step(self, batch: Sample, batch_index: int) -> None:
        self.validated.append(batch["image"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class SaveAt(Callback):
    """Saves a checkpoint after a step."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@pytest.fixture
def folder(tmp_path: Path, make_image: MakeImage) -> Path:
    for i in range(22):
        path = tmp_path / f"images/{i % 3}/{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_image(i))
    return tmp_path / "images"


def _fit(datamodule: FaceDataModule, steps: int, *callbacks: Callback, **options: Any) -> Recorder:
    model = Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            accelerator="cpu", max_steps=steps, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=list(callbacks), num_sanity_val_steps=0,
        )  # fmt: skip
        trainer.fit(model, datamodule=datamodule, **options)
    return model


@pytest.mark.parametrize(("backend", "workers"), [("cpu", 0), ("cpu", 2), ("dali", 2)])
@pytest.mark.parametrize("step", [2, 5, 7])
@pytest.mark.parametrize("images_per_class", [None, 2])
def test_a_resumed_run_sees_the_same_batches(
    folder: Path, tmp_path: Path, backend: str, workers: int, step: int, images_per_class: int | None
) -> None:
    def make(**changes: Any) -> FaceDataModule:
        options: dict[str, Any] = {"size": 16, "batch_size": 4, "seed": 3, "backend": backend, "num_workers": workers}
        if images_per_class is not None:
            options["sampling"] = partial(IdentityBalanced, images_per_class=images_per_class)
        augmentation = FaceAugmentation(crop=0.3, color_jitter=0.3, low_resolution=0.3)
        return FaceDataModule(partial(ClassFolders, folder), augmentation=augmentation, **options | changes)

    full = _fit(make(), 12).seen  # 5 batches per epoch
    _fit(make(), step + 1, SaveAt(step, tmp_path / "middle.ckpt"))
    torch.manual_seed(step)
    rest = _fit(make(), 12, ckpt_path=tmp_path / "middle.ckpt", weights_only=True).seen
    assert rest == full[step:]
    # Another decoder, or other threads, go on from the same position.
    other = make(backend="cpu" if backend == "dali" else "dali", num_workers=1)
    rest = _fit(other, 12, ckpt_path=tmp_path / "middle.ckpt", weights_only=True).seen
    assert [keys for keys, _ in rest] == [keys for keys, _ in full[step:]]
    if images_per_class is None:
        assert len({key for keys, _ in full[:5] for key in keys}) == 20


def test_only_training_batches_are_augmented(folder: Path) -> None:
    image = torch.rand(3, 16, 16)

    class WithValidation(FaceDataModule):
        def val_dataloader(self) -> DataLoader:
            return DataLoader([{"image": image}])

    options = {"size": 16, "batch_size": 4, "num_workers": 0}
    source = partial(ClassFolders, folder)
    mirrored = _fit(WithValidation(source, augmentation=FaceAugmentation(flip=1.0), **options), 5)
    plain = _fit(WithValidation(source, **options), 5)
    assert plain.trained[0].dtype == torch.float32
    assert -1 <= plain.trained[0].min() < 0 < plain.trained[0].max() <= 1
    assert torch.equal(mirrored.trained[0], plain.trained[0].flip(-1))
    assert torch.equal(mirrored.validated[0], image[None])


def test_counts_without_a_trainer(folder: Path) -> None:
    datamodule = FaceDataModule(partial(ClassFolders, folder), batch_size=4, num_workers=0)
    assert (datamodule.num_classes, datamodule.num_samples) == (3, 22)
    assert next(iter(datamodule.train_dataloader()))["image"].shape == (4, 112, 112, 3)
    assert datamodule.example_batch(5)["image"].shape == (5, 3, 112, 112)


def test_shards(tmp_path: Path, make_image: MakeImage) -> None:
    with ShardWriter(tmp_path / "shards", resolution=16) as writer:
        for i in range(9):
            writer.add(str(i), visible=make_image(i), metadata={"label": i % 2, "attribute": i % 2})
    datamodule = FaceDataModule(
        partial(ShardSource, tmp_path / "shards"),
        fields=("image", "label", "attribute"),
        size=16,
        batch_size=4,
        num_workers=0,
    )
    assert (datamodule.num_classes, datamodule.num_samples) == (2, 9)
    batch = next(iter(datamodule.train_dataloader()))
    assert torch.equal(batch["label"], batch["attribute"])


def test_data_without_identities_stop_the_run_before_it_starts(tmp_path: Path, make_image: MakeImage) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(make_image(0))
    with pytest.raises(UserError, match="single image"):
        _fit(FaceDataModule(partial(ClassFolders, tmp_path), batch_size=1, num_workers=0), 1)


def test_too_many_unreadable_images_stop_the_run(folder: Path) -> None:
    for path in sorted(folder.glob("0/*")):
        path.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"cannot be read.*First: 0/.*max_bad_fraction"):
        _fit(FaceDataModule(partial(ClassFolders, folder), batch_size=4, num_workers=2), 12)


@pytest.mark.parametrize("error", [RuntimeError("model broke"), KeyboardInterrupt()])
@pytest.mark.parametrize("backend", ["cpu", "dali"])
def test_no_thread_is_left_after_an_exception(folder: Path, backend: str, error: BaseException) -> None:
    class Breaks(Callback):
        threads = 0

        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            self.threads = _tasks()
            if trainer.global_step == 2:
                raise error

    def make() -> FaceDataModule:
        return FaceDataModule(partial(ClassFolders, folder), size=16, batch_size=4, backend=backend, num_workers=2)

    _fit(make(), 3)  # threads that torch and DALI keep for the process
    before = _tasks()
    callback = Breaks()
    with pytest.raises((RuntimeError, SystemExit)):
        _fit(make(), 5, callback)
    assert callback.threads > before
    end = time.monotonic() + 5  # helper threads of OpenMP end a moment after the thread they served
    while _tasks() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert _tasks() <= before


def _tasks() -> int:
    return len(os.listdir("/proc/self/task"))
