"""Deep rank hashing (Dong et al. 2022): index-of-maximum codes of the embeddings of a face recogniser."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import UserError, check_choice
from src.ops.hashing import RankHash, group_argmax
from src.ops.soft_rank import SoftCode, soft_argmax

__all__ = ["CodeMode", "Hidden", "PermutationLayer", "RankHashLayer", "RankHashNetwork"]

Hidden = Literal["1", "2", "3", "T", "T1", "T2"]
CodeMode = Literal["argmax", "round", "trunc"]

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_DENSE_PENALTY = 5e-4
"""Weight of the squared entries of a hidden linear layer, as the reference gives it."""


class PermutationLayer(nn.Module):
    """Moves the entries of an embedding: ``x'[key[i]] = x[i]``.

    Args:
        size: Length d of an embedding.
        seed: Of the permutation; None leaves the entries where they are.

    Attributes:
        key: int64 [d], kept with the weights.
    """

    key: Tensor

    def __init__(self, size: int, seed: int | None = None) -> None:
        super().__init__()
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        key = torch.arange(size) if generator is None else torch.randperm(size, generator=generator)
        self.register_buffer("key", key)

    def forward(self, x: Tensor) -> Tensor:
        """Permute the entries of float [B, d]."""
        return x.index_select(-1, self.key.argsort())


class RankHashLayer(nn.Module):
    """From embeddings to the logits of index codes: permutation, hidden layers, projection.

    Group i of the logits is the entries ``i * q`` to ``(i + 1) * q``; its largest entry is symbol i of the code. The
    projection of 512 symbols out of 8 from embeddings of 512 has 2,101,248 parameters. As there is no activation, in
    evaluation mode all of it is one affine map, see `fold`.

    Args:
        size: Length d of an embedding.
        m: Symbols of a code.
        q: Size of the alphabet, a power of two from 2 to 256, so that codes are closed under XOR.
        T: Inverse temperature of the soft codes; above 100 hardly any gradient is left.
        hidden: What lies between permutation and projection. ``"1"`` and ``"T1"``: nothing; ``"2"``: a linear layer of
            512 and a batch norm; ``"3"``: that twice; ``"T"`` and ``"T2"``: a linear layer of 1024, a batch norm and
            dropout.
        init_std: Standard deviation of the projection's weights at the start, which are normally distributed.
        bias: Whether the projection has one, zero at the start.
        permutation_seed: Of the permutation of the embedding; None: none.
        hidden_T_parity: Take T as 1 behind the hidden layers ``"2"`` and ``"3"``, as the reference does.

    Raises:
        UserError: A number is out of its range, or there is no such ``hidden``.
    """

    code_shape: Tensor

    def __init__(
        self,
        size: int,
        m: int = 512,
        q: int = 8,
        T: float = 1.0,
        hidden: Hidden = "1",
        init_std: float = 1.0,
        bias: bool = True,
        permutation_seed: int | None = None,
        hidden_T_parity: bool = False,
    ) -> None:
        super().__init__()
        hidden = str(hidden)  # type: ignore[assignment]  # a command line gives the number 1
        check_choice("model.layer.hidden", hidden, get_args(Hidden))
        _check_numbers(m, q, T, init_std)
        self.m = m
        self.q = q
        self.T = 1.0 if hidden_T_parity and hidden in ("2", "3") else float(T)
        self.permutation = PermutationLayer(size, permutation_seed)
        self.hidden = _hidden_layers(size, hidden)
        width = next((layer.out_features for layer in reversed(self.hidden) if isinstance(layer, nn.Linear)), size)
        self.projection = nn.Linear(width, m * q, bias=bias)
        nn.init.normal_(self.projection.weight, std=init_std)
        if bias:
            nn.init.zeros_(self.projection.bias)
        # With the weights, because their shape does not tell 512 symbols out of 8 from 1024 out of 4.
        self.register_buffer("code_shape", torch.tensor([m, q]))

    def logits(self, x: Tensor) -> Tensor:
        """Logits float32 [B, m * q] of embeddings [B, d], whatever autocast is set to."""
        with torch.autocast(x.device.type, enabled=False):
            return self._affine(x.float())

    def soft(self, x: Tensor) -> SoftCode:
        """Differentiable codes of embeddings [B, d]."""
        logits = self.logits(x)
        with torch.autocast(x.device.type, enabled=False):
            return soft_argmax(logits, self.q, self.T)

    def penalty(self) -> Tensor:
        """Sum over the hidden linear layers of their squared weights times 5e-4, a scalar; 0 without hidden layers."""
        squares = [layer.weight.square().sum() for layer in self.hidden if isinstance(layer, nn.Linear)]
        return _DENSE_PENALTY * sum(squares, self.projection.weight.new_zeros(()))

    @torch.no_grad()
    def fold(self) -> RankHash:
        """All of the layer, in evaluation mode, as one affine map on the CPU, folded in double precision."""
        layer = copy.deepcopy(self).cpu().double().eval()
        size = len(self.permutation.key)
        bias = layer._affine(torch.zeros(1, size, dtype=torch.float64))
        weight = (layer._affine(torch.eye(size, dtype=torch.float64)) - bias).T
        return RankHash(weight.float().contiguous(), bias[0].float(), self.q)

    def extra_repr(self) -> str:
        """What the modules within do not tell."""
        return f"m={self.m}, q={self.q}, T={self.T:g}"

    def _affine(self, x: Tensor) -> Tensor:
        return self.projection(self.hidden(self.permutation(x)))


class RankHashNetwork(nn.Module):
    """A backbone, usually frozen, and the layer that makes index codes of its embeddings.

    A frozen backbone has no gradient and stays in evaluation mode whatever ``train`` is called with.

    Args:
        backbone: Network from float32 [B, 3, S, S] in [-1, 1] RGB to raw embeddings [B, d], with ``embedding_size``.
        layer: Called with ``size``, the length d of an embedding.
        freeze: Whether the backbone is frozen.
        frozen_dropout: Leave the dropout of a frozen backbone active in training, as the reference does.
        normalize_embedding: Scale embeddings to unit length before the layer; T then has to be about 22 times larger.
        code_mode: ``"argmax"`` takes the largest entry of every group; ``"round"`` and ``"trunc"`` round the soft codes
            or cut their fractions off, the latter as the reference's test script does.

    Attributes:
        embedding_size: Symbols m of a code.
        m: The same.
        alphabet: Size q of the alphabet.
        size: Height and width S of the images in pixels; None if the backbone does not tell.

    Raises:
        UserError: The backbone does not tell the length of its embeddings, or there is no such code mode.
    """

    def __init__(
        self,
        backbone: nn.Module,
        layer: Callable[..., RankHashLayer],
        freeze: bool = True,
        frozen_dropout: bool = False,
        normalize_embedding: bool = False,
        code_mode: CodeMode = "argmax",
    ) -> None:
        super().__init__()
        check_choice("model.code_mode", code_mode, get_args(CodeMode))
        if backbone.embedding_size is None:
            raise UserError(
                "model.backbone: the file does not tell the length of its embeddings, which the layer needs"
            )
        self.backbone = backbone.requires_grad_(not freeze)
        self.layer = layer(size=backbone.embedding_size)
        self.freeze = freeze
        self.frozen_dropout = frozen_dropout
        self.normalize_embedding = normalize_embedding
        self.code_mode = code_mode
        self.m = self.embedding_size = self.layer.m
        self.alphabet = self.layer.q
        self.size = getattr(backbone, "size", None)
        self.train(self.training)

    def train(self, mode: bool = True) -> RankHashNetwork:
        """Set the mode of the layer, and of the backbone unless it is frozen."""
        super().train(mode)
        if self.freeze:
            self.backbone.eval()
            if self.frozen_dropout:
                for module in self.backbone.modules():
                    if isinstance(module, _DROPOUTS):
                        module.train(mode)
        return self

    def embed(self, image: Tensor) -> Tensor:
        """Raw embeddings float32 [B, d]; without gradient if the backbone is frozen."""
        with torch.no_grad() if self.freeze else nullcontext():
            return self.backbone(image).float()

    @property
    def is_constant(self) -> bool:
        """Whether the backbone makes the same embedding of an image in every training step."""
        drops = self.frozen_dropout and any(isinstance(module, _DROPOUTS) for module in self.backbone.modules())
        return self.freeze and not drops

    def layer_input(self, embedding: Tensor) -> Tensor:
        """What the layer is given for raw embeddings [B, d]."""
        return F.normalize(embedding) if self.normalize_embedding else embedding

    def codes(self, embedding: Tensor) -> Tensor:
        """Index codes uint8 [B, m] of raw embeddings [B, d].

        Raises:
            UserError: An embedding is not finite: its code would be arbitrary. A graph that this is exported as cannot
                raise and gives such a code.
        """
        if not torch.compiler.is_exporting() and not torch.isfinite(embedding).all():
            raise UserError("the backbone yields embeddings with NaN or infinity, which have no rank-hash code")
        x = self.layer_input(embedding)
        if self.code_mode == "argmax":
            return group_argmax(self.layer.logits(x), self.alphabet)
        code = self.layer.soft(x).code
        return (code.round() if self.code_mode == "round" else code.trunc()).to(torch.uint8)

    def forward(self, image: Tensor) -> Tensor:
        """Index codes uint8 [B, m], values 0 to q - 1, of images float32 [B, 3, S, S] in [-1, 1] RGB."""
        return self.codes(self.embed(image))

    def rank_hash(self) -> RankHash | None:
        """The layer as a function of raw embeddings; None where codes are no index of the maximum of an affine map."""
        folded = self.layer.fold()
        depends_on_length = self.normalize_embedding and bool(folded.bias.any())
        return None if self.code_mode != "argmax" or depends_on_length else folded

    def extra_repr(self) -> str:
        """What the modules within do not tell, and what distinguishes networks of the same weights."""
        return f"{self.code_mode}, normalize_embedding={self.normalize_embedding}"


def _hidden_layers(size: int, hidden: Hidden) -> nn.Sequential:
    if hidden in ("1", "T1"):
        return nn.Sequential()
    if hidden == "2":
        return nn.Sequential(*_dense(size, 512))
    if hidden == "3":
        return nn.Sequential(*_dense(size, 512), *_dense(512, 512))
    return nn.Sequential(*_dense(size, 1024), nn.Dropout(0.5))


def _dense(size: int, width: int) -> tuple[nn.Linear, nn.BatchNorm1d]:
    """A linear layer and a batch norm with the defaults of Keras, in which the reference is written."""
    linear = nn.Linear(size, width)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear, nn.BatchNorm1d(width, eps=1e-3, momentum=0.01)


def _check_numbers(m: int, q: int, T: float, init_std: float) -> None:
    if m < 1:
        raise UserError(f"model.layer.m={m}: expected at least one symbol")
    if not 2 <= q <= 256 or q & (q - 1):
        raise UserError(f"model.layer.q={q}: expected a power of two from 2 to 256, so that XOR stays in the alphabet")
    if not T > 0:
        raise UserError(f"model.layer.T={T}: expected a number above 0")
    if not init_std > 0:
        raise UserError(f"model.layer.init_std={init_std}: expected a number above 0")
