from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_hashing import tiny_backbone
from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.rank_hash import PermutationLayer, RankHashLayer, RankHashNetwork
from src.models.networks.weights import fingerprint, weights_fingerprint
from src.ops.soft_rank import soft_argmax

HIDDEN = ["1", "2", "3", "T", "T1", "T2"]


def layer(size: int = 16, seed: int = 0, **options: Any) -> RankHashLayer:
    torch.manual_seed(seed)
    return RankHashLayer(size, **({"m": 24, "q": 8} | options))


def network(**options: Any) -> RankHashNetwork:
    torch.manual_seed(1)
    arguments = {"layer": partial(RankHashLayer, m=24)} | options
    return RankHashNetwork(tiny_backbone(), **arguments)


def embeddings(rows: int = 32, size: int = 16, seed: int = 0) -> Tensor:
    return 5 * torch.randn(rows, size, generator=torch.Generator().manual_seed(seed))


class TestPermutation:
    def test_definition(self) -> None:
        permutation = PermutationLayer(10, seed=3)
        x = torch.randn(4, 10)
        permuted = permutation(x)
        for i, target in enumerate(permutation.key.tolist()):
            assert torch.equal(permuted[:, target], x[:, i])

    def test_is_orthogonal_and_by_default_the_identity(self) -> None:
        matrix = PermutationLayer(10, seed=3)(torch.eye(10))
        assert torch.equal(matrix @ matrix.T, torch.eye(10))
        assert not torch.equal(matrix, torch.eye(10))
        assert torch.equal(PermutationLayer(10)(torch.eye(10)), torch.eye(10))

    def test_same_seed_same_key(self) -> None:
        assert torch.equal(PermutationLayer(50, 7).key, PermutationLayer(50, 7).key)
        assert not torch.equal(PermutationLayer(50, 7).key, PermutationLayer(50, 8).key)

    def test_permuting_features_and_weights_alike_keeps_codes(self) -> None:
        plain, permuted = layer(), layer(permutation_seed=5)
        permuted.projection.weight.data[:, permuted.permutation.key] = plain.projection.weight.data
        x = embeddings()
        torch.testing.assert_close(permuted.logits(x), plain.logits(x))
        assert torch.equal(permuted.fold().codes(x), plain.fold().codes(x))


class TestLayer:
    def test_parameter_counts_of_the_specification(self) -> None:
        with torch.device("meta"):
            assert sum(p.numel() for p in RankHashLayer(512).parameters()) == 2_101_248
            assert sum(p.numel() for p in RankHashLayer(512, m=32).parameters()) == 131_328
            assert sum(p.numel() for p in RankHashLayer(512, q=64).parameters()) == 16_809_984

    @pytest.mark.parametrize(
        ("hidden", "widths"),
        [("1", []), ("2", [512]), ("3", [512, 512]), ("T", [1024]), ("T1", []), ("T2", [1024]), (2, [512])],
    )
    def test_hidden_layers(self, hidden: Any, widths: list[int]) -> None:
        made = layer(hidden=hidden).hidden
        assert [part.out_features for part in made if isinstance(part, nn.Linear)] == widths
        norms = [part for part in made if isinstance(part, nn.BatchNorm1d)]
        assert [(norm.num_features, norm.eps, norm.momentum) for norm in norms] == [(w, 1e-3, 0.01) for w in widths]
        assert [part.p for part in made if isinstance(part, nn.Dropout)] == [0.5] * (str(hidden) in ("T", "T2"))

    def test_initial_projection(self) -> None:
        projection = layer(512, m=128).projection
        assert float(projection.weight.detach().std()) == pytest.approx(1, abs=0.01)
        assert float(layer(512, m=128, init_std=0.1).projection.weight.detach().std()) == pytest.approx(0.1, abs=0.001)
        assert not projection.bias.any()
        assert layer(bias=False).projection.bias is None

    def test_T_reaches_the_soft_code(self) -> None:
        x = embeddings()
        for hidden, parity, expected in [("1", True, 9.0), ("2", False, 9.0), ("2", True, 1.0), ("3", True, 1.0),
                                         ("T", True, 9.0), ("T1", True, 9.0)]:  # fmt: skip
            made = layer(hidden=hidden, T=9.0, hidden_T_parity=parity).eval()
            with torch.no_grad():
                assert torch.equal(made.soft(x).code, soft_argmax(made.logits(x), 8, expected).code)

    def test_penalty_of_hidden_layers(self) -> None:
        assert float(layer().penalty()) == 0
        made = layer(hidden="3")
        squares = sum(part.weight.square().sum() for part in made.hidden if isinstance(part, nn.Linear))
        penalty = made.penalty()
        torch.testing.assert_close(penalty, 5e-4 * squares)
        penalty.backward()
        assert made.hidden[0].weight.grad is not None
        assert made.projection.weight.grad is None

    def test_logits_are_single_precision_under_autocast(self) -> None:
        made, x = layer(), embeddings()
        with torch.autocast("cpu", torch.bfloat16):
            logits, code = made.logits(x), made.soft(x).code
        assert logits.dtype == torch.float32
        assert torch.equal(logits, made.logits(x))
        assert torch.equal(code, made.soft(x).code)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"q": 6}, r"model\.layer\.q=6: expected a power of two from 2 to 256"),
            ({"q": 1}, r"model\.layer\.q=1"),
            ({"q": 512}, r"model\.layer\.q=512"),
            ({"m": 0}, r"model\.layer\.m=0: expected at least one symbol"),
            ({"T": 0.0}, r"model\.layer\.T=0.0: expected a number above 0"),
            ({"T": float("nan")}, r"model\.layer\.T=nan"),
            ({"init_std": 0.0}, r"model\.layer\.init_std=0.0"),
            ({"hidden": "4"}, r"model\.layer\.hidden: expected 1, 2, 3, T, T1 or T2, found '4'"),
        ],
    )
    def test_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError, match=message):
            layer(**options)


class TestFold:
    @pytest.mark.parametrize("hidden", HIDDEN)
    @pytest.mark.parametrize("permutation_seed", [None, 4])
    def test_is_the_layer_in_evaluation_mode(self, hidden: str, permutation_seed: int | None) -> None:
        made = layer(hidden=hidden, permutation_seed=permutation_seed)
        for parameter in made.parameters():  # none of them as it starts
            parameter.data += 0.3 * torch.randn_like(parameter)
        for _ in range(3):
            made.soft(embeddings(seed=9))  # batch statistics
        x = embeddings(500)
        folded = made.fold()
        assert (folded.weight.shape, folded.bias.shape, folded.m) == ((192, 16), (192,), 24)
        made.eval()
        with torch.no_grad():
            logits = made.logits(x)
        torch.testing.assert_close(x @ folded.weight.T + folded.bias, logits, rtol=1e-4, atol=1e-3)
        disagree = (folded.codes(x) != logits.unflatten(-1, (24, 8)).argmax(-1)).double().mean()
        assert float(disagree) < 1e-3

    def test_without_hidden_layers_it_is_the_projection(self) -> None:
        made = layer()
        made.projection.bias.data.normal_()
        folded = made.fold()
        torch.testing.assert_close(folded.weight, made.projection.weight.detach(), rtol=1e-6, atol=1e-7)
        assert torch.equal(folded.bias, made.projection.bias.detach())
        assert made.training
        assert made.projection.weight.dtype == torch.float32

    @settings(max_examples=10, deadline=None)
    @given(st.floats(0.01, 1000), st.integers(0, 1000))
    def test_codes_do_not_depend_on_length_without_bias(self, scale: float, seed: int) -> None:
        folded, x = layer(seed=seed).fold(), embeddings(seed=seed)
        assert (folded.codes(scale * x) != folded.codes(x)).double().mean() < 0.005

    def test_a_constant_for_a_group_changes_nothing(self) -> None:
        made, x = layer(), embeddings()
        before = made.fold().codes(x)
        made.projection.bias.data += torch.repeat_interleave(torch.arange(24.0) / 8, 8)
        assert (made.fold().codes(x) != before).double().mean() < 0.005


class TestNetwork:
    def test_attributes_and_codes(self) -> None:
        made = network().eval()
        image = torch.rand(5, 3, 16, 16) * 2 - 1
        code = made(image)
        assert (code.dtype, code.shape) == (torch.uint8, (5, 24))
        assert (made.size, made.m, made.embedding_size, made.alphabet) == (16, 24, 24, 8)
        assert int(code.max()) < 8
        with torch.no_grad():
            raw = made.backbone(image)
        assert torch.equal(made.embed(image), raw)
        assert torch.equal(code, made.rank_hash().codes(raw))

    def test_frozen_backbone_stays_as_it_is(self) -> None:
        made = network()
        made.train()
        assert (made.training, made.layer.training, made.backbone.training) == (True, True, False)
        assert not any(parameter.requires_grad for parameter in made.backbone.parameters())
        assert not made.embed(torch.zeros(2, 3, 16, 16)).requires_grad
        buffers = [value.clone() for value in made.backbone.buffers()]
        made(torch.randn(4, 3, 16, 16))
        assert all(torch.equal(value, old) for value, old in zip(made.backbone.buffers(), buffers, strict=True))

    def test_backbone_that_learns(self) -> None:
        made = network(freeze=False)
        assert made.train().backbone.training
        assert not made.eval().backbone.training
        assert made.embed(torch.zeros(2, 3, 16, 16)).requires_grad

    def test_dropout_of_a_frozen_backbone(self) -> None:
        for is_active in (False, True):
            backbone = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 8), nn.BatchNorm1d(8))
            backbone.embedding_size = 8
            made = RankHashNetwork(backbone, partial(RankHashLayer, m=4), frozen_dropout=is_active)
            made.train()
            assert [part.training for part in backbone] == [False, is_active, False, False]
            made.eval()
            assert not backbone[1].training

    @pytest.mark.parametrize("code_mode", ["round", "trunc"])
    def test_codes_of_the_soft_code(self, code_mode: str) -> None:
        made = network(code_mode=code_mode).eval()
        x = embeddings()
        with torch.no_grad():
            expected = getattr(made.layer.soft(x).code, code_mode)()
        assert torch.equal(made.codes(x).double(), expected)
        assert made.rank_hash() is None

    def test_cutting_off_differs_from_the_maximum_as_the_specification_says(self) -> None:
        torch.manual_seed(0)
        made = layer(512, m=512)
        x = nn.functional.normalize(torch.randn(40, 512)) * 22.6
        with torch.no_grad():
            soft, maximum = made.soft(x).code, made.fold().codes(x)
        assert float((soft.trunc() != maximum).double().mean()) == pytest.approx(0.376, abs=0.01)
        assert float((soft.round() != maximum).double().mean()) == pytest.approx(0.083, abs=0.005)
        assert float((soft - maximum).abs().mean()) == pytest.approx(0.130, abs=0.01)

    def test_unit_length(self) -> None:
        made = network(normalize_embedding=True)
        x = embeddings()
        assert torch.equal(made.layer_input(x), nn.functional.normalize(x))
        folded = made.rank_hash()
        assert folded is not None
        assert (folded.codes(x) != made.codes(x)).double().mean() < 0.005
        made.layer.projection.bias.data.normal_()  # now codes depend on the length, which the fold does not know
        assert made.rank_hash() is None

    def test_half_precision_changes_few_symbols(self) -> None:
        """A trained backbone of 128 has 0.4 % other symbols under bfloat16; the layer itself none."""
        made = network(layer=partial(RankHashLayer, m=512)).eval()
        image = torch.rand(16, 3, 16, 16) * 2 - 1
        expected = made(image)
        with torch.autocast("cpu", torch.bfloat16):
            assert 0 < (made(image) != expected).double().mean() < 0.03
            codes = made.codes(embeddings())
        assert torch.equal(codes, made.codes(embeddings()))

    @pytest.mark.parametrize(
        "change",
        [
            {"code_mode": "trunc"},
            {"normalize_embedding": True},
            {"layer": partial(RankHashLayer, m=24, permutation_seed=1)},
            {"layer": partial(RankHashLayer, m=48, q=4)},
        ],
    )
    def test_networks_of_other_codes_have_other_fingerprints(self, change: dict[str, Any]) -> None:
        assert weights_fingerprint(network()) == weights_fingerprint(network(freeze=False))
        for digest in (fingerprint, weights_fingerprint):
            assert digest(network(**change)) != digest(network())

    def test_refused(self) -> None:
        backbone = nn.Linear(2, 2)
        backbone.embedding_size = None
        with pytest.raises(UserError, match="does not tell the length of its embeddings"):
            RankHashNetwork(backbone, RankHashLayer)
        with pytest.raises(UserError, match=r"model\.code_mode: expected argmax, round or trunc, found 'floor'"):
            network(code_mode="floor")
        with pytest.raises(UserError, match="NaN or infinity"):
            network().codes(torch.full((1, 16), torch.nan))
