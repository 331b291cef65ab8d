"""The password transformer: faces anonymised under a password, recovered with it alone (Gu et al. 2020, ECCV)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, distributed
from torch.optim import Adam, Optimizer

from src.datamodules.face_datamodule import FaceDataModule
from src.datamodules.sample import Sample
from src.errors import UserError
from src.losses.heads import MarginHead
from src.losses.password import PasswordLoss, PasswordLossOutput
from src.models.gan_synchronization import average_gradients
from src.models.networks.password_transformer import (
    AlignedRecogniser,
    Discriminators,
    PasswordPredictor,
    PasswordTransformer,
)
from src.models.networks.password_transformer.calibration import calibration, load_calibration
from src.models.networks.password_transformer.discriminators import KINDS
from src.models.networks.password_transformer.image_pool import ImagePool
from src.models.networks.password_transformer.passes import TransformedFaces, transform
from src.models.networks.password_transformer.password import groups_of
from src.models.networks.password_transformer.sampling import DrawnPasswords, draw_passwords
from src.models.password_optimization import AdamRates
from src.models.password_start import load_networks, load_recogniser
from src.ops.collectives import process_count, sum_over_processes

__all__ = ["FaceBatch", "FaceIdentityTransformer"]

_FIELDS = ("image", "label", "landmarks")
_PRECISIONS = ("32-true", "bf16-mixed")
_SHOWN = ("D", "G", "recon")


class FaceBatch(NamedTuple):
    """What both steps of an iteration look at.

    Attributes:
        images: Faces, float [B, 3, H, W] in [-1, 1].
        label: Whose they are, int64 [B].
        grid: Where in them the recogniser's crops are, see `FaceAlignment.grid`.
    """

    images: Tensor
    label: Tensor
    grid: Tensor


class FaceIdentityTransformer(L.LightningModule):
    """Trains the transformer and the password predictor against discriminators and a recogniser.

    An iteration is one batch: five passes of the transformer, a step of discriminators and recogniser, and one of
    transformer and predictor, which sees what the others have just learnt. The Trainer's step counts iterations. The
    recogniser's batch norms, if it has any, keep the statistics that they came with. All that the next iteration
    depends on is in the checkpoint, apart from random numbers and the position in the data, which a callback and the
    datamodule keep.

    Args:
        transformer: Anonymises and recovers.
        discriminators: Of anonymised, recovered and wrongly recovered faces.
        predictor: Reads passwords off faces.
        recogniser: Tells whom faces show.
        head: Called with ``embedding_size`` and ``num_classes``; yields the recogniser's head.
        loss: Both objectives.
        optim: Learning rates.
        wrong_sampling: See `src.models.networks.password_transformer.sampling.draw_passwords`.
        pool_size: Earlier images that are kept for each discriminator.
        save_pools: Put them into checkpoints; without them a continued training is not exactly the same.
        noise: Levels of 255 by which anonymised faces differ when they are recovered; 0.5 stands for rounding.
        recogniser_file: Where `prepare` takes the recogniser from, see `src.models.password_start`.

    Attributes:
        head: Of the recogniser; None until `prepare`.
    """

    def __init__(
        self,
        transformer: PasswordTransformer,
        discriminators: Discriminators,
        predictor: PasswordPredictor,
        recogniser: AlignedRecogniser,
        head: Callable[..., MarginHead],
        loss: PasswordLoss,
        *,
        optim: AdamRates | None = None,
        wrong_sampling: str = "uniform",
        pool_size: int = 500,
        save_pools: bool = True,
        noise: float = 0.0,
        recogniser_file: str | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.transformer, self.discriminators, self.predictor = transformer, discriminators, predictor
        self.recogniser, self.loss, self.optim = recogniser.eval(), loss, optim or AdamRates()
        self.head: MarginHead | None = None
        self._make_head = head
        self.wrong_sampling, self.save_pools, self.noise = wrong_sampling, save_pools, noise
        self.recogniser_file = recogniser_file
        self.pools = {kind: ImagePool(pool_size) for kind in KINDS}
        draw_passwords(1, transformer.length, wrong_sampling)
        self.to(memory_format=torch.channels_last)  # faster convolutions, as their inputs are in that order, too

    def train(self, mode: bool = True) -> Self:
        """Change the mode of all but the recogniser's norms."""
        super().train(mode)
        self.recogniser.eval()
        return self

    def prepare(self, num_classes: int, init_from: Path | str | None = None, continues: bool = False) -> None:
        """Create the recogniser's head, and load what training starts from.

        Args:
            num_classes: People in the training data.
            init_from: Networks of another training, see `src.models.password_start.load_networks`.
            continues: Whether all weights will come from a checkpoint, so that nothing is loaded.

        Raises:
            UserError: A file is missing, damaged, or does not fit.
        """
        self.head = self._make_head(embedding_size=self.recogniser.embedding_size, num_classes=num_classes)
        if continues:
            return
        if self.recogniser_file is not None:
            load_recogniser(self.recogniser, self.head, self.recogniser_file)
        if init_from is not None:
            names = ("transformer", "discriminators", "predictor", "recogniser")
            load_networks({name: self.get_submodule(name) for name in names}, self.head, init_from)

    def configure_optimizers(self) -> list[Adam]:
        """Adam for transformer and predictor, and for what judges them."""
        assert self.head is not None
        optim = self.optim
        recogniser = {} if optim.freezes_recogniser else {self.recogniser: optim.fr_lr, self.head: optim.fr_lr}
        return [
            optim.adam({self.transformer: optim.g_lr, self.predictor: optim.q_lr}),
            optim.adam({self.discriminators: optim.d_lr, **recogniser}),
        ]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep earlier images, and statistics that the transformer was calibrated with."""
        if self.save_pools:
            checkpoint["pools"] = _gather({kind: pool.state_dict() for kind, pool in self.pools.items()})
        if statistics := calibration(self.transformer):
            checkpoint["bn_stats"] = statistics

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with them."""
        rank = distributed.get_rank() if process_count() > 1 else 0
        states = checkpoint.get("pools", [])[rank:]
        for kind, state in states[0].items() if states else ():
            self.pools[kind].load_state_dict(state)
        load_calibration(self.transformer, checkpoint.get("bn_stats", {}))

    def check_ready(self, datamodule: FaceDataModule) -> None:
        """Raise UserError, before any long work, where training on this data could only fail."""
        if not set(_FIELDS) <= set(datamodule.fields):
            raise UserError(
                f"datamodule.fields: expected {', '.join(_FIELDS)}, found {', '.join(datamodule.fields)}; faces are "
                "aligned for the recogniser by their landmarks"
            )
        if datamodule.augmentation is not None:
            raise UserError(
                "datamodule.augmentation: expected null; landmarks are not mirrored or moved with the images"
            )
        size = datamodule.size
        if size % self.transformer.multiple:
            raise UserError(
                f"datamodule.size={size}: expected a multiple of {self.transformer.multiple}, which the transformer "
                "halves without a remainder"
            )
        if size < self.predictor.min_size:
            raise UserError(
                f"datamodule.size={size}: expected at least {self.predictor.min_size}; the password predictor needs it"
            )

    def on_fit_start(self) -> None:
        """Let every process draw passwords of its own.

        Raises:
            UserError: The Trainer would train in a precision that this method does not know.
        """
        trainer = self.trainer
        if trainer.precision not in _PRECISIONS:
            raise UserError(f"trainer.precision={trainer.precision}: expected {' or '.join(_PRECISIONS)}")
        if trainer.world_size > 1:
            torch.manual_seed(torch.initial_seed() * trainer.world_size + trainer.global_rank)

    def training_step(self, batch: Sample, batch_idx: int) -> None:
        """One iteration."""
        images = batch["image"].contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, enabled=False):  # of low precision it would be a quarter of a pixel off
            grid = self.recogniser.alignment.grid(batch["landmarks"], (images.shape[-2], images.shape[-1]))
        faces = FaceBatch(images, batch["label"], grid)
        passwords = draw_passwords(len(images), self.transformer.length, self.wrong_sampling).to(self.device)
        made = transform(
            self.transformer, images, passwords, self.noise / 127.5, separate=self.transformer.mixes_images
        )
        optimizers = cast("list[LightningOptimizer]", self.optimizers())
        judges = self.judge(faces, made)
        self._learn(judges.total, optimizers[1].optimizer)  # the Trainer counts the steps of its own wrapper
        torch.clear_autocast_cache()  # it holds copies of weights that have just changed
        makers = self.make(faces, made, passwords)
        self._learn(makers.total, optimizers[0])
        parts = {**judges.parts, **makers.parts}
        self._check_finite(parts)
        for name, value in parts.items():
            self.log(name, value, prog_bar=name in _SHOWN, batch_size=len(images))

    def judge(self, faces: FaceBatch, made: TransformedFaces) -> PasswordLossOutput:
        """Loss of discriminators and recogniser, which may take gradients from here on."""
        self._let_judges_learn(True)
        given = made.detach()
        generated = {"M": given.anonymised, "R": given.recovered, "WR": given.wrong}
        shown = {
            "M": torch.cat([given.anonymised, given.second_anonymised]),
            "R": given.recovered,
            "WR": torch.cat([given.wrong, given.second_wrong]),
        }
        count = len(faces.images)
        judged = {kind: self.discriminators(self.pools[kind].query(shown[kind], count), kind) for kind in KINDS}
        real = {kind: self.discriminators(faces.images, kind) for kind in KINDS}
        identity = {kind: faces.images.new_zeros(()) for kind in (*KINDS, "I")}
        if not self.optim.freezes_recogniser:
            recognised = self._recognise({**generated, "I": faces.images}, faces.grid)
            identity = {kind: self._identify(embedding, faces) for kind, (embedding, _) in recognised.items()}
        return self.loss.discriminator(identity, identity.pop("I"), judged, real)

    def make(self, faces: FaceBatch, made: TransformedFaces, passwords: DrawnPasswords) -> PasswordLossOutput:
        """Loss of transformer and predictor; what judges them takes no gradients from here on."""
        self._let_judges_learn(False)
        weights = self.loss.weights
        generated = {"M": made.anonymised, "R": made.recovered, "WR": made.wrong}
        others = {
            "M2": (made.second_anonymised, weights.feat_a),
            "WR2": (made.second_wrong, weights.feat_wr),
            "I": (faces.images, weights.feat_orig or weights.feat_rec),
        }
        shown = generated | {kind: images for kind, (images, wanted) in others.items() if wanted}
        recognised = self._recognise(shown, faces.grid)
        pairs = (
            (faces.images, made.anonymised, passwords.first),
            (made.anonymised, made.recovered, passwords.recovery),
            (made.anonymised, made.wrong, passwords.wrong),
        )
        told = [(self.predictor(before, after), groups_of(bits)) for before, after, bits in pairs if weights.aux > 0]
        return self.loss.generator(
            faces={"I": faces.images, **generated},
            identity={kind: self._identify(recognised[kind][0], faces) for kind in generated},
            features={kind: feature for kind, (_, feature) in recognised.items()},
            generated={kind: self.discriminators(images, kind) for kind, images in generated.items()},
            passwords=told,
        )

    def _recognise(self, images: Mapping[str, Tensor], grid: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Embeddings [B, D] and features [B, F] of faces of the batch, in one pass."""
        count = len(images)
        embedding, feature = self.recogniser(torch.cat(list(images.values())), grid.repeat(count, 1, 1, 1))
        return dict(zip(images, zip(embedding.chunk(count), feature.chunk(count), strict=True), strict=True))

    def _identify(self, embedding: Tensor, faces: FaceBatch) -> Tensor:
        """How badly faces are taken for those of the batch, a scalar."""
        assert self.head is not None
        return self.head(embedding, faces.label).loss

    def _let_judges_learn(self, learn: bool) -> None:
        assert self.head is not None
        self.discriminators.requires_grad_(learn)
        for network in (self.recogniser, self.head):
            network.requires_grad_(learn and not self.optim.freezes_recogniser)

    def _learn(self, loss: Tensor, optimizer: Optimizer | LightningOptimizer) -> None:
        optimizer.zero_grad()
        with torch.autocast(loss.device.type, enabled=False):  # what was computed in single precision is derived in it
            loss.backward()
        average_gradients(parameter for group in optimizer.param_groups for parameter in group["params"])
        optimizer.step()

    def _check_finite(self, parts: Mapping[str, Tensor]) -> None:
        finite = torch.stack(list(parts.values())).isfinite()
        broken = (~finite).any().float()
        if process_count() > 1:  # all processes end, or the others would wait for this one
            broken = sum_over_processes(broken)
        if not broken:
            return
        names = [name for name, value in zip(parts, finite.tolist(), strict=True) if not value] or ["those of others"]
        raise UserError(
            f"training stopped in step {self.trainer.global_step}: not finite are {', '.join(names)}. Nothing was "
            "saved since the last checkpoint. Continue with ckpt_path=last and lower optim.g_lr and optim.d_lr, or "
            "limit identity losses by loss.fr_clip=10"
        )


def _gather(value: dict[str, Any]) -> list[dict[str, Any]]:
    """What every process has, in the order of their ranks."""
    values: list[Any] = [value] * process_count()
    if process_count() > 1:
        distributed.all_gather_object(values, value)
    return values
