from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from src.errors import UserError
from src.models.networks.backbone import Backbone
from src.models.networks.ir_cvlface import ir_18, ir_34, ir_50, ir_101
from src.models.networks.iresnet import iresnet18, iresnet34, iresnet50, iresnet100, iresnet200
from src.models.networks.mini import MiniFaceNet
from src.models.networks.mobilefacenet import mbf, mbf_large
from src.models.networks.timm_backbone import TimmBackbone

SIZES = [
    (iresnet18, 24_025_600, 187),
    (iresnet34, 34_139_328, 331),
    (iresnet50, 43_590_848, 475),
    (iresnet100, 65_156_160, 925),
    (iresnet200, 118_833_920, 1807),
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
    "cvlface": lambda: ir_18(32, 32),
    "mobilefacenet": lambda: mbf(32, 32),
    "mobilefacenet_large": lambda: mbf_large(32, 32),
    "mini": lambda: MiniFaceNet(32, 32),
    "timm": lambda: TimmBackbone("resnet18", 32, 32),
    "timm_transformer": lambda: TimmBackbone("vit_tiny_patch16_224", 32, 32, depth=2),
}


@pytest.mark.parametrize(("build", "parameters", "entries"), SIZES)
def test_parameters_and_state_dict_entries(build: Callable[[], Backbone], parameters: int, entries: int) -> None:
    with torch.device("meta"):
        backbone = build()
    assert sum(parameter.numel() for parameter in backbone.parameters()) == parameters
    assert len(backbone.state_dict()) == entries


def test_public_names_of_weights() -> None:
    with torch.device("meta"):
        names = {build: set(build().state_dict()) for build in (iresnet50, ir_50, mbf)}
    assert {
        "conv1.weight",
        "prelu.weight",
        "layer1.0.downsample.0.weight",
        "layer4.2.bn3.running_var",
        "bn2.weight",
        "fc.bias",
        "features.running_mean",
    } <= names[iresnet50]
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
    backbone = SMALL[name]()
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    embedding = backbone(images)
    assert embedding.shape == (4, backbone.embedding_size) == (4, 32)
    embedding.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters() if p.requires_grad)
    backbone.eval()
    with torch.no_grad():
        together = backbone(images)
        alone = torch.cat([backbone(image[None]) for image in images])
        assert torch.equal(backbone(images), together)
    assert (together - alone).abs().max() <= 1e-5 * together.abs().max()


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


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    backbone = iresnet18(32, 32, dropout=0.5)
    images = torch.rand(2, 3, 32, 32)
    assert not torch.equal(backbone(images), backbone(images))
    backbone.eval()
    assert torch.equal(backbone(images), backbone(images))


@pytest.mark.parametrize("build", [iresnet18, ir_18, mbf, MiniFaceNet])
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
