"""The plain face recogniser: a backbone trained with a margin head."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from src.datamodules.sample import Sample
from src.errors import UserError
from src.losses.class_shard import ClassShard
from src.losses.heads import HeadOutput, MarginHead
from src.losses.partial_fc import PartialFC, check_shardable
from src.models.embedding_module import EmbeddingModule
from src.models.memory_plan import backbone_memory, count_optimizer_states, describe, head_memory
from src.models.network_blocks import (
    compile_network,
    empty_copy,
    fill_copy,
    recompute_activations,
    shard_network,
)
from src.models.optimization import parameter_groups, schedule
from src.models.sharded_head import (
    narrow_optimizer_when_loaded,
    narrow_when_loaded,
    number_parameters,
    whole_rows,
    whole_states,
)
from src.ops.collectives import process_count

__all__ = ["FaceRecognizer"]

log = logging.getLogger(__name__)

_CENTRES = "head.weight"
"""Name of the class centres in the state dict."""


class FaceRecognizer(EmbeddingModule):
    """Identity classification with a margin, e.g. ArcFace (Deng et al. 2019).

    The head is created when training starts, because only then the number of identities is known; a recogniser
    that only embeds has none. Under FSDP the backbone is sharded while it trains, and whole before and after.

    Args:
        backbone: Embedding network, see `EmbeddingModule`.
        head: Called with ``embedding_size`` and ``num_classes``; yields the margin head.
        optimizer: Called with the parameter groups.
        scheduler: Called with the optimiser, ``total_steps`` (optimiser steps of the whole run) and ``epoch_steps``
            (optimiser steps of one epoch); its ``step`` is called after each optimiser step.
        decay_norm_and_bias: Apply weight decay to normalisation layers and biases too, as arcface_torch does.
        partial_fc: Share the classes out between the processes, and compare a batch with this share of them, see
            `PartialFC`; gradients are then clipped by the norm of those of the backbone, and those of the class
            centres are not, as in arcface_torch. None: every process has all classes.
        activation_checkpointing: Recompute the backbone's activations in the backward pass, block by block.
        compile: Have ``torch.compile`` translate the backbone.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: Callable[..., MarginHead],
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler],
        decay_norm_and_bias: bool = True,
        partial_fc: float | None = None,
        activation_checkpointing: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__(backbone)
        with torch.device("meta"):  # a wrong argument of the head shows here, not when training starts
            example = head(embedding_size=1, num_classes=2)
        if partial_fc is not None:
            check_shardable(example, partial_fc)
        self.head: MarginHead | None = None
        self.partial_fc: PartialFC | None = None
        self._make_head = head
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self._decay_norm_and_bias = decay_norm_and_bias
        self._sample_rate = partial_fc
        self._recompute = activation_checkpointing
        self._compile = compile
        self._whole: list[nn.Module] = []  # the backbone to be after FSDP; in a list, so that it is no submodule

    def configure_model(self) -> None:
        """Create the head for the identities of the training data, and prepare the backbone for training."""
        if self.head is not None or not self.trainer.training:
            return
        self._check_strategy()
        num_classes = self.trainer.datamodule.num_classes  # type: ignore[attr-defined]
        self._log_memory(num_classes)
        if self._sample_rate is None:
            self.head = self._make_head(embedding_size=self.backbone.embedding_size, num_classes=num_classes)
        else:
            self._create_shard(num_classes, self._sample_rate)
        self._prepare_backbone()

    def _check_strategy(self) -> None:
        if self.device_mesh is not None and self._sample_rate is None:
            raise UserError(
                "model.partial_fc=null: FSDP does not average the gradients of a head that every process has whole; "
                "set model.partial_fc=1.0, which compares with all classes, or less"
            )
        if self._sample_rate is not None and process_count() > 1 and str(self.trainer.precision).startswith("16"):
            raise UserError(
                f"trainer.precision={self.trainer.precision}: with model.partial_fc a process whose class centres "
                "overflow would skip a step that the others take; choose bf16-mixed or 32-true"
            )

    def _create_shard(self, num_classes: int, sample_rate: float) -> None:
        shard = ClassShard.of_this_process(num_classes)
        seed = torch.initial_seed()
        size = cast("int", self.backbone.embedding_size)
        with torch.random.fork_rng(devices=[]):  # shards differ in length, what is drawn later must not
            self.head = self._make_head(embedding_size=size, num_classes=len(shard))
        self.head.weight.data = shard.draw_centres(size, seed)
        narrow_when_loaded(self.head, shard)
        self.partial_fc = PartialFC(self.head, shard, sample_rate, seed)
        self._ddp_params_and_buffers_to_ignore = [_CENTRES]

    def _prepare_backbone(self) -> None:
        mesh = self.device_mesh
        if mesh is not None:
            self._whole = [empty_copy(self.backbone)]
        if self._compile:
            compile_network(self.backbone, by_block=self._recompute or mesh is not None)
        if self._recompute:
            recompute_activations(self.backbone)
        if mesh is not None:
            shard_network(self.backbone, mesh["data_parallel"])

    def _log_memory(self, num_classes: int) -> None:
        if not self.trainer.is_global_zero:
            return
        states = count_optimizer_states(self._make_optimizer)
        parameters = list(self.backbone.parameters())
        processes = process_count()
        backbone = backbone_memory(
            sum(p.numel() for p in parameters),
            sum(p.numel() for p in parameters if p.requires_grad),
            states,
            shards=1 if self.device_mesh is None else processes,
        )
        batch = self.trainer.datamodule.batch_size * processes  # type: ignore[attr-defined]
        size = cast("int", self.backbone.embedding_size)
        head = head_memory(num_classes, size, processes, batch, self._sample_rate, states)
        log.info(describe(backbone, head))

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """Margin loss of one batch."""
        embedding = self(batch["image"])
        output = self._loss(embedding, batch["label"])
        size = len(batch["label"])
        self.log("train/loss", output.loss, prog_bar=True, batch_size=size)
        self.log("train/target_cosine", output.target_cosine, batch_size=size)
        self.log("train/embedding_norm", embedding.detach().float().norm(dim=1).mean(), batch_size=size)
        return output.loss

    def _loss(self, embedding: Tensor, label: Tensor) -> HeadOutput:
        assert self.head is not None
        return (self.head if self.partial_fc is None else self.partial_fc)(embedding, label)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the gradient norm before clipping: of the backbone alone where the class centres are shared out."""
        module = self if self.partial_fc is None else self.backbone
        norm = torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
        self.log("train/gradient_norm", norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip all gradients, or those of the backbone by their own norm where the class centres are shared out."""
        if self.partial_fc is None:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            nn.utils.clip_grad_norm_(self.backbone.parameters(), gradient_clip_val)

    def configure_optimizers(self) -> Any:
        """One optimiser over backbone and head, and a schedule stepped after each of its steps."""
        # An optimiser takes the parameters of a group together, which those of FSDP and others cannot be.
        parts = [self] if self.partial_fc is None else [self.backbone, self.partial_fc.head]
        groups = [g for part in parts for g in parameter_groups(part, decay_norm_and_bias=self._decay_norm_and_bias)]
        optimizer = self._make_optimizer(groups)
        if self.partial_fc is not None:
            narrow_optimizer_when_loaded(optimizer, self.partial_fc.head.weight, self.partial_fc.shard)
        return schedule(optimizer, self._make_scheduler, self.trainer)

    def on_validation_start(self) -> None:
        """Have all processes embed with the same statistics of batch norm, those that are saved."""
        if process_count() > 1:
            for buffer in self.backbone.buffers():
                distributed.broadcast(buffer, src=0)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the class centres and their optimiser states together, as those of a head that was never shared out."""
        if self.partial_fc is None:
            return
        share = self.partial_fc
        centres = share.head.weight
        checkpoint["partial_fc"] = {"seed": share.seed, "draws": share.draws}
        whole = whole_rows(centres, share.shard)
        if whole is not None:
            checkpoint["state_dict"][_CENTRES] = whole
        if "optimizer_states" not in checkpoint:
            return
        optimizer = self.trainer.optimizers[0]
        states = whole_states(optimizer, centres, share.shard)
        if self.trainer.is_global_zero:
            saved, parameters = checkpoint["optimizer_states"][0], list(self.parameters())
            number_parameters(saved, optimizer, parameters)
            if states:
                position = next(i for i, parameter in enumerate(parameters) if parameter is centres)
                saved["state"][position] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the draws of classes; the centres find their rows themselves.

        Raises:
            UserError: The head of the run was shared out and this one's is not, or the other way round.
        """
        saved = checkpoint.get("partial_fc")
        if self.head is not None and (saved is None) != (self.partial_fc is None):
            raise UserError(
                f"model.partial_fc={'null' if self._sample_rate is None else self._sample_rate}: the run that is to be "
                f"continued was trained {'without' if saved is None else 'with'} model.partial_fc; set it as there"
            )
        if saved is not None and self.partial_fc is not None:
            self.partial_fc.seed, self.partial_fc.draws = saved["seed"], saved["draws"]

    def on_fit_end(self) -> None:
        """Make the backbone whole again."""
        if self._whole:
            whole = self._whole.pop()
            fill_copy(whole, self.backbone)
            self.backbone = whole
