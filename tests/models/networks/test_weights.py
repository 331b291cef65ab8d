from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from src.errors import UserError
from src.models.networks.backbone import Backbone
from src.models.networks.ir_cvlface import ir_18, ir_50
from src.models.networks.iresnet import iresnet18, iresnet50, iresnet100
from src.models.networks.mini import MiniFaceNet
from src.models.networks.mobilefacenet import mbf
from src.models.networks.sphereface import SphereFaceNet, sfnet20
from src.models.networks.timm_backbone import TimmBackbone
from src.models.networks.weights import describe_architecture, load_weights


def mini(seed: int) -> MiniFaceNet:
    torch.manual_seed(seed)
    return MiniFaceNet(16, 32)


def prefixed(backbone: Backbone, prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in backbone.state_dict().items()}


WRAPPERS: dict[str, Callable[[Backbone], Any]] = {
    "bare": lambda b: b.state_dict(),
    "parallel": lambda b: prefixed(b, "module."),
    "cvlface": lambda b: prefixed(b, "net."),
    "compiled": lambda b: prefixed(b, "_orig_mod."),
    "nested": lambda b: prefixed(b, "module._orig_mod.net."),
    "lightning": lambda b: {
        "epoch": 3,
        "state_dict": {**prefixed(b, "backbone."), "head.weight": torch.zeros(4, 16)},
    },
    "compiled_lightning": lambda b: {"state_dict": prefixed(b, "backbone._orig_mod.")},
    "arcface_torch": lambda b: {"epoch": 3, "state_dict_backbone": prefixed(b, "module.")},
    "backbone": lambda b: {"backbone": prefixed(b, "module."), "head": {"weight": torch.zeros(4, 16)}},
    "model": lambda b: {"model": b.state_dict(), "optimizer": {"lr": 0.1}},
    "without_counters": lambda b: {name: value for name, value in b.state_dict().items() if "num_batches" not in name},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_loads_through_every_wrapper(wrapper: str, tmp_path: Path) -> None:
    source, backbone = mini(0), mini(1)
    torch.save(WRAPPERS[wrapper](source), tmp_path / "model.pt")
    load_weights(backbone, tmp_path / "model.pt")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(backbone.eval()(images), source.eval()(images))


def test_loads_safetensors(tmp_path: Path) -> None:
    source, backbone = mini(0), mini(1)
    save_file(prefixed(source, "backbone."), tmp_path / "model.safetensors")
    load_weights(backbone, str(tmp_path / "model.safetensors"))
    assert all(torch.equal(value, backbone.state_dict()[name]) for name, value in source.state_dict().items())


def test_public_checkpoints_load_into_their_family(tmp_path: Path) -> None:
    for build, prefix in [(iresnet18, ""), (ir_18, "net."), (mbf, "module."), (sfnet20, "module.")]:
        source, backbone = build(16, 16), build(16, 16)
        torch.save(prefixed(source, prefix), tmp_path / "model.pt")
        load_weights(backbone, tmp_path / "model.pt")
        assert torch.equal(next(backbone.parameters()), next(source.parameters()))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (iresnet50, "iresnet50 (arcface_torch names, 475 entries)"),
        (iresnet100, "iresnet100 (arcface_torch names, 925 entries)"),
        (
            lambda: iresnet50(squeeze_excitation=True),
            "iresnet50 with squeeze-excitation (arcface_torch names, 523 entries)",
        ),
        (sfnet20, "sfnet20 (OpenSphere names, 42 entries)"),
        (
            lambda: SphereFaceNet((0, 1, 2, 0)),
            "a SphereFace network of (1, 2, 3, 1) blocks (OpenSphere names, 22 entries)",
        ),
        (ir_50, "ir_50 (CVLface names, 467 entries)"),
        (mbf, "mbf (arcface_torch names, 333 entries)"),
        (MiniFaceNet, "MiniFaceNet (67 entries)"),
        (lambda: TimmBackbone("resnet18"), "a timm backbone (127 entries)"),
        (lambda: torch.nn.Linear(2, 2), "an unknown architecture (2 entries: weight, bias, ...)"),
    ],
)
def test_architecture_is_recognised_by_its_names(build: Callable[[], Backbone], expected: str) -> None:
    with torch.device("meta"):
        assert describe_architecture(build().state_dict()) == expected


def test_refuses_another_family_and_leaves_the_backbone_alone(tmp_path: Path) -> None:
    torch.save(iresnet18(16, 16).state_dict(), tmp_path / "arcface.pt")
    backbone = ir_18(16, 16)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(UserError, match=r"arcface\.pt does not fit[\s\S]*holds: iresnet18[\s\S]*is: ir_18"):
        load_weights(backbone, tmp_path / "arcface.pt")
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_refuses_another_size_or_embedding(tmp_path: Path) -> None:
    torch.save(MiniFaceNet(16, 48).state_dict(), tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"fc\.weight has shape \(16, 1440\) in the file and \(16, 640\)"):
        load_weights(mini(0), tmp_path / "model.pt")


def test_refuses_missing_damaged_and_unsafe_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no weights file at"):
        load_weights(mini(0), tmp_path / "absent.pt")
    (tmp_path / "noise.pt").write_bytes(b"this is not a checkpoint")
    (tmp_path / "noise.safetensors").write_bytes(b"nor is this")
    (tmp_path / "unsafe.pt").write_bytes(pickle.dumps(Path.cwd, protocol=2))
    whole = tmp_path / "whole.pt"
    torch.save(mini(0).state_dict(), whole)
    (tmp_path / "truncated.pt").write_bytes(whole.read_bytes()[:1000])
    for name in ("noise.pt", "noise.safetensors", "unsafe.pt", "truncated.pt"):
        with pytest.raises(UserError, match=name):
            load_weights(mini(0), tmp_path / name)
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(UserError, match="no state dict"):
        load_weights(mini(0), tmp_path / "list.pt")
