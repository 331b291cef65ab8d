"""Published files are read without running what is in them."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support_published import EasyDict, Module, Network, foreign_modules, write_published
from torch import nn

from src.errors import UserError
from src.models.networks.stylegan2.published_pickle import PickledNetwork, read_published_pickle


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def read(path: Path) -> dict[str, PickledNetwork]:
    return read_published_pickle(path, ["G_ema", "D"])


def linear() -> Module:
    return Module(nn.Linear(2, 3), "Generator", {"z_dim": 2})


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_reads_what_such_files_hold(protocol: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 3), nn.Conv2d(2, 2, 3, bias=False).to(memory_format=torch.channels_last))
    network.register_buffer("scale", torch.tensor(0.5))
    arguments = {"img_resolution": np.int64(32), "synthesis_kwargs": EasyDict(conv_clamp=256)}
    content = EasyDict(
        training_set_kwargs=EasyDict(path="/x"), G_ema=Module(network, "Generator", arguments), extra=None
    )
    (found,) = read(write_published(tmp_path / "x.pkl", content, protocol)).items()
    name, pickled = found
    assert (name, pickled.class_name) == ("G_ema", "Generator")
    assert pickled.arguments == arguments
    assert pickled.weights.keys() == network.state_dict().keys()
    assert all(torch.equal(pickled.weights[key], value) for key, value in network.state_dict().items())
    assert not {"dnnlib", "torch_utils"} & sys.modules.keys()


def test_source_code_does_not_run(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    source = f"open({str(target)!r}, 'w')"
    module = Module(nn.Linear(2, 3), "Generator", {}, source)
    path = write_published(tmp_path / "x.pkl", {"G_ema": module})
    assert source.encode() in path.read_bytes()
    read(path)
    assert not target.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("place", ["beside", "argument", "state"])
def test_calls_are_refused_and_not_made(place: str, protocol: int, tmp_path: Path) -> None:
    target = tmp_path / "owned"
    for call in (
        Call(os.system, f"touch {target}"),
        Call(eval, f"open({str(target)!r}, 'w')"),
        Call(torch.load, "x"),
        Call(getattr, "x", "upper"),
        Call(Path, "x"),
    ):
        module = linear()
        content: dict[str, Any] = {"G_ema": module}
        {"beside": content, "argument": module.state["_init_kwargs"], "state": module.state}[place]["x"] = call
        path = write_published(tmp_path / "x.pkl", content, protocol)
        with pytest.raises(UserError, match=r"x\.pkl: refused to unpickle: it refers to .*, which is not allowed"):
            read(path)
    assert not target.exists()


@pytest.mark.parametrize("value", [torch.ones(2), {"x": 1}, Path("x")])
def test_values_of_a_tensor_are_nothing_else(value: object, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "inner", _use_new_zipfile_serialization=False)
    call = Call(torch.storage._load_from_bytes, (tmp_path / "inner").read_bytes())
    with pytest.raises(UserError, match="refused to unpickle"):
        read(write_published(tmp_path / "x.pkl", {"G_ema": linear(), "x": call}))


@pytest.mark.parametrize(
    ("offset", "size", "stride"), [(0, (7,), (1,)), (4, (3,), (1,)), (-1, (2,), (1,)), (0, (9, 9), (0, 0))]
)
def test_tensors_stay_within_their_values(offset: int, size: tuple, stride: tuple, tmp_path: Path) -> None:
    storage = torch.arange(6.0).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    call = Call(torch._utils._rebuild_tensor_v2, typed, offset, size, stride, False, {})
    with pytest.raises(UserError, match="refused to unpickle"):
        read(write_published(tmp_path / "x.pkl", {"G_ema": linear(), "x": call}))


def test_modules_that_are_no_tree(tmp_path: Path) -> None:
    module, inner = linear(), linear()
    module.state["_modules"] = {"a": inner, "b": inner}
    with pytest.raises(UserError, match="b is in it twice"):
        read(write_published(tmp_path / "x.pkl", {"G_ema": module}))


def test_modules_without_end(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit()
    module = linear()
    for _ in range(depth):
        outer = Module(nn.Identity(), "Generator", {})
        outer.state["_modules"] = {"a": module}
        module = outer
    sys.setrecursionlimit(20 * depth)
    try:
        path = write_published(tmp_path / "x.pkl", {"G_ema": module})
    finally:
        sys.setrecursionlimit(depth)
    with pytest.raises(UserError, match="RecursionError"):
        read(path)


@pytest.mark.parametrize("missing", ["_parameters", "_buffers", "_modules", "_init_kwargs", "_init_args"])
def test_modules_of_another_layout(missing: str, tmp_path: Path) -> None:
    module = linear()
    del module.state[missing]
    with pytest.raises(UserError, match=f"a Generator in it is not laid out as by .*{missing}"):
        read(write_published(tmp_path / "x.pkl", {"G_ema": module}))


def test_arguments_without_names(tmp_path: Path) -> None:
    module = linear()
    module.state["_init_args"] = (512,)
    with pytest.raises(UserError, match="arguments without names"):
        read(write_published(tmp_path / "x.pkl", {"G_ema": module}))


@pytest.mark.parametrize("content", [(Network(), Network(), Network()), (1, 2, 3)])
def test_files_of_tensorflow(content: object, tmp_path: Path) -> None:
    path = write_published(tmp_path / "stylegan2-ffhq-config-f.pkl", content)
    with pytest.raises(UserError, match=r"config-f\.pkl holds networks of TensorFlow.*legacy\.py"):
        read(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [({}, "a dict"), ([1], "a list"), ({"G_ema": {"weight": 1}, 3: 4}, "G_ema, 3"), (None, "a None")],
)
def test_files_without_networks(content: object, found: str, tmp_path: Path) -> None:
    message = rf"x\.pkl: expected a file of the StyleGAN2-ADA .* with networks named G_ema, D, found {found}"
    with pytest.raises(UserError, match=message):
        read(write_published(tmp_path / "x.pkl", content))


def test_other_modules_are_left_alone(tmp_path: Path) -> None:
    other = linear()
    del other.state["_modules"]
    assert list(read(write_published(tmp_path / "x.pkl", {"augment_pipe": other, "D": linear()}))) == ["D"]


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    with foreign_modules():
        whole = pickle.dumps({"G_ema": linear()})
    for content in (b"", b"garbage", whole[:-40], whole[: len(whole) // 2]):
        (tmp_path / "x.pkl").write_bytes(content)
        with pytest.raises(UserError, match=r"x\.pkl: refused to unpickle"):
            read(tmp_path / "x.pkl")
    torch.save({"state_dict": {}}, tmp_path / "x.pkl")
    with pytest.raises(UserError, match="refused to unpickle"):
        read(tmp_path / "x.pkl")
    with pytest.raises(UserError, match=r"no file at .*y\.pkl"):
        read(tmp_path / "y.pkl")
