from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.export import export_onnx, largest_difference
from src.models.networks.onnx_network import OnnxNetwork
from src.models.networks.whitened_pca import WhitenedPCA


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[WhitenedPCA, Path]:
    """Eigenfaces of noise and their ONNX file; the quickest network to export."""
    network = WhitenedPCA(embedding_size=8, size=16)
    network.fit(np.random.default_rng(0).uniform(-1, 1, (20, 3, 16, 16)).astype(np.float32))
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(network.eval(), 16, path)
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
