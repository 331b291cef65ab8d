from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.utils.data import DataLoader

from src.errors import UserError
from src.models.embedding_module import EmbeddingModule
from src.models.networks.onnx_network import METADATA_KEY, OnnxNetwork

SIZE = 8
WEIGHT = np.random.default_rng(0).standard_normal((3 * SIZE * SIZE, 5)).astype(np.float32)
IMAGES = torch.rand(7, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def write_graph(
    path: Path,
    shape: Sequence[int | str] = ("N", 3, SIZE, SIZE),
    *,
    kind: int = TensorProto.FLOAT,
    metadata: dict[str, Any] | None = None,
    inputs: Sequence[str] = ("images",),
    flat: bool = True,
) -> Path:
    """A linear layer over the pixels as an ONNX file."""
    weight = WEIGHT.astype(helper.tensor_dtype_to_np_dtype(kind))
    if shape[-1] == 3:  # rows in the order of [S, S, 3]
        weight = weight.reshape(3, SIZE, SIZE, 5).transpose(1, 2, 0, 3).reshape(-1, 5)
    nodes = [
        helper.make_node("Flatten", ["images"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "weight"], ["embeddings"]),
    ]
    graph = helper.make_graph(
        nodes if flat else [helper.make_node("Identity", ["images"], ["embeddings"])],
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name in inputs],
        [helper.make_tensor_value_info("embeddings", kind, (shape[0], 5) if flat else shape)],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    helper.set_model_props(model, {} if metadata is None else {METADATA_KEY: json.dumps(metadata)})
    onnx.save(model, path)
    return path


def expected(images: Tensor) -> Tensor:
    return images.flatten(1) @ torch.from_numpy(WEIGHT)


@pytest.mark.parametrize("batch", ["N", 1, 2, 7, 16])
def test_any_batch_size(batch: int | str, tmp_path: Path) -> None:
    network = OnnxNetwork(write_graph(tmp_path / "model.onnx", (batch, 3, SIZE, SIZE)))
    torch.testing.assert_close(network(IMAGES), expected(IMAGES))
    torch.testing.assert_close(network(IMAGES[:1]), expected(IMAGES[:1]))
    assert (network.embedding_size, network.size) == (5, SIZE)
    assert list(network.parameters()) == []


def test_channels_last(tmp_path: Path) -> None:
    network = OnnxNetwork(write_graph(tmp_path / "model.onnx", ("N", SIZE, SIZE, 3)))
    torch.testing.assert_close(network(IMAGES), expected(IMAGES))
    assert network.size == SIZE


@pytest.mark.parametrize(("kind", "tolerance"), [(TensorProto.FLOAT16, 0.05), (TensorProto.DOUBLE, 1e-5)])
def test_other_float_types(kind: int, tolerance: float, tmp_path: Path) -> None:
    network = OnnxNetwork(write_graph(tmp_path / "model.onnx", kind=kind))
    assert network(IMAGES).dtype == torch.float32
    torch.testing.assert_close(network(IMAGES), expected(IMAGES), atol=tolerance, rtol=0)


def test_preprocessing_of_the_config_goes_before_that_of_the_file(tmp_path: Path) -> None:
    described = {"size": SIZE, "color": "bgr", "mean": 0.0, "std": [255.0, 255.0, 255.0]}
    path = write_graph(tmp_path / "model.onnx", metadata=described)
    torch.testing.assert_close(OnnxNetwork(path)(IMAGES), expected((IMAGES.flip(1) + 1) / 2))
    given = OnnxNetwork(path, color="rgb", std=127.5)
    torch.testing.assert_close(given(IMAGES), expected(IMAGES + 1))


def test_size_comes_from_graph_file_or_config(tmp_path: Path) -> None:
    shape = ("N", 3, "H", "W")
    assert OnnxNetwork(write_graph(tmp_path / "any.onnx", shape)).size is None
    assert OnnxNetwork(write_graph(tmp_path / "any.onnx", shape), size=SIZE).size == SIZE
    told = write_graph(
        tmp_path / "told.onnx", shape, metadata={"size": 16, "color": "rgb", "mean": 127.5, "std": 127.5}
    )
    with pytest.raises(UserError, match=r"takes 16x16 images and was given 8x8: set datamodule\.size=16"):
        OnnxNetwork(told)(IMAGES)


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    first = OnnxNetwork(write_graph(tmp_path / "first.onnx"))
    again = OnnxNetwork(write_graph(tmp_path / "again.onnx"))
    other = OnnxNetwork(write_graph(tmp_path / "other.onnx", (1, 3, SIZE, SIZE)))
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert repr(first) == repr(again)
    assert repr(first) != repr(OnnxNetwork(tmp_path / "again.onnx", color="bgr"))


def test_fingerprint_covers_weights_beside_the_file(tmp_path: Path) -> None:
    model = onnx.load(write_graph(tmp_path / "whole.onnx"))
    options = {"save_as_external_data": True, "location": "model.data", "size_threshold": 0}
    onnx.save(copy.deepcopy(model), tmp_path / "model.onnx", **options)
    network = OnnxNetwork(tmp_path / "model.onnx")
    torch.testing.assert_close(network(IMAGES), expected(IMAGES))
    before = network.fingerprint()
    data = tmp_path / "model.data"
    data.write_bytes(bytes(len(data.read_bytes())))
    assert network.fingerprint() != before


def test_copies_and_pickles_open_sessions_of_their_own(tmp_path: Path) -> None:
    network = OnnxNetwork(write_graph(tmp_path / "model.onnx"))
    for other in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        torch.testing.assert_close(other(IMAGES), expected(IMAGES))


def test_lightning_validates_a_module_without_parameters(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    class Keep(L.Callback):
        def on_validation_batch_end(self, *arguments: Any) -> None:
            seen.append(arguments[2]["embedding"])

    module = EmbeddingModule(OnnxNetwork(write_graph(tmp_path / "model.onnx")))
    loader = DataLoader([{"image": image, "index": i} for i, image in enumerate(IMAGES)], batch_size=4)
    trainer = L.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, callbacks=[Keep()], max_epochs=1
    )
    trainer.validate(module, loader, verbose=False)
    torch.testing.assert_close(torch.cat(seen), expected(IMAGES))


def test_refuses_files_that_are_no_such_graph(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no ONNX file at .*absent\.onnx"):
        OnnxNetwork(tmp_path / "absent.onnx")
    (tmp_path / "noise.onnx").write_bytes(b"this is not a graph")
    with pytest.raises(UserError, match=r"noise\.onnx: onnxruntime cannot read it"):
        OnnxNetwork(tmp_path / "noise.onnx")
    path = tmp_path / "model.onnx"
    with pytest.raises(UserError, match=r"expected one input .* found images .*, mask "):
        OnnxNetwork(write_graph(path, inputs=("images", "mask")))
    with pytest.raises(UserError, match=r"one input of floats .* found images tensor\(float\) \['N', 1, 8, 8\]"):
        OnnxNetwork(write_graph(path, ("N", 1, SIZE, SIZE), flat=False))
    with pytest.raises(UserError, match=r"expected one input of floats .* found images tensor\(int64\)"):
        OnnxNetwork(write_graph(path, kind=TensorProto.INT64, flat=False))
    with pytest.raises(UserError, match=r"metadata privface\.preprocessing is damaged"):
        OnnxNetwork(write_graph(path, metadata={"size": 8}))
    with pytest.raises(UserError, match=r"first output, embeddings, is \[7, 3, 8, 8\] for 7 images"):
        OnnxNetwork(write_graph(path, flat=False))(IMAGES)


def test_a_graph_that_fails_says_so(tmp_path: Path) -> None:
    network = OnnxNetwork(write_graph(tmp_path / "model.onnx", ("N", 3, "H", "W")))
    with pytest.raises(UserError, match=r"onnxruntime fails on images \[7, 3, 16, 16\]"):
        network(torch.zeros(7, 3, 16, 16))


@pytest.mark.parametrize("has_cuda", [False, True])
def test_images_on_a_gpu_are_embedded_there_if_onnxruntime_can(
    has_cuda: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network = OnnxNetwork(write_graph(tmp_path / "model.onnx"))
    opened: list[list[Any]] = []
    there = ["CUDAExecutionProvider", "CPUExecutionProvider"] if has_cuda else ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda path, options, providers: opened.append(providers))
    network._session(torch.device("cuda", 3))
    cuda = [("CUDAExecutionProvider", {"device_id": 3})] if has_cuda else []
    assert opened == [[*cuda, "CPUExecutionProvider"]]
    assert ("no CUDA provider" in caplog.text) is not has_cuda
