"""Templates that identify but do not tell gender: a privacy layer behind a frozen recogniser."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from src.datamodules.face_datamodule import FaceDataModule
from src.datamodules.sample import Sample
from src.errors import UserError
from src.losses.gender_angular import GenderAngularLoss, GenderAngularOutput
from src.models.embedding_module import EmbeddingModule
from src.models.frozen_features import frozen_features
from src.models.networks.privacy_layer import ProtectedBackbone
from src.models.networks.privacy_weights import load_layer, load_protected, read_header
from src.models.networks.weights import fingerprint, load_weights, weights_fingerprint
from src.models.optimization import schedule

__all__ = ["GenderAngular"]

log = logging.getLogger(__name__)

_FROZEN = "backbone.backbone."
"""What the names of the frozen backbone's weights begin with in the state dict."""


class GenderAngular(EmbeddingModule):
    """Gender-angular finetune of Rezgui, Strisciuglio and Veldhuis 2024, IEEE T-BIOM 6(3), 352-363.

    Only the privacy layer and the class centres of the loss learn. The loss is created when training starts, because
    only then the identities and their genders are known. A checkpoint names the frozen backbone by its file and
    fingerprint and does not hold it, unless asked to.

    Args:
        backbone: Embedding network, see `EmbeddingModule`; frozen.
        layer: Called with ``size``, the length of an embedding; yields the privacy layer.
        loss: Called with ``embedding_size`` and ``class_attributes`` (int8 [C], 0 female, 1 male, -1 unknown).
        optimizer: Called with two parameter groups: privacy layer, class centres.
        head_lr: Learning rate of the class centres; that of the optimiser is the layer's.
        scheduler: As of `src.models.recognizer.FaceRecognizer`; None keeps the rates.
        feature_cache: Folder for the embeddings of the training images, which training then starts from; they are
            computed once. None runs the backbone in every step.
        layer_weights: File to start the privacy layer from, e.g. ``1030ftn_layers.pth``.
        head_weights: File to start the class centres from, e.g. ``1030header.pth``.
        allow_head_reinit: Start with new class centres where those of the file are of other identities.
        save_backbone: Whether checkpoints hold the frozen backbone too.
        allow_random_backbone: Train behind a backbone that no file was loaded into.
    """

    backbone: ProtectedBackbone

    def __init__(
        self,
        backbone: nn.Module,
        layer: Callable[..., nn.Module],
        loss: Callable[..., GenderAngularLoss],
        optimizer: Callable[..., Optimizer],
        head_lr: float = 0.01,
        scheduler: Callable[..., LRScheduler] | None = None,
        feature_cache: Path | str | None = None,
        layer_weights: Path | str | None = None,
        head_weights: Path | str | None = None,
        allow_head_reinit: bool = False,
        save_backbone: bool = False,
        allow_random_backbone: bool = False,
    ) -> None:
        super().__init__(ProtectedBackbone(backbone, layer))
        with torch.device("meta"):  # a wrong argument of the loss shows here, not when training starts
            loss(embedding_size=1, class_attributes=torch.tensor([0, 1], device="cpu"))
        self.loss: GenderAngularLoss | None = None
        self._make_loss = loss
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self._head_lr = head_lr
        self._feature_cache = feature_cache
        self._head_weights = head_weights
        self._allow_head_reinit = allow_head_reinit
        self._save_backbone = save_backbone
        self._allow_random_backbone = allow_random_backbone
        if layer_weights is not None:
            load_layer(self.layer, layer_weights)

    @property
    def layer(self) -> nn.Module:
        """The privacy layer."""
        return self.backbone.layer

    def reference(self) -> EmbeddingModule:
        """The frozen backbone alone: what the templates are compared with."""
        return EmbeddingModule(self.backbone.backbone)

    def setup(self, stage: str) -> None:
        """Compute the embeddings that training starts from."""
        if stage == "fit" and self._feature_cache is not None:
            network = self.backbone.backbone.to(self.trainer.strategy.root_device)
            datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
            features = frozen_features(
                self.backbone.embed, fingerprint(network), datamodule, self.trainer, self._feature_cache
            )
            datamodule.use_features(features)

    def configure_model(self) -> None:
        """Create the loss for the identities of the training data."""
        if self.loss is None and self.trainer.training:
            self.loss = self._new_loss(self.trainer.datamodule)  # type: ignore[attr-defined]

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """Loss of one batch of images, or of embeddings of unit length."""
        assert self.loss is not None
        embedding = batch["feature"] if "feature" in batch else self.backbone.embed(batch["image"])
        output = self.loss(self.layer(embedding), batch["label"], batch["attribute"])
        # A third of the time of a step: not for those that no logger sees.
        if (self.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log_output(output, len(batch["label"]))
        return output.loss

    def _log_output(self, output: GenderAngularOutput, batch_size: int) -> None:
        assert self.loss is not None
        self.log("train/loss", output.loss, prog_bar=True, batch_size=batch_size)
        female, male = output.counts.float()
        values = {
            "identity_loss": output.identity,
            "target_cosine": output.target_cosine,
            "centroid_angle_degrees": torch.rad2deg(output.centroid_angle),
            "prototype_angle_degrees": torch.rad2deg(output.prototype_angle),
            "prototype_separation_degrees": torch.rad2deg(output.prototype_separation),
            "privacy_loss": self.loss.alpha * output.centroid_angle + self.loss.beta * output.prototype_angle,
            "female": female,
            "male": male,
        }
        self.log_dict({f"train/{name}": value for name, value in values.items()}, batch_size=batch_size)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One optimiser with a group, and a learning rate, for the layer and for the class centres."""
        assert self.loss is not None
        groups = [
            {"params": list(self.layer.parameters())},
            {"params": list(self.loss.parameters()), "lr": self._head_lr},
        ]
        optimizer = self._make_optimizer(groups)
        if self._make_scheduler is None:
            return optimizer
        return schedule(optimizer, self._make_scheduler, self.trainer)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients of the privacy layer only, as the reference does, by their norm."""
        if gradient_clip_val:
            nn.utils.clip_grad_norm_(self.layer.parameters(), gradient_clip_val)

    def load_backbone(self, path: Path | str) -> None:
        """Load the frozen backbone from a checkpoint of ours or a public file of weights."""
        load_weights(self.backbone.backbone, path)
        self.backbone_file = str(Path(path).absolute())

    def check_ready(self, datamodule: FaceDataModule) -> None:
        """See `EmbeddingModule.check_ready`.

        Raises:
            UserError: Nobody trained the weights of the frozen backbone, the training data has one gender only or
                somebody of both, the class centres to start from are of other identities, or embeddings computed once
                would lack augmentation.
        """
        has_weights = any(True for _ in self.backbone.backbone.parameters())
        if has_weights and self.backbone_file is None and not self._allow_random_backbone:
            raise UserError(
                "init_from=null: the backbone is frozen, so it has to be trained already. Name its weights by "
                "init_from=FILE, or set model.allow_random_backbone=true where they are built in (pretrained=true)"
            )
        if self._feature_cache is not None:
            datamodule.check_features_suffice()
        with torch.device("meta"):
            self._new_loss(datamodule)

    def _new_loss(self, datamodule: FaceDataModule) -> GenderAngularLoss:
        loss = self._make_loss(
            embedding_size=self.backbone.embedding_size, class_attributes=datamodule.class_attributes
        )
        if self._head_weights is not None:
            self._load_head(loss, self._head_weights)
        return loss

    def load_trained(self, path: Path | str, backbone_file: Path | str | None = None) -> None:
        """Load the privacy layer, and the backbone that it was trained behind.

        Args:
            path: Checkpoint of ours, or a file of the reference: the layer alone, or the layer with its backbone.
            backbone_file: The backbone's weights, where the file neither holds them nor names a file that does.

        Raises:
            UserError: The file holds no such layer, or its backbone is not to be found.
        """
        origin = load_protected(self.backbone, path, backbone_file)
        self.backbone_file = None if origin is None else str(Path(origin).absolute())

    def _load_head(self, loss: GenderAngularLoss, path: Path | str) -> None:
        centres = read_header(path)
        if centres.shape == loss.head.weight.shape:
            loss.head.weight.data.copy_(centres)
        elif self._allow_head_reinit:
            log.warning(
                "%s: class centres %s are not those of this data; new ones are learnt", path, list(centres.shape)
            )
        else:
            raise _other_classes(path, centres, loss.head.weight)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which the frozen backbone is and, unless asked to keep it, leave it out."""
        checkpoint["frozen_backbone"] = {
            "path": self.backbone_file,
            "fingerprint": weights_fingerprint(self.backbone.backbone),
        }
        if not self._save_backbone:
            weights = checkpoint["state_dict"]
            checkpoint["state_dict"] = {name: value for name, value in weights.items() if not name.startswith(_FROZEN)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Complete the weights by the frozen backbone, which has to be the same.

        Raises:
            UserError: The run had another backbone, or data of other identities.
        """
        frozen, network = checkpoint["frozen_backbone"], self.backbone.backbone
        if weights_fingerprint(network) != frozen["fingerprint"]:
            raise UserError(
                f"the run was trained behind the backbone of {frozen['path'] or 'no file'}, this is another "
                f"(init_from={self.backbone_file}); continue with the former, or start a new run"
            )
        weights = {f"{_FROZEN}{name}": value for name, value in network.state_dict().items()}
        checkpoint["state_dict"] = weights | checkpoint["state_dict"]
        centres = checkpoint["state_dict"].get("loss.head.weight")
        if self.loss is not None and centres is not None and centres.shape != self.loss.head.weight.shape:
            raise _other_classes("the checkpoint", centres, self.loss.head.weight)


def _other_classes(origin: object, found: Tensor, expected: Tensor) -> UserError:
    return UserError(
        f"{origin}: class centres of {len(found)} identities in {found.shape[1]} dimensions; the training data has "
        f"{len(expected)}, the templates {expected.shape[1]}. Train on the data they were made with, leave "
        "model.head_weights out, or set model.allow_head_reinit=true to learn new ones"
    )
