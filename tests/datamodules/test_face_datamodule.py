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
from src.datamodules.sample import Sample, to_float_images
from src.datamodules.sampling import GenderBalanced, IdentityBalanced, Sampling, Shuffled
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


def _fit(
    datamodule: FaceDataModule, steps: int, *callbacks: Callback, model: LightningModule | None = None, **options: Any
) -> Any:
    model = model or Recorder()
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


class FeatureRecorder(LightningModule):
    """Remembers training batches, images as rows of numbers, and the images of validation."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.trained: list[tuple[list[str], torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.fields: set[str] = set()
        self.validated: list[torch.Tensor] = []

    def training_step(self, batch: Sample, batch_index: int) -> torch.Tensor:
        self.fields |= set(batch)
        vector = batch["feature"] if "feature" in batch else batch["image"].flatten(1)
        self.trained.append((batch["key"], batch["label"], batch["attribute"], vector.clone()))
        return self.layer(vector.mean(1, keepdim=True)).mean()

    def validation_step(self, batch: Sample, batch_index: int) -> None:
        self.validated.append(batch["image"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def _by_gender(folder: Path, flip: float | None, **options: Any) -> FaceDataModule:
    """22 images of 3 people, one of them unreadable."""
    for name, gender in {"0": "f", "1": "m", "2": "f"}.items():
        if (folder / name).exists():
            (folder / name).rename(folder / f"{name}_{gender}")
    (folder / "1_m/7.jpg").write_bytes(b"broken")
    source = partial(ClassFolders, folder, class_pattern="(?P<subject>.)_(?P<gender>.)", gender_codes={"f": 0, "m": 1})
    return FaceDataModule(
        source, size=16, batch_size=4, num_workers=0, seed=3, fields=("image", "label", "attribute"),
        max_bad_fraction=0.1, augmentation=None if flip is None else FaceAugmentation(flip=flip), **options,
    )  # fmt: skip


def _views(datamodule: FaceDataModule) -> torch.Tensor:
    """Pixels of every training image and its mirror image, as if they were embeddings."""
    features = torch.full((datamodule.num_samples, 2, 3 * 16 * 16), torch.nan)
    for row in range(datamodule.num_samples):
        if sample := to_float_images(datamodule.dataset.read([row])):
            features[row] = torch.cat([sample["image"], sample["image"].flip(-1)]).flatten(1)
    return features


def _assert_same(first: list[tuple[Any, ...]], second: list[tuple[Any, ...]]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one[0] == other[0]
        assert all(torch.equal(a, b) for a, b in zip(one[1:], other[1:], strict=True))


@pytest.mark.parametrize("flip", [None, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("sampling", [Shuffled, GenderBalanced])
def test_training_on_features_is_training_on_images(folder: Path, sampling: type[Sampling], flip: float | None) -> None:
    """Order, labels, attributes, mirroring, and what an unreadable image does to its batch."""
    image = torch.rand(3, 16, 16)

    def run(*, use_features: bool) -> FeatureRecorder:
        datamodule = _by_gender(folder, flip, sampling=sampling)
        if use_features:
            datamodule.use_features(_views(datamodule))
        datamodule.val_dataloader = lambda: DataLoader([{"image": image}])  # type: ignore[method-assign, assignment]
        return _fit(datamodule, 12, model=FeatureRecorder())

    on_images, on_features = run(use_features=False), run(use_features=True)
    _assert_same(on_images.trained, on_features.trained)
    assert on_features.fields == {"key", "feature", "label", "attribute"}
    assert on_features.trained[0][3].dtype == torch.float32
    assert {len(keys) for keys, *_ in on_features.trained} >= {3, 4}
    assert torch.equal(on_features.validated[0], image[None])


@pytest.mark.parametrize("step", [2, 7])
def test_training_on_features_resumes_in_the_middle_of_an_epoch(folder: Path, tmp_path: Path, step: int) -> None:
    def run(steps: int, *callbacks: Callback, **options: Any) -> list[tuple[Any, ...]]:
        datamodule = _by_gender(folder, 0.5)
        datamodule.use_features(_views(datamodule))
        return _fit(datamodule, steps, *callbacks, model=FeatureRecorder(), **options).trained

    full = run(12)
    run(step + 1, SaveAt(step, tmp_path / "middle.ckpt"))
    torch.manual_seed(step)
    _assert_same(run(12, ckpt_path=tmp_path / "middle.ckpt", weights_only=True), full[step:])


def test_what_features_cannot_replace(folder: Path) -> None:
    features = torch.zeros(22, 2, 8)
    source = partial(ClassFolders, folder)
    strong = FaceDataModule(source, augmentation=FaceAugmentation(crop=0.2, grayscale=0.1))
    with pytest.raises(
        UserError,
        match=r"set datamodule\.augmentation\.crop=0, datamodule\.augmentation\.grayscale=0, or .*model\.feat",
    ):
        strong.use_features(features)
    with pytest.raises(UserError, match=r"datamodule\.fields: .*found landmarks, nir; .*model\.feature_cache=null"):
        FaceDataModule(source, fields=("image", "nir", "landmarks")).check_features_suffice()
    with pytest.raises(UserError, match=r"images: expected embeddings \[22, 2, D\], found \[21, 2, 8\]"):
        FaceDataModule(source).use_features(features[1:])


def test_genders_of_classes(folder: Path) -> None:
    attributes = _by_gender(folder, None).class_attributes
    assert attributes.dtype == torch.int8
    assert attributes.tolist() == [0, 1, 0]


def test_counts_without_a_trainer(folder: Path) -> None:
    datamodule = FaceDataModule(partial(ClassFolders, folder), batch_size=4, num_workers=0)
    assert (datamodule.num_classes, datamodule.num_samples) == (3, 22)
    assert next(iter(datamodule.train_dataloader()))["image"].shape == (4, 112, 112, 3)
    assert datamodule.example_batch(5)["image"].shape == (5, 3, 112, 112)


def test_a_position_is_taken_before_and_after_the_loader_is_opened(folder: Path) -> None:
    def make() -> FaceDataModule:
        return FaceDataModule(partial(ClassFolders, folder), batch_size=4, num_workers=0, size=16)

    interrupted, before, after = make(), make(), make()
    batches = iter(interrupted.train_dataloader())
    next(batches)
    state, expected = interrupted.state_dict(), next(batches)["key"]
    before.load_state_dict(state)
    loaders = [before.train_dataloader(), after.train_dataloader()]
    after.load_state_dict(state)
    assert [next(iter(loader))["key"] for loader in loaders] == [expected, expected]


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
