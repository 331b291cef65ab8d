from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.mini import MiniFaceNet
from src.models.networks.privacy_weights import checkpoint_step, read_header, read_layer


def layer() -> dict[str, Tensor]:
    torch.manual_seed(0)
    proj = nn.Sequential(nn.Linear(16, 16), nn.LeakyReLU(0.2), nn.Linear(16, 16))
    return {f"proj.{name}": value for name, value in proj.state_dict().items()}


def named(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in weights.items()}


def composite(prefix: str = "", compiled: str = "") -> dict[str, Tensor]:
    backbone = named(f"{prefix}backbone.", MiniFaceNet(16, 32).state_dict())
    return {**backbone, **named(f"{prefix}layer.{compiled}", layer())}


FILES: dict[str, Callable[[], Any]] = {
    "1030ftn_layers.pth": layer,
    "1030backbone.pth": layer,
    "parallel.pth": lambda: named("module.", layer()),
    "composite.pth": composite,
    "parallel_composite.pth": lambda: composite("module."),
    "compiled_composite.pth": lambda: composite("_orig_mod."),
    "compiled_layer.pth": lambda: composite(compiled="_orig_mod."),
    "last.ckpt": lambda: {"epoch": 3, "state_dict": {**composite(), "loss.head.weight": torch.zeros(4, 16)}},
    "without_backbone.ckpt": lambda: {"state_dict": named("layer.", layer())},
}


@pytest.mark.parametrize("name", FILES)
def test_layer_is_found_in_every_kind_of_file(name: str, tmp_path: Path) -> None:
    torch.save(FILES[name](), tmp_path / name)
    found, expected = read_layer(tmp_path / name), layer()
    assert list(found) == ["proj.0.weight", "proj.0.bias", "proj.2.weight", "proj.2.bias"]
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    backbone, header = tmp_path / "295672backbone.pth", tmp_path / "1030header.pth"
    torch.save(MiniFaceNet(16, 32).state_dict(), backbone)
    torch.save({"kernel": torch.zeros(16, 5)}, header)
    torch.save(layer(), tmp_path / "1030ftn_layers.pth")
    with pytest.raises(UserError, match=r"295672backbone\.pth holds no privacy layer but MiniFaceNet \(67 entries\)"):
        read_layer(backbone)
    with pytest.raises(UserError, match=r"no privacy layer but the class centres of a classifier \(kernel \[16, 5\]\)"):
        read_layer(header)
    with pytest.raises(UserError, match=r"no class centres but a privacy layer of 2 linear layers \(4 entries\)"):
        read_header(tmp_path / "1030ftn_layers.pth")
    with pytest.raises(UserError, match="no weights file at"):
        read_layer(tmp_path / "absent.pth")


def test_header_is_transposed(tmp_path: Path) -> None:
    kernel = torch.arange(12.0).view(4, 3)
    for name in ("kernel", "module.kernel"):
        torch.save({name: kernel}, tmp_path / "1030header.pth")
        centres = read_header(tmp_path / "1030header.pth")
        assert centres.shape == (3, 4)
        assert torch.equal(centres[1], kernel[:, 1])


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("1030ftn_layers.pth", 1030),
        ("153250backbone.pth", 153250),
        ("backbone.pth", None),
        ("1030header.pth", None),
        ("1030ftn_layers.pth.tmp", None),
        ("x1030ftn_layers.pth", None),
        ("1030ftn_layersXpth", None),
    ],
)
def test_step_in_a_file_name(name: str, step: int | None) -> None:
    assert checkpoint_step(name) == step
