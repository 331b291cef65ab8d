from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.export import export_onnx, largest_difference, unequal_symbols
from src.models.networks.onnx_network import ALPHABET_KEY, OnnxNetwork
from src.models.networks.rank_hash import RankHashLayer, RankHashNetwork
from src.models.networks.whitened_pca import WhitenedPCA


def eigenfaces() -> WhitenedPCA:
    """Of noise; the quickest network to export."""
    network = WhitenedPCA(embedding_size=8, size=16)
    network.fit(np.random.default_rng(0).uniform(-1, 1, (20, 3, 16, 16)).astype(np.float32))
    return network.eval()


def rank_hash(code_mode: Any = "argmax", **layer: Any) -> RankHashNetwork:
    torch.manual_seed(0)
    return RankHashNetwork(eigenfaces(), partial(RankHashLayer, m=24, q=8, **layer), code_mode=code_mode).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[WhitenedPCA, Path]:
    """A network of embeddings and its ONNX file."""
    network = eigenfaces()
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(network, 16, path)
    return network, path


@pytest.fixture(scope="module")
def exported_codes(tmp_path_factory: pytest.TempPathFactory) -> tuple[RankHashNetwork, Path]:
    """A network of codes and its ONNX file."""
    network = rank_hash()
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(network, 16, path)
    return network, path


def test_one_file_of_any_batch_size_that_says_what_its_images_are(exported: tuple[WhitenedPCA, Path]) -> None:
    network, path = exported
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    read = OnnxNetwork(path)
    assert (read.size, read.embedding_size) == (16, 8)
    assert repr(read.preprocessing) == "Preprocessing(size=16, color=rgb, mean=[127.5], std=[127.5])"
    for count in (1, 3, 64):
        images = torch.rand(count, 3, 16, 16) * 2 - 1
        torch.testing.assert_close(read(images), network(images), atol=1e-5, rtol=1e-5)
    graph = onnx.load(path).graph
    assert [node.name for node in graph.input] == ["images"]
    assert [node.name for node in graph.output] == ["embeddings"]


def test_nothing_of_this_machine_is_in_the_file(exported: tuple[WhitenedPCA, Path]) -> None:
    content = exported[1].read_bytes()
    assert str(Path(__file__).resolve().parents[2]).encode() not in content
    assert b"stack_trace" not in content


def test_difference_to_the_network(exported: tuple[WhitenedPCA, Path]) -> None:
    network, path = exported
    assert largest_difference(network, 16, path) < 1e-6
    changed = WhitenedPCA(8, 16)
    changed.load_state_dict(network.state_dict())
    changed.components[0] *= 1.1
    assert 1e-3 < largest_difference(changed, 16, path) < 0.2
    changed.components[0] = float("nan")
    assert np.isnan(largest_difference(changed, 16, path))


def test_a_network_that_cannot_be_exported() -> None:
    class Random(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1) if float(images.sum()) > 0 else images.flatten(1)[:, :4]

    with pytest.raises(UserError, match="torch cannot export Random as ONNX: "):
        export_onnx(Random().eval(), 16, Path("never.onnx"))


def test_codes_are_the_networks_for_any_batch_size(exported_codes: tuple[RankHashNetwork, Path]) -> None:
    network, path = exported_codes
    model = onnx.load(path)
    assert [node.name for node in model.graph.output] == ["codes"]
    assert {entry.key: entry.value for entry in model.metadata_props}[ALPHABET_KEY] == "8"
    session = onnxruntime.InferenceSession(path)
    for count in (1, 3, 64):
        images = torch.rand(count, 3, 16, 16) * 2 - 1
        (codes,) = session.run(["codes"], {"images": images.numpy()})
        assert (codes.dtype, codes.shape) == (np.uint8, (count, 24))
        assert (codes != network(images).numpy()).mean() < 0.01  # of two equal values rounding picks either
    assert codes.max() == 7


@pytest.mark.parametrize(
    ("code_mode", "layer"), [("argmax", {"hidden": "T", "permutation_seed": 1}), ("trunc", {"T": 3.0}), ("round", {})]
)
def test_codes_of_every_kind(code_mode: str, layer: dict[str, Any], tmp_path: Path) -> None:
    network = rank_hash(code_mode, **layer)
    export_onnx(network, 16, tmp_path / "model.onnx")
    assert unequal_symbols(network, 16, tmp_path / "model.onnx") < 1e-3
    assert network(torch.rand(64, 3, 16, 16) * 2 - 1).unique().numel() > 2


def test_share_of_unequal_symbols(exported_codes: tuple[RankHashNetwork, Path]) -> None:
    network, path = exported_codes
    assert unequal_symbols(network, 16, path) < 1e-3
    changed = copy.deepcopy(network)
    weight = changed.layer.projection.weight.data
    weight[40:48] = weight[40:48].roll(1, 0)  # every image has another fifth symbol
    assert unequal_symbols(changed, 16, path) == pytest.approx(1 / 24, abs=1e-3)
    weight += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    assert 1 / 24 + 0.003 < unequal_symbols(changed, 16, path) < 1 / 24 + 0.05


def test_a_network_of_codes_refuses_what_is_not_finite_all_the_same(
    exported_codes: tuple[RankHashNetwork, Path],
) -> None:
    network, path = exported_codes
    with pytest.raises(UserError, match="NaN or infinity"):
        network(torch.full((1, 3, 16, 16), float("nan")))
    broken = copy.deepcopy(network)
    broken.backbone.components[0] = float("inf")
    with pytest.raises(UserError, match="NaN or infinity"):
        unequal_symbols(broken, 16, path)


def test_codes_are_not_taken_for_embeddings(exported_codes: tuple[RankHashNetwork, Path]) -> None:
    with pytest.raises(UserError, match=r"model\.onnx: yields codes, symbols out of 8, where embeddings are expected"):
        OnnxNetwork(exported_codes[1])
