from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_gallery import PARAMETERS, random_codes

from src.errors import UserError
from src.models.cancellable import template_file
from src.models.cancellable.gallery import CancellableGallery
from src.models.cancellable.template_file import Layout, Records, concatenate, read_records, write_records


def some(count: int, words: int, seed: int = 0) -> Records:
    rng = np.random.default_rng(seed)
    pids = rng.integers(1, 50, count)
    return Records(
        pids,
        (rng.permutation(count) + 100 * seed).astype(np.uint32),
        rng.integers(-(1 << 63), (1 << 63) - 1, (count, words)),
    )


def test_the_file_is_drht_version_1(tmp_path: Path) -> None:
    records = Records(np.array([9, 7]), np.array([1, 2], np.uint32), np.array([[1, -1], [5, 6]]))
    write_records(tmp_path / "file", Layout(b"DRHT", 7, 100, 8, 3, 2), records, 0o600)
    content = (tmp_path / "file").read_bytes()
    assert content[:32] == struct.pack("<4sHHIIHHI8x", b"DRHT", 1, 7, 2, 100, 8, 3, 16)
    assert content[:32].hex() == "445248540100070002000000640000000800030010000000" + 16 * "0"
    assert struct.unpack("<QQII", content[32:56]) == (7, 9, 2, 1)  # in the order of pids
    assert content[56:64] == bytes(8)
    assert struct.unpack("<QQQQ", content[64:]) == (5, 6, 1, (1 << 64) - 1)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=4), words=st.integers(0, 3), block=st.integers(1, 50))
def test_round_trip_of_several_parts(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], words: int, block: int
) -> None:
    parts = [some(size, words, seed) for seed, size in enumerate(sizes)]
    path, layout = tmp_path_factory.mktemp("file") / "file", Layout(b"DRHI", 4, 64 * words, 2, 1, words)
    before, template_file._BLOCK = template_file._BLOCK, block
    write_records(path, layout, concatenate(parts, words), 0o600)
    template_file._BLOCK = before
    found = read_records(path, layout, sum(sizes))
    expected = sorted(
        (int(pid), int(version), row.tolist())
        for part in parts
        for pid, version, row in zip(part.pids, part.versions, part.rows[np.arange(len(part))], strict=True)
    )
    rows = found.rows[np.arange(len(found))].tolist()
    assert [*zip(found.pids.tolist(), found.versions.tolist(), rows, strict=True)] == [*map(tuple, expected)]
    assert (path.stat().st_size - 8 * words * sum(sizes)) % 64 == 0


def test_the_flags_of_a_gallery(tmp_path: Path) -> None:
    gallery = CancellableGallery.create(tmp_path / "templates", tmp_path / "identifiers", PARAMETERS)
    gallery.enrol(random_codes(3))
    (templates,) = (tmp_path / "templates").glob("*.drht")
    (identifiers,) = (tmp_path / "identifiers").glob("*.drhi")
    assert templates.read_bytes()[:32] == struct.pack("<4sHHIIHHI8x", b"DRHT", 1, 0b0111, 3, 100, 8, 3, 48)
    assert identifiers.read_bytes()[:4] == b"DRHI"


def test_refuses_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    path, layout = tmp_path / "file", Layout(b"DRHT", 7, 64, 8, 3, 3)
    with pytest.raises(UserError, match=r"file: cannot be read \(No such file"):
        read_records(path, layout, 5)
    write_records(path, layout, some(5, 3), 0o600)
    with pytest.raises(UserError, match="has 248 bytes, expected 272"):
        read_records(path, layout, 6)
    with pytest.raises(UserError, match="header is not that of this gallery"):
        read_records(path, Layout(b"DRHT", 3, 64, 8, 3, 3), 5)
