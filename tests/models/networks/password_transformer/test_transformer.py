"""The transformer: golden images, how the password enters it, sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support_password import GOLDEN, assert_matches, bits, filled, image
from torch import Tensor
from torch.nn import functional as F

from src.errors import UserError
from src.models.networks.password_transformer import PasswordTransformer
from src.models.networks.password_transformer.layers import PasswordConvolution

PASSWORDS = bits(0xBEEF, 0x1234)
ROBUST: dict[str, Any] = {"conditioning": "film", "norm": "group"}


def small(**options: Any) -> PasswordTransformer:
    torch.manual_seed(0)
    return PasswordTransformer(**{"channels": 8, "blocks": 2, **options})


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def effect(network: PasswordTransformer, images: Tensor) -> float:
    """How far apart one face is under two passwords, each alone in its batch."""
    with torch.no_grad():
        one, other = (network(images[:1], password[None]) for password in PASSWORDS)
    return float((one - other).abs().max())


@torch.no_grad()
def test_golden_images() -> None:
    """A relative change of 1e-9 of the weights moves these images by as much as the tolerances."""
    network = filled(PasswordTransformer())
    anonymised = network(image(2, 3, 64, 64), PASSWORDS)
    assert_matches(anonymised, GOLDEN["G_ngf64_resize"], tolerance=3e-5)
    assert_matches(network(anonymised, ~PASSWORDS), GOLDEN["G_recover"], tolerance=3e-3)


@torch.no_grad()
def test_golden_images_of_transposed_convolutions() -> None:
    network = filled(PasswordTransformer(channels=16, upsampling="transposed"))
    assert_matches(network(image(2, 3, 64, 64), PASSWORDS), GOLDEN["G_ngf16_transposed"], tolerance=1e-6)


def test_sizes_and_names() -> None:
    with torch.device("meta"):
        published, transposed = PasswordTransformer(), PasswordTransformer(upsampling="transposed")
    assert parameters(published) == GOLDEN["param_checksums"]["G_ngf64_resize"]["numel"]
    assert parameters(transposed) == 11_433_603
    names = list(published.state_dict())
    assert len(names) == 73
    assert published.model[1].weight.shape == (64, 19, 7, 7)
    for name in ("model.2.bias", "model.20.conv_block.6.weight", "model.23.bias", "model.29.weight", "model.32.bias"):
        assert name in names
    assert {"model.21.weight", "model.24.weight", "model.28.bias"} <= set(transposed.state_dict())


def test_checksums_of_the_weights() -> None:
    for name, options in (("G_ngf64_resize", {}), ("G_ngf16_transposed", {"channels": 16, "upsampling": "transposed"})):
        weights = torch.cat([value.flatten() for value in filled(PasswordTransformer(**options)).parameters()]).detach()
        assert float(weights.sum()) == pytest.approx(GOLDEN["param_checksums"][name]["sum"], abs=1e-5)
        assert float(weights.abs().sum()) == pytest.approx(GOLDEN["param_checksums"][name]["abs_sum"], abs=1e-3)


@pytest.mark.parametrize("bias", [False, True])
def test_shifts_are_what_planes_of_the_password_would_add(bias: bool) -> None:
    torch.manual_seed(0)
    layer = PasswordConvolution(3, 16, 8, 7, bias).double()
    images, code = image(2, 3, 20, 24), torch.randn(2, 16, dtype=torch.float64)
    with_planes = torch.cat([images, code[:, :, None, None].expand(-1, -1, 20, 24)], dim=1)
    expected = F.conv2d(F.pad(with_planes, (3, 3, 3, 3), mode="reflect"), layer.weight, layer.bias)
    found = layer(F.pad(images, (3, 3, 3, 3), mode="reflect"), code)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, 0.5), ({"magnitude": 0.25}, 0.25), ({"magnitude": 1.0}, 1.0)],
)
def test_codes(options: dict[str, Any], expected: float) -> None:
    network = small(**options)
    code = network.encode(PASSWORDS)
    assert code.dtype == torch.float32
    assert code[0, :4].tolist() == [expected, -expected, expected, expected]
    assert torch.equal(network.encode(~PASSWORDS), -code)
    zero_one = small(zero_one=True, **options)
    assert zero_one.encode(PASSWORDS)[0, :4].tolist() == [1, 0, 1, 1]


def test_batch_norm_cancels_the_password_of_a_single_face() -> None:
    """The defect of the published network: in both modes, and for a password that a whole batch shares."""
    for network in (small(), small().eval()):
        images = image(2, 3, 32, 32).float()
        assert effect(network, images) < 1e-4
        with torch.no_grad():
            one, other = (network(images, password.expand(2, -1)) for password in PASSWORDS)
            distinct = network(images, PASSWORDS)
        assert (one - other).abs().max() < 1e-4
        assert (one - distinct).abs().max() > 1e-2


@pytest.mark.parametrize(
    "options", [ROBUST, {"norm": "group"}, {"norm": "none"}, {"conditioning": "film", "norm": "instance"}]
)
@pytest.mark.parametrize("training", [True, False])
def test_a_single_face_feels_its_password(options: dict[str, Any], training: bool) -> None:
    """And no face feels others in its batch."""
    network = small(**options, gain=0.1 if options == {"norm": "none"} else 0.02).train(training)
    images = image(3, 3, 32, 32).float()
    assert effect(network, images) > 1e-3
    with torch.no_grad():
        alone = network(images[:1], PASSWORDS[:1])
        together = network(images, torch.cat([PASSWORDS, PASSWORDS[:1]]))[:1]
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)


def test_robust_network_at_full_size() -> None:
    torch.manual_seed(0)
    network = PasswordTransformer(**ROBUST)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert sum(type(module).__name__ == "FeatureModulation" for module in network.modules()) == 21
    assert effect(network, image(1, 3, 64, 64).float()) > 1e-3


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (36, 40)])
@pytest.mark.parametrize("options", [{}, {"upsampling": "transposed"}, ROBUST])
def test_output_has_the_size_of_the_input(size: tuple[int, int], options: dict[str, Any]) -> None:
    with torch.no_grad():
        made = small(**options)(image(2, 3, *size).float(), PASSWORDS)
    assert made.shape == (2, 3, *size)
    assert made.abs().max() <= 1


def test_more_downsamplings_and_longer_passwords() -> None:
    network = small(length=128, downsamplings=4, channels=4)
    with torch.no_grad():
        made = network(image(2, 3, 64, 64).float(), torch.rand(2, 128) > 0.5)
    assert made.shape == (2, 3, 64, 64)
    assert network.multiple == 16


@pytest.mark.parametrize("padding", ["reflect", "replicate", "zero"])
@pytest.mark.parametrize("dropout", [False, True])
def test_names_in_the_blocks(padding: str, dropout: bool) -> None:
    names = small(padding=padding, dropout=dropout).state_dict()
    found = sorted({int(name.split(".")[3]) for name in names if name.startswith("model.12.conv_block")})
    shift = int(dropout)
    expected = [0, 1, 3 + shift, 4 + shift] if padding == "zero" else [1, 2, 5 + shift, 6 + shift]
    assert found == expected


def test_leaky_activations_only() -> None:
    kinds = {type(module).__name__ for module in small(leaky=True).modules()}
    assert "LeakyReLU" in kinds
    assert "ReLU" not in kinds


@pytest.mark.parametrize("init", ["normal", "xavier", "kaiming", "orthogonal"])
def test_initialisation(init: str) -> None:
    network = PasswordTransformer(channels=16, blocks=1, init=init)
    inner = network.model[12].conv_block[1].weight
    expected = {"normal": 0.02, "xavier": 0.02 * (2 / (2 * 64 * 9)) ** 0.5, "kaiming": (2 / (64 * 9)) ** 0.5}
    expected["orthogonal"] = 0.02 / (64 * 9) ** 0.5
    assert inner.detach().std().item() == pytest.approx(expected[init], rel=0.05)
    assert not network.model[-2].bias.any()
    assert network.model[2].weight.detach().mean().item() == pytest.approx(1, abs=0.03)


def test_gradient_reaches_the_first_pass_through_the_second() -> None:
    network = small(**ROBUST)
    images = image(2, 3, 32, 32).float()
    anonymised = network(images, PASSWORDS)
    anonymised.retain_grad()
    F.l1_loss(network(anonymised, ~PASSWORDS), images).backward()
    assert anonymised.grad is not None
    assert anonymised.grad.abs().max() > 0


def test_wrong_arguments() -> None:
    for options, message in (
        ({"length": 18}, "multiple of 4 bits, found 18"),
        ({"norm": "layer"}, "norm: expected batch, group, instance or none, found 'layer'"),
        ({"conditioning": "adain"}, r"model\.transformer\.conditioning: expected planes or film"),
        ({"upsampling": "shuffle"}, r"model\.transformer\.upsampling: expected resize or transposed"),
        ({"padding": "same"}, r"model\.transformer\.padding: expected reflect, replicate or zero"),
        ({"norm": "instance"}, r"nothing is learnt of passwords; set norm=group, or conditioning=film"),
        ({"init": "zeros"}, "init: expected normal, xavier, kaiming or orthogonal"),
    ):
        with pytest.raises(UserError, match=message):
            small(**options)
    network = small()
    with pytest.raises(UserError, match="expected height and width in multiples of 4 pixels, found 130x128"):
        network(torch.zeros(2, 3, 130, 128), PASSWORDS)
    with pytest.raises(UserError, match=r"password: expected bits \[2, 16\], found \[2, 12\]"):
        network(torch.zeros(2, 3, 32, 32), PASSWORDS[:, :12])
