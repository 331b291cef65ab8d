"""Passwords as bits and numbers, from passphrases, and how they are drawn."""

from __future__ import annotations

import logging
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support_password import GOLDEN, bits

from src.errors import UserError
from src.models.networks.password_transformer import password as password_module
from src.models.networks.password_transformer.password import Password, groups_of
from src.models.networks.password_transformer.sampling import DrawnPasswords, draw_passwords

LENGTHS = st.integers(1, 64).map(lambda groups: 4 * groups)


@pytest.mark.parametrize("case", GOLDEN["password"], ids=lambda case: f"{case['value']:04x}")
def test_golden_bits_and_groups(case: dict) -> None:
    password = Password.from_int(case["value"], 16)
    assert password.bits().int().tolist() == case["bits_msb_first"]
    assert groups_of(password.bits()).tolist() == case["groups"]
    assert password.complement().value == case["recovery_value"]
    assert groups_of(~password.bits()).tolist() == case["recovery_groups"]


def test_golden_draw_of_the_published_code() -> None:
    """Its generator is NumPy's; what the numbers mean is the same."""
    golden, state = GOLDEN["generate_code_numpy_seed0_B3_half"], np.random.RandomState(0)
    first, second, wrong, second_wrong = (bits(*map(int, state.randint(0, 2**16, (3,), np.uint64))) for _ in range(4))
    drawn = DrawnPasswords(first, second, wrong, second_wrong)
    assert (drawn.first.double() - 0.5).tolist() == golden["z"]
    assert groups_of(drawn.first).tolist() == golden["z_groups"]
    assert groups_of(drawn.second).tolist() == golden["rand_groups"]
    assert groups_of(drawn.recovery).tolist() == golden["inv_groups"]
    assert groups_of(drawn.wrong).tolist() == golden["rand_inv_groups"]
    assert groups_of(drawn.second_wrong).tolist() == golden["rand_inv2_groups"]


@given(st.data())
def test_round_trips(data: st.DataObject) -> None:
    length = data.draw(LENGTHS)
    password = Password.from_int(data.draw(st.integers(0, 2**length - 1)), length)
    assert Password.from_bits(password.bits()) == password
    assert Password.from_hex(f"{password.value:x}", length) == password
    assert password.complement() != password
    assert password.complement().complement() == password
    assert torch.equal(password.complement().bits(), ~password.bits())
    number = 0
    for group in groups_of(password.bits()).tolist():
        number = 16 * number + group
    assert number == password.value


def test_passphrase() -> None:
    assert Password.from_passphrase("correct horse", b"fit-v1:demo", 16) == Password.from_hex("0xC2E9", 16)
    long = Password.from_passphrase("correct horse", b"fit-v1:demo", 128)
    assert f"{long.value:032x}".startswith("c2e9321d5dde198d")
    composed, decomposed = (Password.from_passphrase(text, b"salt", 64) for text in ("caf\u00e9", "cafe\u0301"))
    assert composed == decomposed
    assert Password.from_passphrase("caf\u00e9", b"other", 64) != composed


def test_short_passwords_from_passphrases_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    password_module._warn_of_short.cache_clear()
    with caplog.at_level(logging.WARNING):
        Password.from_passphrase("correct horse", b"fit-v1:demo", 64)
        assert not caplog.text
        Password.from_passphrase("correct horse", b"fit-v1:demo", 16)
    assert "password of 16 bits can be found by trying all 65536" in caplog.text
    assert "horse" not in caplog.text
    assert "49897" not in caplog.text


def test_bits_are_not_shown() -> None:
    password = Password.from_hex("0xBEEF", 16)
    assert [field.name for field in fields(password)] == ["value", "length"]
    assert f"{password} {password!r}" == "Password(length=16) Password(length=16)"


def test_wrong_arguments() -> None:
    for length in (0, 2, 18, -4):
        with pytest.raises(UserError, match=f"expected a positive multiple of 4 bits, found {length}"):
            Password.from_int(0, length)
        with pytest.raises(UserError, match="expected a positive multiple of 4 bits"):
            draw_passwords(2, length)
    with pytest.raises(UserError, match="multiple of 4 bits, found 18"):
        groups_of(torch.zeros(2, 18))
    with pytest.raises(UserError, match="expected a number of 16 bits, found one of 17"):
        Password.from_int(1 << 16, 16)
    with pytest.raises(UserError, match="expected a hexadecimal number of 16 bits") as raised:
        Password.from_hex("secret", 16)
    assert "secret" not in str(raised.value)
    with pytest.raises(UserError, match=r"password\.wrong_sampling: expected uniform or hamming_balanced"):
        draw_passwords(2, 16, "near")


@pytest.mark.parametrize("wrong_sampling", ["uniform", "hamming_balanced"])
@pytest.mark.parametrize("length", [4, 16, 128])
def test_drawn_passwords_differ_where_they_have_to(length: int, wrong_sampling: str) -> None:
    drawn = draw_passwords(100_000 if length == 16 else 5_000, length, wrong_sampling, torch.Generator().manual_seed(0))
    for one, other in (
        (drawn.first, drawn.second),
        (drawn.wrong, drawn.recovery),
        (drawn.second_wrong, drawn.recovery),
        (drawn.wrong, drawn.second_wrong),
    ):
        assert not (one == other).all(dim=1).any()
    if length == 16 and wrong_sampling == "uniform":
        for drawn_bits in drawn:
            assert drawn_bits.float().mean(dim=0).sub(0.5).abs().max() < 0.01


def test_every_number_of_wrong_bits_is_equally_frequent() -> None:
    drawn = draw_passwords(16_000, 16, "hamming_balanced", torch.Generator().manual_seed(0))
    distance = (drawn.wrong ^ drawn.recovery).sum(dim=1)
    counts = distance.bincount(minlength=17)
    assert counts[0] == 0
    assert counts[1:].min() > 850
    assert counts[1:].max() < 1150


def test_the_seed_decides() -> None:
    torch.manual_seed(3)
    global_draw = draw_passwords(8, 16)
    same, other = (draw_passwords(8, 16, generator=torch.Generator().manual_seed(seed)) for seed in (3, 4))
    assert all(torch.equal(a, b) for a, b in zip(global_draw, same, strict=True))
    assert not torch.equal(same.first, other.first)
