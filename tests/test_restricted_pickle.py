from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.errors import UserError
from src.restricted_pickle import loads


class _Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_and_arrays(protocol: int) -> None:
    value = (
        [b"\xff\x00bytes", b"", bytearray(b"x"), np.arange(4, dtype=np.uint8), np.bool_(True), "text", 1.5, None],
        {"key": (1, 2)},
    )
    loaded = loads(pickle.dumps(value, protocol), "file")
    assert loaded[0][:3] == value[0][:3]
    assert loaded[0][3].tolist() == [0, 1, 2, 3]
    assert loaded[0][4:] == value[0][4:]
    assert loaded[1] == value[1]


def test_python_2_strings_become_bytes() -> None:
    assert loads(b"\x80\x02]q\x00(U\x03\xff\xd8\xffT\x02\x00\x00\x00abe.", "file") == [b"\xff\xd8\xff", b"ab"]


def test_module_names_of_numpy_1() -> None:
    content = pickle.dumps(np.arange(3, dtype=np.uint8), 2).replace(b"numpy._core.", b"numpy.core.")
    assert loads(content, "file").tolist() == [0, 1, 2]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "owned"
    for call in (_Call(os.system, f"touch {target}"), _Call(eval, f"open({str(target)!r}, 'w')"), _Call(Path, "x")):
        with pytest.raises(UserError, match=r"bad\.bin: refused to unpickle: it refers to .*, which is not allowed"):
            loads(pickle.dumps(([b"x"], call), protocol), "bad.bin")
    assert not target.exists()


def test_other_codecs_are_refused() -> None:
    content = pickle.dumps(b"abc", 2).replace(b"latin1", b"rot_13")
    with pytest.raises(UserError, match="encoding 'rot_13' is not allowed"):
        loads(content, "file")


@pytest.mark.parametrize("content", [b"", b"\x80", b"garbage", b"\x80\x02]", pickle.dumps([b"x" * 100])[:-40]])
def test_damaged_pickles(content: bytes) -> None:
    with pytest.raises(UserError, match="refused to unpickle"):
        loads(content, "file")


def test_a_number_that_would_take_gigabytes_is_refused() -> None:
    with pytest.raises(UserError, match="it numbers an object 1039176309 at byte 3"):
        loads(b"\x80\x02]ru\x92\xf0=.", "a.bin")
