"""Lightning's view of the training data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from src.datamodules.backends.backend import BACKENDS, make_backend
from src.datamodules.backends.features import FeatureBackend
from src.datamodules.evaluation_images import ImageShare, NumberedImages
from src.datamodules.face_dataset import FaceDataset
from src.datamodules.loader import ResumableLoader
from src.datamodules.sample import Sample, to_float_images
from src.datamodules.sampling import Sampling, Shuffled
from src.datamodules.sources.source import FaceSource
from src.errors import UserError, check_choice

if TYPE_CHECKING:
    from src.datamodules.augmentation import FaceAugmentation

__all__ = ["FaceDataModule"]


class Benchmark(Protocol):
    """What training and evaluation need of a benchmark."""

    metric_names: tuple[str, ...]
    """Of the metrics that `score` gives."""
    fingerprint: str
    """Changes when the images or their grouping do."""
    needs_mirror_images: bool
    """Whether `score` needs embeddings of the mirror images."""

    def check(self) -> None:
        """Raise UserError where files are missing or malformed, before any long work."""

    def images(self) -> NumberedImages:
        """Images to embed."""

    def collector(self, alphabet: int | None = None) -> Any:
        """Takes their embeddings or, given their alphabet size, codes, see `src.eval.collector`."""

    def score(self, collected: Any, resamples: int = 0, matcher: Any = None) -> Any:
        """Metrics and curves of what was collected, as `src.eval.matching` compares templates."""


class FaceDataModule(LightningDataModule):
    """Training batches of faces, resumable in the middle of an epoch, augmented on the device.

    Args:
        source: Opens the collection of encoded images; called when it is first needed.
        size: Side of the images in pixels.
        fields: Sample keys to yield besides `key`, see `face_dataset.FIELDS`.
        align: Align the images to the template by the landmarks of the source.
        batch_size: Samples per batch and device.
        sampling: Makes the order of the images from (source, batch size, seed=); shuffled by default.
        backend: Decoder, one of `backends.backend.BACKENDS`.
        num_workers: Decoding threads per device; for validation, loader processes.
        seed: Of the order and the augmentation.
        max_bad_fraction: Largest fraction of unreadable images that is tolerated.
        augmentation: Applied to training batches; none by default.
        benchmarks: By name; validation embeds the images of each, see `src.callbacks.benchmarks`.

    Raises:
        UserError: A number is out of its range.
    """

    def __init__(
        self,
        source: Callable[[], FaceSource],
        *,
        size: int = 112,
        fields: Sequence[str] = ("image", "label"),
        align: bool = False,
        batch_size: int = 64,
        sampling: Callable[..., Sampling] = Shuffled,
        backend: str = "auto",
        num_workers: int = 2,
        seed: int = 0,
        max_bad_fraction: float = 0.01,
        augmentation: FaceAugmentation | None = None,
        benchmarks: Mapping[str, Benchmark] | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1 or num_workers < 0 or not 0 <= max_bad_fraction <= 1:
            raise UserError(
                "datamodule: expected batch_size of at least 1, num_workers of at least 0 and max_bad_fraction "
                f"between 0 and 1; found {batch_size}, {num_workers} and {max_bad_fraction}"
            )
        check_choice("datamodule.backend", backend, BACKENDS)
        self.source = source
        self.size = size
        self.fields = tuple(fields)
        self.align = align
        self.batch_size = batch_size
        self.sampling = sampling
        self.backend = backend
        self.num_workers = num_workers
        self.seed = seed
        self.max_bad_fraction = max_bad_fraction
        self.augmentation = augmentation
        self.benchmarks = dict(benchmarks or {})
        self.embedded: set[str] = set()
        """Names of benchmarks whose embeddings are at hand; validation leaves their images out."""
        self._loader: ResumableLoader | None = None
        self._position: dict[str, Any] | None = None
        self._features: FeatureBackend | None = None

    @cached_property
    def dataset(self) -> FaceDataset:
        """The training data, opened on first use."""
        return FaceDataset(
            self.source(),
            size=self.size,
            fields=self.fields,
            align=self.align,
            max_bad_fraction=self.max_bad_fraction,
        )

    @property
    def num_classes(self) -> int:
        """Number of identities."""
        return len(self.dataset.source.classes)

    @property
    def class_attributes(self) -> torch.Tensor:
        """Gender of each identity, int8 [C], 0 female, 1 male, -1 unknown.

        Raises:
            UserError: An identity has images of both genders.
        """
        return torch.from_numpy(self.dataset.source.class_attributes)

    @property
    def num_samples(self) -> int:
        """Number of training images."""
        return len(self.dataset)

    def example_batch(self, count: int = 32) -> Sample:
        """Return training samples spread over the dataset, not augmented; fewer where images cannot be read."""
        rows = torch.linspace(0, self.num_samples - 1, min(count, self.num_samples)).long().unique()
        return to_float_images(self.dataset.read(rows.tolist()))

    def use_features(self, features: torch.Tensor) -> None:
        """Train on embeddings that were computed before, in the place of the images.

        From then on training batches hold `feature`, float32 [B, D], instead of `image`: of the mirror image where the
        augmentation would mirror the image. Everything else, and the order of the samples, stays as it is.

        Args:
            features: float32 [N, 2, D], of every training image and its mirror image; NaN where it cannot be read.

        Raises:
            UserError: See `check_features_suffice` and `FeatureBackend`.
        """
        self.check_features_suffice()
        self._features = FeatureBackend(self.dataset, features)

    def check_features_suffice(self) -> None:
        """Check, before any is computed, that embeddings can take the place of the images.

        Raises:
            UserError: The augmentation does more than mirror, or other fields than image, label, attribute are wanted.
        """
        way_out = "or train on images with model.feature_cache=null"
        if self.augmentation is not None and self.augmentation.steps:
            zeros = ", ".join(f"datamodule.augmentation.{step}=0" for step in self.augmentation.steps)
            raise UserError(f"embeddings made before training can only be mirrored; set {zeros}, {way_out}")
        if others := sorted(set(self.fields) - {"image", "label", "attribute"}):
            raise UserError(
                "datamodule.fields: with embeddings made before training, only image, label and attribute can be had, "
                f"found {', '.join(others)}; leave that out, {way_out}"
            )

    def setup(self, stage: str) -> None:
        """Check, before anything long starts, that identities can be learned from the data."""
        if stage == "fit":
            self.dataset.check_classes()

    def teardown(self, stage: str) -> None:
        """End the loader and say how many training images were skipped because they cannot be read."""
        if stage == "fit":
            self._close_loader()
            self.dataset.report_unreadable()

    def on_exception(self, exception: BaseException) -> None:
        """Leave no thread behind when training fails or is interrupted."""
        self._close_loader()

    def _close_loader(self) -> None:
        if self._loader is not None:
            self._loader.close()

    def train_dataloader(self) -> ResumableLoader:
        """Return this rank's share of the training data, from the restored position or the start."""
        self._close_loader()
        trainer = self.trainer
        backend = self._features or make_backend(
            self.backend,
            self.dataset,
            batch_size=self.batch_size,
            threads=self.num_workers,
            device=trainer.strategy.root_device if trainer else None,
        )
        self._loader = ResumableLoader(
            self.dataset,
            self.sampling(self.dataset.source, self.batch_size, seed=self.seed),
            backend,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        if self._position is not None:
            self._loader.load_state_dict(self._position)
        return self._loader

    def state_dict(self) -> dict[str, Any]:
        """Position in the training data, for the checkpoint.

        Lightning would store it with its loops, but restores it there only in the middle of an epoch and only if
        nothing opened the loader before.
        """
        return {"position": None if self._loader is None else self._loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go there, with the loader that is open, as FSDP restores after opening it, and with the next ones."""
        self._position = state_dict["position"]
        if self._loader is not None and self._position is not None:
            self._loader.load_state_dict(self._position)

    @property
    def benchmarks_to_embed(self) -> dict[str, Benchmark]:
        """By name, those whose images validation embeds."""
        return {name: benchmark for name, benchmark in self.benchmarks.items() if name not in self.embedded}

    def val_dataloader(self) -> list[DataLoader]:
        """Return this rank's share of the images of each benchmark to embed, in order."""
        trainer = self.trainer
        share = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return [
            DataLoader(
                ImageShare(benchmark.images(), *share),
                batch_size=self.batch_size,
                num_workers=self.num_workers,
                pin_memory=torch.cuda.is_available(),
                # Drawing the workers' seeds from the global generator would shift the model's dropout.
                generator=torch.Generator().manual_seed(self.seed),
            )
            for benchmark in self.benchmarks_to_embed.values()
        ]

    def on_after_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Make images floats, and augment those of training or take a view of each embedding."""
        batch = to_float_images(batch)
        if self._loader is None or not (self.trainer and self.trainer.training):
            return batch
        if self.augmentation is not None:
            augment = self.augmentation if self._features is None else self.augmentation.choose_views
            return augment(batch, seed=self.seed, step=self._loader.step, rank=self.trainer.global_rank)
        if self._features is not None:
            batch["feature"] = batch["feature"][:, 0]
        return batch
