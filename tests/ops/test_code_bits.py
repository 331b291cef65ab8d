from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_code_operators import check_planes

from src.errors import UserError
from src.ops import code_bits
from src.ops.code_bits import pack_bits, pack_planes, plane_words, unpack_bits, unpack_planes


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(0, 3), m=st.integers(1, 200), b=st.integers(1, 9))
def test_round_trip(seed: int, rows: int, m: int, b: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, (rows, m, b), dtype=np.uint8)
    side_by_side, planes = pack_bits(bits.reshape(rows, m * b)), pack_planes(bits)
    assert side_by_side.shape == (rows, -(-m * b // 64))
    assert planes.shape == (rows, plane_words(m, b)) == (rows, b * -(-m // 64))
    assert side_by_side.dtype == planes.dtype == torch.int64
    assert unpack_bits(side_by_side, m * b).numpy().tolist() == bits.reshape(rows, m * b).tolist()
    assert unpack_planes(planes, m, b).numpy().tolist() == bits.tolist()
    # Padding is 0: there are as many ones as before.
    assert int(np.bitwise_count(planes.numpy().view(np.uint64)).sum()) == bits.sum()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(0, 3), m=st.integers(1, 200), b=st.integers(1, 70))
def test_planes_by_the_definition(seed: int, rows: int, m: int, b: int) -> None:
    check_planes(rows, m, b, seed)


def test_any_value_but_0_is_a_one() -> None:
    bits = torch.randint(256, (3, 130, 3), dtype=torch.uint8)
    assert torch.equal(pack_planes(bits), pack_planes((bits != 0).to(torch.uint8)))


def test_bits_of_any_layout() -> None:
    bits = torch.randint(2, (4, 5, 3, 130), dtype=torch.uint8).transpose(2, 3)
    words = pack_planes(bits)
    assert words.shape == (4, 5, 9)
    read_only = bits.numpy()
    read_only.flags.writeable = False
    for same in (bits.contiguous(), bits.numpy(), read_only):
        assert torch.equal(pack_planes(same), words)


def test_what_other_devices_compute() -> None:
    bits = torch.randint(2, (4, 130, 3), dtype=torch.uint8)
    assert torch.equal(code_bits._pack_by_torch(bits), pack_planes(bits))


def test_is_an_operator_by_the_rules() -> None:
    torch.library.opcheck(torch.ops.privface.pack_planes.default, (torch.randint(2, (4, 130, 3), dtype=torch.uint8),))


def test_bit_t_is_bit_t_mod_64_of_word_t_div_64() -> None:
    for t in (0, 1, 63, 64, 129):
        bits = torch.zeros(130, dtype=torch.uint8)
        bits[t] = 1
        words = pack_bits(bits).numpy().view(np.uint64)
        assert [int(word) for word in words] == [1 << t % 64 if place == t // 64 else 0 for place in range(3)]


def test_plane_j_holds_bit_j_of_every_symbol() -> None:
    bits = torch.zeros(70, 3, dtype=torch.uint8)
    bits[65, 2] = 1
    assert pack_planes(bits).tolist() == [0, 0, 0, 0, 0, 2]


def test_refuses_other_types_and_widths() -> None:
    with pytest.raises(UserError, match="expected uint8"):
        pack_bits(torch.zeros(4))
    with pytest.raises(UserError, match=r"expected uint8 \[..., m, b\], found torch.uint8 \[4\]"):
        pack_planes(torch.zeros(4, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"expected uint8 \[..., m, b\], found int64"):
        pack_planes(np.zeros((4, 4), np.int64))
    with pytest.raises(UserError, match="65 bits take 2 words"):
        unpack_bits(torch.zeros(3, dtype=torch.int64), 65)
    with pytest.raises(UserError, match="3 planes of 65 bits take 6 words"):
        unpack_planes(torch.zeros(4, dtype=torch.int64), 65, 3)


def test_no_planes() -> None:
    assert pack_planes(torch.zeros(3, 128, 0, dtype=torch.uint8)).shape == (3, 0)
