from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.mini import MiniFaceNet
from src.models.networks.privacy_layer import PrivacyLayer, ProtectedBackbone
from src.models.networks.privacy_weights import load_layer, load_protected, read_header, read_layer
from src.models.networks.sphereface import RESIDUAL_ORDERS, sfnet20
from src.models.networks.weights import fingerprint, weights_fingerprint


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


def two_networks() -> tuple[ProtectedBackbone, ProtectedBackbone]:
    source, target = (ProtectedBackbone(MiniFaceNet(embedding_size=8, size=16), PrivacyLayer) for _ in range(2))
    assert fingerprint(source) != fingerprint(target)
    return source, target


@pytest.mark.parametrize("container", [None, "state_dict", "state_dict_backbone", "model", "backbone"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_layer_and_backbone_in_one_file(tmp_path: Path, container: str | None, prefix: str) -> None:
    source, target = two_networks()
    weights = {f"{prefix}{name}": value for name, value in source.state_dict().items()}
    torch.save(weights if container is None else {container: weights}, tmp_path / "model.pth")
    assert load_protected(target, tmp_path / "model.pth") == tmp_path / "model.pth"
    assert fingerprint(source) == fingerprint(target)


def test_layer_alone_needs_its_backbone(tmp_path: Path) -> None:
    source, target = two_networks()
    torch.save(source.layer.state_dict(), tmp_path / "1030ftn_layers.pth")
    (tmp_path / "reference").mkdir()
    torch.save(source.backbone.state_dict(), tmp_path / "reference" / "backbone.pth")
    with pytest.raises(UserError, match=r"1030ftn_layers\.pth .* does not tell its backbone.*init_from=FILE"):
        load_protected(target, tmp_path / "1030ftn_layers.pth")
    load_protected(target, tmp_path / "1030ftn_layers.pth", tmp_path / "reference")
    assert fingerprint(source) == fingerprint(target)


def test_any_layer_of_our_checkpoints(tmp_path: Path) -> None:
    layer, other = nn.Linear(4, 4), nn.Linear(4, 4)
    weights = {f"backbone.layer.{name}": value for name, value in layer.state_dict().items()}
    torch.save({"state_dict": weights}, tmp_path / "last.ckpt")
    load_layer(other, tmp_path / "last.ckpt")
    assert torch.equal(other.weight, layer.weight)


def test_another_network_with_the_same_weights_is_another_backbone() -> None:
    before, after = (sfnet20(embedding_size=4, size=16, residual_order=order) for order in RESIDUAL_ORDERS)
    after.load_state_dict(before.state_dict())
    assert weights_fingerprint(before) != weights_fingerprint(after)
    assert weights_fingerprint(before) == weights_fingerprint(copy.deepcopy(before))
