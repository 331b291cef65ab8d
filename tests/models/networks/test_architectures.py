from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from src.errors import UserError
from src.models.networks.backbone import Backbone
from src.models.networks.ir_cvlface import ir_18, ir_34, ir_50, ir_101
from src.models.networks.iresnet import iresnet18, iresnet34, iresnet50, iresnet100, iresnet200
from src.models.networks.mini import MiniFaceNet
from src.models.networks.mobilefacenet import mbf, mbf_large
from src.models.networks.sphereface import sfnet20
from src.models.networks.timm_backbone import TimmBackbone

GOLDEN = json.loads((Path(__file__).parents[2] / "parity" / "gender_angular_golden.json").read_text())
GOLDEN_NETWORKS: dict[str, Callable[[], Backbone]] = {
    "iresnet18": iresnet18,
    "iresnet34": iresnet34,
    "iresnet50": iresnet50,
    "iresnet100": iresnet100,
    "iresnet200": iresnet200,
    "iresnet50_se": partial(iresnet50, squeeze_excitation=True),
    "iresnet100_se": partial(iresnet100, squeeze_excitation=True),
    "sfnet20": sfnet20,
}

SIZES = [
    (ir_18, 24_020_352, 179),
    (ir_34, 34_134_080, 323),
    (ir_50, 43_585_600, 467),
    (ir_101, 65_150_912, 917),
    (mbf, 2_059_520, 333),
    (mbf_large, 6_314_880, 606),
    (MiniFaceNet, 1_188_824, 67),
]

SMALL: dict[str, Callable[[], Backbone]] = {
    "iresnet": lambda: iresnet18(32, 32),
    "iresnet_se": lambda: iresnet18(32, 32, squeeze_excitation=True),
    "cvlface": lambda: ir_18(32, 32),
    "mobilefacenet": lambda: mbf(32, 32),
    "mobilefacenet_large": lambda: mbf_large(32, 32),
    "mini": lambda: MiniFaceNet(32, 32),
    "sphereface": lambda: sfnet20(32, 32),
    "sphereface_after_sum": lambda: sfnet20(32, 32, "after_sum"),
    "timm": lambda: TimmBackbone("resnet18", 32, 32),
    "timm_transformer": lambda: TimmBackbone("vit_tiny_patch16_224", 32, 32, depth=2),
}


@pytest.mark.parametrize(("build", "parameters", "entries"), SIZES)
def test_parameters_and_state_dict_entries(build: Callable[[], Backbone], parameters: int, entries: int) -> None:
    with torch.device("meta"):
        backbone = build()
    assert sum(parameter.numel() for parameter in backbone.parameters()) == parameters
    assert len(backbone.state_dict()) == entries


@pytest.mark.parametrize("name", GOLDEN["iresnet"])
def test_golden_counts(name: str) -> None:
    with torch.device("meta"):
        backbone = GOLDEN_NETWORKS[name]()
    expected: dict[str, Any] = GOLDEN["iresnet"][name]
    trainable = sum(parameter.numel() for parameter in backbone.parameters() if parameter.requires_grad)
    frozen = 0 if name == "sfnet20" else 512
    assert sum(parameter.numel() for parameter in backbone.parameters()) == expected["params"] == trainable + frozen
    assert len(backbone.state_dict()) == expected["keys"]
    if expected["buffers"] is not None:
        assert sum(buffer.numel() for buffer in backbone.buffers()) == expected["buffers"]


def test_golden_names_and_shapes_of_iresnet50_in_order() -> None:
    with torch.device("meta"):
        weights = iresnet50().state_dict()
    assert [[name, list(value.shape)] for name, value in weights.items()] == GOLDEN["iresnet50_keys"]


def test_public_names_of_weights() -> None:
    with torch.device("meta"):
        names = {build: set(build().state_dict()) for build in (iresnet50, ir_50, mbf, sfnet20)}
        squeezing = iresnet50(squeeze_excitation=True).state_dict()
    assert {
        "conv1.weight",
        "prelu.weight",
        "layer1.0.downsample.0.weight",
        "layer4.2.bn3.running_var",
        "bn2.weight",
        "fc.bias",
        "features.running_mean",
    } <= names[iresnet50]
    extra = [name for name in squeezing if name not in names[iresnet50]]
    assert extra[:2] == ["layer1.0.se_block.fc1.weight", "layer1.0.se_block.fc2.weight"]
    assert squeezing["layer4.0.se_block.fc1.weight"].shape == (32, 512, 1, 1)
    assert all(".se_block.fc" in name for name in extra)
    assert {"layer1.0.conv1.bias", "layer3.4.conv2.weight", "layer4.1.conv1.bias", "fc.weight"} <= names[sfnet20]
    assert {
        "input_layer.0.weight",
        "body.0.res_layer.3.weight",
        "body.3.shortcut_layer.1.weight",
        "body.23.res_layer.5.bias",
        "output_layer.3.weight",
        "output_layer.4.running_mean",
    } <= names[ir_50]
    assert not any(name.startswith("body.0.shortcut_layer") for name in names[ir_50])
    assert {
        "layers.0.layers.0.weight",
        "layers.3.layers.0.layers.2.layers.1.weight",
        "conv_sep.layers.2.weight",
        "features.layers.0.layers.0.weight",
        "features.layers.2.weight",
        "features.layers.3.bias",
    } <= names[mbf]


@pytest.mark.parametrize("name", SMALL)
def test_forward_backward_and_batch_size_invariance(name: str) -> None:
    torch.manual_seed(0)
    backbone = SMALL[name]().double()  # in single precision an untrained network may amplify rounding
    images = torch.rand(4, 3, 32, 32).double() * 2 - 1
    embedding = backbone(images)
    assert embedding.shape == (4, backbone.embedding_size) == (4, 32)
    embedding.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters() if p.requires_grad)
    backbone.eval()
    with torch.no_grad():
        together = backbone(images)
        alone = torch.cat([backbone(image[None]) for image in images])
        assert torch.equal(backbone(images), together)
    assert (together - alone).abs().max() <= 1e-10 * together.abs().max()


@pytest.mark.parametrize("name", SMALL)
def test_embeddings_are_single_precision_under_autocast(name: str) -> None:
    backbone = SMALL[name]().eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        embedding = backbone(torch.rand(1, 3, 32, 32) * 2 - 1)
    assert embedding.dtype == torch.float32


def test_iresnet_freezes_only_the_scale_of_the_last_batch_norm() -> None:
    backbone = SMALL["iresnet"]()
    frozen = [name for name, parameter in backbone.named_parameters() if not parameter.requires_grad]
    assert frozen == ["features.weight"]
    assert (backbone.features.weight == 1).all()
    assert backbone.layer2[0].conv1.weight.std().item() == pytest.approx(0.1, rel=0.02)


def test_squeeze_excitation_scales_each_channel_by_the_gate_of_its_mean() -> None:
    torch.manual_seed(0)
    gate = iresnet18(8, 16, squeeze_excitation=True).layer1[0].se_block
    x = torch.randn(2, 64, 3, 3)
    hidden = (x.mean((2, 3)) @ gate.fc1.weight[:, :, 0, 0].T).clamp(min=0)
    factors = 1 / (1 + torch.exp(-hidden @ gate.fc2.weight[:, :, 0, 0].T))
    torch.testing.assert_close(gate(x), x * factors[:, :, None, None])


def test_the_order_of_relu_and_sum_changes_the_embedding_but_not_the_weights() -> None:
    torch.manual_seed(0)
    before, after = sfnet20(8, 16).eval(), sfnet20(8, 16, "after_sum").eval()
    after.load_state_dict(before.state_dict())
    x = torch.randn(2, 64, 4, 4)
    block = before.layer1[1]
    residual = block.conv2(block.conv1(x).relu())
    torch.testing.assert_close(block(x), x + residual.relu())
    torch.testing.assert_close(after.layer1[1](x), (x + residual).relu())
    assert repr(before) != repr(after), "the embedding cache tells them apart"
    with pytest.raises(UserError, match="residual_order: expected before_sum or after_sum, found 'middle'"):
        sfnet20(8, 16, "middle")


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    backbone = iresnet18(32, 32, dropout=0.5)
    images = torch.rand(2, 3, 32, 32)
    assert not torch.equal(backbone(images), backbone(images))
    backbone.eval()
    assert torch.equal(backbone(images), backbone(images))


@pytest.mark.parametrize("build", [iresnet18, ir_18, mbf, MiniFaceNet, sfnet20])
def test_linear_layer_follows_the_size_and_other_sizes_are_refused(build: Callable[..., Backbone]) -> None:
    backbone = build(embedding_size=16, size=48).eval()
    assert backbone(torch.zeros(1, 3, 48, 48)).shape == (1, 16)
    with pytest.raises(UserError, match="built for 48x48 images and was given 112x112"):
        backbone(torch.zeros(1, 3, 112, 112))
    with pytest.raises(UserError, match="multiple of 16"):
        build(size=100)


def test_unknown_timm_names_and_arguments_are_refused() -> None:
    with pytest.raises(UserError, match=r"no model 'resnt18'.*resnet18"):
        TimmBackbone("resnt18")
    with pytest.raises(UserError, match="no_such_argument"):
        TimmBackbone("resnet18", no_such_argument=1)
