"""Parsers of files from strangers: whatever the bytes, a result or a `UserError`; no crash, hang or foreign code."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support_ijb import write_ijb

from src.datamodules.gender_sets import read_gender_bin, write_gender_bin
from src.datamodules.gender_tables import read_colorferet_genders, read_lfw_genders, read_maad_genders
from src.datamodules.ijb_files import read_ijb
from src.datamodules.landmarks import HEADER
from src.datamodules.record_reader import RecordReader
from src.datamodules.record_writer import RecordWriter
from src.datamodules.verification_pairs import read_calfw_pairs, read_lfw_pairs
from src.datamodules.verification_sets import read_bin, write_bin
from src.errors import UserError
from src.restricted_pickle import loads

# A parser that hangs is stopped by the deadline; the folder of a test is shared by its examples.
fuzz = settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def damaged(draw: st.DrawFn, original: bytes) -> bytes:
    """The original with some bytes replaced, removed, inserted or moved, or cut short."""
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        content[start:end] = draw(
            st.one_of(st.binary(max_size=12), st.sampled_from([b"\xff" * 8, b"\0" * 4, bytes(content[:8]), b"-1 "]))
        )
    return bytes(content[: draw(st.integers(0, len(content)))]) if draw(st.booleans()) else bytes(content)


FOREIGN = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect", "ctypes.dlopen")
watching = False


def audit(event: str, arguments: tuple[object, ...]) -> None:
    if watching and event in FOREIGN:
        raise AssertionError(f"a parser called {event}{arguments}")


sys.addaudithook(audit)


def parse(parser: Callable[[], object]) -> None:
    """Run a parser, which may refuse with a message but must not do anything else."""
    global watching
    watching = True
    try:
        with suppress(UserError):
            parser()
    finally:
        watching = False


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def bin_file(path: Path) -> bytes:
    write_bin(path, [b"\xff\xd8 image %d" % i for i in range(8)], [True, False, True, False])
    return path.read_bytes()


@fuzz
@given(data=st.data())
def test_verification_files(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.bin"
    content = data.draw(st.one_of(st.binary(max_size=200), damaged(bin_file(path))))
    path.write_bytes(content)
    parse(lambda: read_bin(path, folds=2))


def gender_bin_file(path: Path) -> bytes:
    images = [b"\xff\xd8 image %d" % i for i in range(8)]
    write_gender_bin(path, images, [True, False] * 2, images[:4], ["a", "b", "a", "c"], [0, 1, 0, 1], [[0, 0]] * 4)
    return path.read_bytes()


@fuzz
@given(data=st.data())
def test_verification_files_with_genders(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(data.draw(damaged(gender_bin_file(path))))
    parse(lambda: read_gender_bin(path, folds=2))


plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.binary(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=2), inner, max_size=2)),
    max_leaves=8,
)


@fuzz
@given(entries=st.lists(plain, min_size=5, max_size=6), place=st.integers(0, 5), as_array=st.booleans())
def test_entries_of_any_kind(tmp_path: Path, entries: list[object], place: int, as_array: bool) -> None:
    path = tmp_path / "a.bin"
    whole = list(loads(gender_bin_file(path), "a.bin"))
    entry: object = entries[0]
    if as_array:
        with suppress(ValueError):  # lists of unequal lengths
            entry = np.array(entry)
    for value in (tuple(entries), (*whole[:place], entry, *whole[place + 1 :])):
        path.write_bytes(pickle.dumps(value, 4))
        parse(lambda: read_gender_bin(path, folds=2))


@fuzz
@given(
    module=st.one_of(st.sampled_from(["os", "builtins", "numpy", "subprocess", "torch", "posix"]), st.text(max_size=8)),
    name=st.one_of(st.sampled_from(["system", "eval", "exec", "load", "getattr", "fromfile"]), st.text(max_size=8)),
    argument=st.text(max_size=8),
    protocol=st.sampled_from([0, 2, 4]),
)
def test_pickles_call_nothing_foreign(module: str, name: str, argument: str, protocol: int) -> None:
    text = pickle.dumps((argument,), protocol)[(2 if protocol >= 2 else 0) : -1]
    if protocol == 4:
        text = text[9:]  # without the frame
        called = b"".join(b"X" + len(part.encode()).to_bytes(4, "little") + part.encode() for part in (module, name))
        content = b"\x80\x04" + called + b"\x93" + text + b"R."
    else:
        content = b"c" + f"{module}\n{name}\n".encode() + text + b"R."

    def load() -> None:
        with pytest.raises(UserError, match="refused to unpickle"):
            loads(content, "a.bin")

    parse(load)


@fuzz
@given(data=st.data())
def test_record_files(tmp_path: Path, data: st.DataObject) -> None:
    whole = tmp_path / "whole"
    if not whole.exists():
        with RecordWriter(whole, resolution=8) as writer:
            for i in range(6):
                writer.add(b"\xff\xd8 image %d \xff\xd9" % i, i // 2)
    rec, idx = (whole / f"train.{suffix}" for suffix in ("rec", "idx"))
    contents = {"rec": rec.read_bytes(), "idx": idx.read_bytes()}
    kind = data.draw(st.sampled_from(["rec", "idx"]))
    contents[kind] = data.draw(st.one_of(st.binary(max_size=200), damaged(contents[kind])))
    for suffix, content in contents.items():
        (tmp_path / f"train.{suffix}").write_bytes(content)
    os.utime(tmp_path / "train.rec")

    def read() -> None:
        reader = RecordReader(tmp_path / "train.rec")
        assert len(reader.labels) == len(reader)
        for row in range(len(reader)):
            reader.content(row)

    parse(read)


@fuzz
@given(data=st.data())
def test_ijb_files(tmp_path: Path, data: st.DataObject) -> None:
    root = tmp_path / "IJBC"
    if not root.exists():
        write_ijb(root, b"")
    path = data.draw(st.sampled_from(sorted((root / "meta").iterdir())))
    original = path.read_bytes()
    lines = original.splitlines(keepends=True)
    shuffled = data.draw(st.permutations(lines)).copy()
    path.write_bytes(data.draw(st.one_of(st.binary(max_size=200), damaged(original), st.just(b"".join(shuffled)))))
    try:
        parse(lambda: read_ijb(root, cache=tmp_path / "cache"))
    finally:
        path.write_bytes(original)


@fuzz
@given(data=st.data())
def test_lists_of_pairs_and_landmarks(tmp_path: Path, data: st.DataObject) -> None:
    for name in ("Ann/Ann_0001", "Ann/Ann_0002", "Bob/Bob_0001", "Bob/Bob_0002"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.jpg").touch()
    texts = {
        "pairs.txt": b"1\t1\nAnn\t1\t2\nAnn\t1\tBob\t2\n",
        "flags.txt": b"Ann_0001.jpg 1\nAnn_0002.jpg 1\nBob_0001.jpg 0\nAnn_0001.jpg 0\n",
        "landmarks.csv": f"{','.join(HEADER)}\n".encode()
        + b"".join(f"{p}/{p}_000{i}.jpg,1,2,3,4,5,6,7,8,9,1e1\n".encode() for p in ("Ann", "Bob") for i in (1, 2)),
    }
    damaged_one = data.draw(st.sampled_from(sorted(texts)))
    texts[damaged_one] = data.draw(st.one_of(st.binary(max_size=200), damaged(texts[damaged_one])))
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
    parse(lambda: read_lfw_pairs(tmp_path))
    parse(lambda: read_calfw_pairs(tmp_path, name="calfw", pairs="flags.txt", folds=1))


FERET = b'<S><Subject id="cfrs00001"><Gender value="Male"/></Subject></S>'
TABLES: list[tuple[bytes, Callable[[Path], object]]] = [
    (FERET, read_colorferet_genders),
    (b"Filename,Male\nn1/1.jpg,-1\nn1/2.jpg,1\n", read_maad_genders),
    (b"Ann_0001.jpg\nBob_0001.jpg\n", lambda path: read_lfw_genders(path, path)),
]


@fuzz
@given(data=st.data(), table=st.sampled_from(TABLES))
def test_tables_of_genders(tmp_path: Path, data: st.DataObject, table: tuple[bytes, Callable[[Path], object]]) -> None:
    original, read = table
    path = tmp_path / "table"
    path.write_bytes(data.draw(st.one_of(st.binary(max_size=200), damaged(original))))
    parse(lambda: read(path))
