"""Frozen statistics of batch norms: a single face feels its password, whoever is in the batch."""

from __future__ import annotations

import pytest
import torch
from support_password import bits, image
from torch import Tensor

from src.errors import UserError
from src.models.networks.password_transformer import PasswordTransformer
from src.models.networks.password_transformer.calibration import calibrate, calibration, load_calibration
from src.models.networks.password_transformer.sampling import draw_passwords

PASSWORDS = bits(0xBEEF, 0x1234)


def network(**options: object) -> PasswordTransformer:
    torch.manual_seed(0)
    return PasswordTransformer(**{"channels": 8, "blocks": 2, **options})


def faces(batches: int = 16, size: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(size, 3, 16, 16, generator=generator) * 2 - 1 for _ in range(batches)]


@pytest.mark.parametrize("magnitude", [0.5, 0.25])
@torch.no_grad()
def test_a_single_face_feels_its_password(magnitude: float) -> None:
    transformer = network(magnitude=magnitude)
    calibrate(transformer, faces())
    assert not transformer.training
    images = image(4, 3, 16, 16).float()
    one, other = (transformer(images[:1], password[None]) for password in PASSWORDS)
    assert (one - other).abs().max() > 1e-3
    mates = torch.cat([PASSWORDS, PASSWORDS])
    torch.testing.assert_close(transformer(images, mates)[:1], one, rtol=0, atol=1e-5)


@torch.no_grad()
def test_statistics_are_plain_averages_over_all_passes() -> None:
    transformer = network()
    seen: list[Tensor] = []
    hook = transformer.model[2].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].clone()))
    generator = torch.Generator().manual_seed(5)
    for images in faces():
        drawn = draw_passwords(8, 16, generator=generator)
        anonymised = transformer(images, drawn.first)
        transformer(anonymised, drawn.recovery)
        transformer(anonymised, drawn.wrong)
    hook.remove()
    calibrate(transformer, faces(), torch.Generator().manual_seed(5))
    means, variances = (
        torch.stack([f(x) for x in seen]).mean(0) for f in (lambda x: x.mean((0, 2, 3)), lambda x: x.var((0, 2, 3)))
    )
    statistics = calibration(transformer)
    torch.testing.assert_close(statistics["model.2.running_mean"], means)
    torch.testing.assert_close(statistics["model.2.running_var"], variances)


@torch.no_grad()
def test_training_mode_and_the_state_dict_stay_as_they_are() -> None:
    plain, calibrated = network(), network()
    calibrate(calibrated, faces())
    assert calibrated.state_dict().keys() == plain.state_dict().keys()
    images = image(2, 3, 16, 16).float()
    before = calibration(calibrated)
    assert torch.equal(calibrated.train()(images, PASSWORDS), plain.train()(images, PASSWORDS))
    assert all(torch.equal(value, before[name]) for name, value in calibration(calibrated).items())


@torch.no_grad()
def test_statistics_are_kept_and_put_back() -> None:
    transformer, other = network(), network()
    assert calibration(transformer) == {}
    calibrate(transformer, faces())
    load_calibration(other.eval(), calibration(transformer))
    images = image(1, 3, 16, 16).float()
    assert torch.equal(other(images, PASSWORDS[:1]), transformer(images, PASSWORDS[:1]))
    load_calibration(other, {})
    assert calibration(other) == {}
    assert torch.equal(other(images, PASSWORDS[:1]), network().eval()(images, PASSWORDS[:1]))
    assert transformer.double().model[2].running_mean.dtype == torch.float64


def test_refused() -> None:
    with pytest.raises(UserError, match="no batch norms"):
        calibrate(network(norm="group"), faces())
    transformer = network()
    with pytest.raises(UserError, match="at least 16 batches, found 3"):
        calibrate(transformer, faces(3))
    with pytest.raises(UserError, match="batches of at least 8 faces, found 4"):
        calibrate(transformer, faces(16, 4))
    assert calibration(transformer) == {}
    calibrate(transformer, faces())
    with pytest.raises(
        UserError, match=r"expected statistics of 7 batch norms .* found 18 .* calibrate the network anew"
    ):
        load_calibration(network(blocks=1), calibration(transformer))
