from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from support_checkpoint import write_checkpoint
from torch.nn import functional as F

from src.apps.embedding import recogniser_features
from src.errors import UserError
from src.models.networks.mini import MiniFaceNet

BACKBONE = {"_target_": "src.models.networks.mini.MiniFaceNet", "embedding_size": 8, "size": 32}


def test_a_checkpoint_gets_images_of_its_own_size(tmp_path: Path) -> None:
    network = MiniFaceNet(8, 32).eval()
    path = write_checkpoint(tmp_path / "a.ckpt", network, BACKBONE, 32)
    images = torch.rand(3, 3, 48, 48) * 2 - 1
    with torch.inference_mode():
        found = recogniser_features(str(path))(images)
        expected = network(F.interpolate(images, (32, 32), mode="bilinear", antialias=True))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("side", "resized"), [(8, True), ("side", False)])
def test_a_graph_gets_images_of_its_size_if_it_has_one(tmp_path: Path, side: int | str, resized: bool) -> None:
    path = tmp_path / "sums.onnx"
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, side, side])]
    outputs = [helper.make_tensor_value_info("sums", TensorProto.FLOAT, ["n", 3])]
    sides = helper.make_tensor("sides", TensorProto.INT64, [2], [2, 3])
    node = helper.make_node("ReduceSum", ["images", "sides"], ["sums"], keepdims=0)
    graph = helper.make_graph([node], "sums", inputs, outputs, [sides])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    found = recogniser_features(path)(torch.ones(2, 3, 16, 16))
    assert found.flatten().tolist() == pytest.approx([64.0 if resized else 256.0] * 6)


def test_there_has_to_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no weights file at .*none\.ckpt"):
        recogniser_features(tmp_path / "none.ckpt")
