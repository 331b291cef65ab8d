from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.inception import Inception3

from src.errors import UserError
from src.eval.generative.features import Classifier
from src.models.networks.inception import InceptionFeatures


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.manual_seed(0)
    network = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save({name: value for name, value in network.state_dict().items() if "num_batches" not in name}, path)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def inception(weights: Path) -> InceptionFeatures:
    return InceptionFeatures(weights)


@torch.inference_mode()
def test_features_and_logits(inception: InceptionFeatures, weights: Path) -> None:
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    features = inception(images)
    assert features.shape == (2, 2048)
    expected = features @ torch.load(weights)["fc.weight"].T
    torch.testing.assert_close(inception.logits(features), expected)
    assert isinstance(inception, Classifier)


@torch.inference_mode()
def test_averages_leave_the_padding_out(inception: InceptionFeatures) -> None:
    block = inception.network.Mixed_5b
    x = torch.ones(1, 192, 5, 5)
    pooled = block(x)[:, -32:]
    torch.testing.assert_close(pooled, pooled[..., 2:3, 2:3].expand_as(pooled))
    x[..., 2, 2] = 9.0
    last = inception.network.Mixed_7c
    images = torch.randn(1, 2048, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(last(images)[:, -192:], last.branch_pool(F.max_pool2d(images, 3, 1, 1)))


@torch.inference_mode()
def test_resizes_as_tensorflow_1(inception: InceptionFeatures) -> None:
    seen: list[Tensor] = []
    hook = inception.network.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    ramp = torch.arange(13.0).view(1, 1, 1, 13).expand(1, 3, 13, 13) / 127.5 - 1
    inception(ramp)
    hook.remove()
    # Pixel i of 299 is taken at 13 i / 299; beyond the last pixel the image goes on level.
    expected = ((torch.arange(299) * 13 / 299).clamp(max=12) - 128) / 128
    torch.testing.assert_close(seen[0][0, 1, 7], expected, rtol=0, atol=1e-5)


def test_refuses_other_weights(weights: Path, tmp_path: Path) -> None:
    other = torch.load(weights)
    other["fc.weight"] = other["fc.weight"][:1000]
    torch.save(other, tmp_path / "imagenet.pth")
    with pytest.raises(
        UserError, match=r"imagenet.pth does not fit the network[\s\S]*fc.weight has shape \(1000, 2048\)"
    ):
        InceptionFeatures(tmp_path / "imagenet.pth")
    with pytest.raises(UserError, match="no weights file"):
        InceptionFeatures(tmp_path / "missing.pth")
