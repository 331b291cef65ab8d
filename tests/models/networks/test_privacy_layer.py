from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from src.errors import UserError
from src.models.networks.iresnet import iresnet50
from src.models.networks.mini import MiniFaceNet
from src.models.networks.privacy_layer import PrivacyLayer, ProtectedBackbone

GOLDEN = json.loads((Path(__file__).parents[2] / "parity/gender_angular_golden.json").read_text())["projection_d8"]


def protected(**options: object) -> ProtectedBackbone:
    return ProtectedBackbone(MiniFaceNet(embedding_size=8, size=16), partial(PrivacyLayer, **options))  # type: ignore[arg-type]


def test_golden_output() -> None:
    i, j = torch.arange(8.0, dtype=torch.float64)[:, None], torch.arange(8.0, dtype=torch.float64)
    layer = PrivacyLayer(8).double()
    layer.load_state_dict(
        {
            "proj.0.weight": torch.sin(0.3 * (8 * i + j)),
            "proj.0.bias": torch.cos(j),
            "proj.2.weight": torch.cos(0.2 * (8 * i + j)),
            "proj.2.bias": torch.sin(j),
        }
    )
    y = layer(F.normalize(torch.sin(8 * i[:2] + j)))
    torch.testing.assert_close(y, torch.tensor(GOLDEN["y"], dtype=torch.float64), atol=1e-9, rtol=1e-9)
    expected = torch.tensor([0.3400732948, -0.1781735267, -0.1539632006], dtype=torch.float64)
    torch.testing.assert_close(F.normalize(y)[1, :3], expected, atol=1e-9, rtol=0)


def test_size_and_names_of_the_published_layer() -> None:
    layer = PrivacyLayer(512)
    assert sum(p.numel() for p in layer.parameters()) == 525_312
    assert list(layer.state_dict()) == ["proj.0.weight", "proj.0.bias", "proj.2.weight", "proj.2.bias"]
    assert float(layer.proj[0].weight.detach().abs().max()) <= 512**-0.5
    assert len(PrivacyLayer(8, layers=3).proj) == 5


def test_identity_start() -> None:
    x = torch.rand(4, 8)
    torch.testing.assert_close(PrivacyLayer(8, init="identity")(x), x)


@pytest.mark.parametrize(("options", "message"), [({"layers": 0}, "layers=0"), ({"init": "zeros"}, "found 'zeros'")])
def test_wrong_arguments_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PrivacyLayer(8, **options)  # type: ignore[arg-type]


def test_backbone_is_frozen_in_every_mode() -> None:
    network = protected()
    network.eval()
    network.train()
    assert network.layer.training
    assert not any(module.training for module in network.backbone.modules())
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    network(torch.randn(4, 3, 16, 16)).sum().backward()
    assert all(p.grad is None for p in network.backbone.parameters())
    assert all(p.grad is not None for p in network.layer.parameters())
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_templates_are_the_layer_of_unit_embeddings() -> None:
    network = protected()
    image = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        embedding = network.backbone(image)
        torch.testing.assert_close(network(image), network.layer(embedding / embedding.norm(dim=1, keepdim=True)))


def test_names_of_the_composite_are_the_reference_s() -> None:
    with torch.device("meta"):
        network = ProtectedBackbone(iresnet50(), PrivacyLayer)
    names = set(network.state_dict())
    assert {
        "backbone.conv1.weight",
        "backbone.features.running_var",
        "layer.proj.0.weight",
        "layer.proj.2.bias",
    } < names
    assert (network.embedding_size, network.size) == (512, 112)


def test_backbone_of_unknown_embedding_length_is_refused() -> None:
    backbone = nn.Identity()
    backbone.embedding_size = None  # type: ignore[assignment]
    with pytest.raises(UserError, match="does not tell the length of its embeddings"):
        ProtectedBackbone(backbone, PrivacyLayer)
