from __future__ import annotations

import json
from pathlib import Path

import pytest

from src.errors import UserError
from src.models.cancellable.parameters import Parameters

SOME = Parameters(network="abc", m=512, q=8, bits=3, flip=True, lut_scope="shared", threshold=0.25)


def test_round_trip(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(SOME.to_json())
    assert Parameters.read(tmp_path / "file") == SOME
    assert json.loads(SOME.to_json()) == {
        "network": "abc", "m": 512, "q": 8, "bits": 3, "flip": True, "lut_scope": "shared", "threshold": 0.25,
        "layout": "planes",
    }  # fmt: skip


def test_the_lookup_table() -> None:
    assert SOME.words == 24
    assert SOME.lookup_table(b"").table.shape == (1, 8, 3)
    assert Parameters(network="", m=70, q=8, bits=2).lookup_table(b"").table.shape == (70, 8, 2)
    assert Parameters(network="", m=70, q=8, bits=2).words == 4


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("q", 6, "q=6: expected a power of two"),
        ("bits", 17, "bits=17"),
        ("m", 0, "m=0: expected 1 to"),
        ("threshold", 1.5, "threshold=1.5"),
        ("lut_scope", "all", "lut_scope"),
        ("layout", "rows", "layout"),
        ("more", 1, "more"),
    ],
)
def test_refuses(tmp_path: Path, key: str, value: object, message: str) -> None:
    (tmp_path / "file").write_text(json.dumps(json.loads(SOME.to_json()) | {key: value}))
    with pytest.raises(UserError, match=rf"file: .*{message}.*restore it from a copy"):
        Parameters.read(tmp_path / "file")


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read as parameters"):
        Parameters.read(tmp_path / "none")
