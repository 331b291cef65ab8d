"""Cancellable codes of faces: deep rank hashing behind a recogniser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from src.datamodules.face_datamodule import FaceDataModule
from src.datamodules.sample import Sample
from src.datamodules.sampling import IdentityBalanced
from src.errors import UserError
from src.losses.drh import DRHLoss, DRHLossOutput, hardest_angles
from src.models.embedding_module import EmbeddingModule
from src.models.frozen_features import frozen_features
from src.models.networks.rank_hash import CodeMode, RankHashLayer, RankHashNetwork
from src.models.networks.rank_hash_weights import check_codes, load_rank_hash
from src.models.networks.weights import fingerprint, load_weights
from src.models.optimization import schedule
from src.ops.hashing import RankHash
from src.ops.soft_rank import SoftCode
from src.ops.symbol_statistics import symbol_counts, symbol_entropy

if TYPE_CHECKING:
    from src.eval.matching import Matcher

__all__ = ["DRH"]

_EMBEDDINGS = 1024  # hashed at once

_BACKBONE = "backbone.backbone."
"""What the names of the backbone's weights begin with in the state dict."""


class DRH(EmbeddingModule):
    """Deep rank hashing of Dong, Cho, Kim, Kim and Teoh 2022, Pattern Recognition, 108886.

    A layer behind a recogniser, usually frozen, learns to give the faces of a person index codes that agree in many
    symbols. Batches have to hold several faces of each of their people. A checkpoint holds the layer and the backbone.

    Args:
        backbone: Embedding network, see `EmbeddingModule`.
        layer: Called with ``size``, the length of an embedding; yields the layer that makes codes.
        loss: Of a batch of codes.
        optimizer: Called with a parameter group for the layer and, if that learns, one for the backbone. The layer's
            weights do not decay; those of its hidden layers have a penalty in the loss.
        matchers: More ways of comparing codes, each evaluated too, by the name that its rows get.
        freeze: Whether the backbone is frozen.
        backbone_lr_scale: Learning rate of a backbone that learns, as a multiple of the layer's.
        frozen_dropout: See `RankHashNetwork`, like the next two.
        normalize_embedding: See there.
        code_mode: See there.
        scheduler: As of `src.models.recognizer.FaceRecognizer`; None keeps the rates.
        feature_cache: Folder for the embeddings of the training images, which training then starts from; they are
            computed once. None, or a backbone whose embeddings change, runs the backbone in every step.
        allow_random_backbone: Train behind a frozen backbone that no file was loaded into.
    """

    backbone: RankHashNetwork

    def __init__(
        self,
        backbone: nn.Module,
        layer: Callable[..., RankHashLayer],
        loss: DRHLoss,
        optimizer: Callable[..., Optimizer],
        matchers: Mapping[str, Matcher] | None = None,
        freeze: bool = True,
        backbone_lr_scale: float = 1.0,
        frozen_dropout: bool = False,
        normalize_embedding: bool = False,
        code_mode: CodeMode = "argmax",
        scheduler: Callable[..., LRScheduler] | None = None,
        feature_cache: Path | str | None = None,
        allow_random_backbone: bool = False,
    ) -> None:
        super().__init__(
            RankHashNetwork(
                backbone,
                layer,
                freeze=freeze,
                frozen_dropout=frozen_dropout,
                normalize_embedding=normalize_embedding,
                code_mode=code_mode,
            )
        )
        self.alphabet = self.backbone.alphabet
        loss.check(self.alphabet)
        self.loss = loss
        self._matchers = dict(matchers or {})
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self._backbone_lr_scale = backbone_lr_scale
        self._feature_cache = feature_cache if self.backbone.is_constant else None
        self._allow_random_backbone = allow_random_backbone

    @property
    def layer(self) -> RankHashLayer:
        """The layer that makes codes."""
        return self.backbone.layer

    @property
    def matchers(self) -> Mapping[str, Matcher]:
        """More ways of comparing codes, by name."""
        return self._matchers

    def reference(self) -> EmbeddingModule:
        """The backbone alone, as it is: its embeddings are what the codes are made of."""
        return EmbeddingModule(self.backbone.backbone)

    @torch.no_grad()
    def from_reference(self, embeddings: Tensor) -> Tensor:
        """See `EmbeddingModule.from_reference`."""
        was_training = self.training
        self.eval()
        batches = embeddings.split(_EMBEDDINGS)
        codes = torch.cat([self.backbone.codes(batch.to(self.device)).cpu() for batch in batches])
        self.train(was_training)
        return codes

    def rank_hash(self) -> RankHash | None:
        """See `EmbeddingModule.rank_hash` and `RankHashNetwork.rank_hash`."""
        return self.backbone.rank_hash()

    def setup(self, stage: str) -> None:
        """Compute the embeddings that training starts from."""
        if stage == "fit" and self._feature_cache is not None and self.trainer.max_epochs != 0:
            network = self.backbone.backbone.to(self.trainer.strategy.root_device)
            datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
            features = frozen_features(
                self.backbone.embed, f"raw {fingerprint(network)}", datamodule, self.trainer, self._feature_cache
            )
            datamodule.use_features(features)

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """Loss of one batch of images, or of raw embeddings."""
        embedding = batch["feature"] if "feature" in batch else self.backbone.embed(batch["image"])
        soft = self.layer.soft(self.backbone.layer_input(embedding))
        output = self.loss(soft, batch["label"], self.layer.penalty())
        if (self.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log_output(output, soft, batch["label"])
        return output.total

    def _log_output(self, output: DRHLossOutput, soft: SoftCode, label: Tensor) -> None:
        self.log("train/loss", output.total, prog_bar=True, batch_size=len(label))
        positive, negative = hardest_angles(self.loss.compared(soft), label)
        parts = {f"{name}_loss": value for name, value in output._asdict().items() if name != "total" and value != 0}
        values = {
            **parts,
            "hardest_positive_degrees": torch.rad2deg(positive),
            "hardest_negative_degrees": torch.rad2deg(negative),
            **_symbol_values(soft),
        }
        self.log_dict({f"train/{name}": value for name, value in values.items()}, batch_size=len(label))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One optimiser with a group, and a learning rate, for the layer and for a backbone that learns."""
        groups = [{"params": list(self.layer.parameters()), "weight_decay": 0.0}]
        if not self.backbone.freeze:
            groups.append({"params": list(self.backbone.backbone.parameters())})
        optimizer = self._make_optimizer(groups)
        for group in optimizer.param_groups[1:]:
            group["lr"] *= self._backbone_lr_scale
        if self._make_scheduler is None:
            return optimizer
        return schedule(optimizer, self._make_scheduler, self.trainer)

    def load_backbone(self, path: Path | str) -> None:
        """Load the backbone from a checkpoint of ours or a public file of weights."""
        load_weights(self.backbone.backbone, path)
        self.backbone_file = str(Path(path).absolute())

    def load_trained(self, path: Path | str, backbone_file: Path | str | None = None) -> None:
        """Load layer and backbone from a checkpoint of ours; ``backbone_file`` is not needed.

        Raises:
            UserError: The file holds no rank hash, another model's codes, or another backbone.
        """
        load_rank_hash(self.backbone, path)
        self.backbone_file = str(Path(path).absolute())

    def check_ready(self, datamodule: FaceDataModule) -> None:
        """See `EmbeddingModule.check_ready`.

        Raises:
            UserError: Nobody trained the weights of a frozen backbone, batches need not hold several faces of several
                people, or embeddings computed once would lack augmentation.
        """
        has_weights = any(True for _ in self.backbone.backbone.parameters())
        is_untrained = has_weights and self.backbone_file is None
        if self.backbone.freeze and is_untrained and not self._allow_random_backbone:
            raise UserError(
                "init_from=null: the backbone is frozen, so it has to be trained already. Name its weights by "
                "init_from=FILE, or set model.allow_random_backbone=true where they are built in (pretrained=true)"
            )
        _check_batches(datamodule)
        if self._feature_cache is not None:
            datamodule.check_features_suffice()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the run that is continued makes such codes, behind this backbone if that is frozen.

        Raises:
            UserError: It makes other codes, or had another backbone, which embeddings computed once would not be of.
        """
        weights = checkpoint["state_dict"]
        check_codes(self.layer, weights, "the checkpoint")
        current = self.backbone.backbone.state_dict() if self.backbone.freeze else {}
        found = {name: weights.get(_BACKBONE + name, torch.empty(0)).cpu() for name in current}
        if any(not torch.equal(value.cpu(), found[name]) for name, value in current.items()):
            raise UserError(
                f"the run was trained behind another frozen backbone than that of init_from={self.backbone_file}; "
                "continue with the file that it was started with, or start a new run"
            )


def _check_batches(datamodule: FaceDataModule) -> None:
    """Refuse batches that hold no two faces of a person, or only one person's."""
    sampling = datamodule.sampling(datamodule.dataset.source, datamodule.batch_size, seed=datamodule.seed)
    if not isinstance(sampling, IdentityBalanced):
        raise UserError(
            f"datamodule/sampling: expected identity_balanced, found {type(sampling).__name__}. Codes are compared "
            "within a batch, which has to hold several faces of each person: datamodule/sampling=identity_balanced"
        )
    if sampling.classes_per_batch < 2:
        raise UserError(
            f"datamodule.batch_size={datamodule.batch_size}: with datamodule.sampling.images_per_class="
            f"{sampling.images_per_class} a batch holds one person only; expected at least twice that"
        )


@torch.no_grad()
def _symbol_values(soft: SoftCode) -> dict[str, Tensor]:
    """How evenly a batch uses the symbols, and how many of them cutting off the soft code gets wrong."""
    codes = soft.probability.argmax(-1)
    entropy = symbol_entropy(symbol_counts(codes, soft.probability.shape[-1]))
    return {
        "symbol_entropy_min": entropy.min(),
        "symbol_entropy_max": entropy.max(),
        "trunc_not_argmax": (soft.code.trunc() != codes).double().mean(),
    }
