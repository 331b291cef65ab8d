from __future__ import annotations

import errno
import io
import json
import resource
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from src.datamodules.shards import ShardIndex, ShardWriter
from src.errors import UserError

MakeImage = Callable[..., bytes]


def _write(root: Path, make_image: MakeImage, count: int = 7, **options: object) -> None:
    with ShardWriter(root, samples_per_shard=3, resolution=16, attributes={"seed": 5}, **options) as writer:
        for i in range(count):
            writer.add(
                f"{i:09d}",
                visible=make_image(i),
                infrared=make_image(i, grey=True) if i % 2 else None,
                metadata={"subject": f"person {i // 2}", "label": i // 2, "attribute": i % 2, "free": [1, 2]},
                feature=np.full(512, i),
            )


def _add_member(archive: tarfile.TarFile, name: str, content: bytes = b"0", kind: bytes = tarfile.REGTYPE) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.type = len(content) if kind == tarfile.REGTYPE else 0, kind
    archive.addfile(member, io.BytesIO(content))


def _make_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            _add_member(archive, name, content)


@contextmanager
def _disk_of(size: int) -> Iterator[None]:
    """Let no file grow beyond a number of bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_written_can_be_read(tmp_path: Path, make_image: MakeImage) -> None:
    _write(tmp_path, make_image)
    index = ShardIndex.load(tmp_path)
    assert len(index) == 7
    assert [shard.file for shard in index.shards] == ["train-000000.tar", "train-000001.tar", "train-000002.tar"]
    assert [shard.samples for shard in index.shards] == [3, 3, 1]
    assert index.classes == ["person 0", "person 1", "person 2", "person 3"]
    assert index.class_counts.tolist() == [2, 2, 2, 1]
    assert np.flatnonzero(index.label == 1).tolist() == [2, 3]
    assert index.attribute.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert (index.resolution, index.attributes) == (16, {"seed": 5})
    content = (tmp_path / "train-000001.tar").read_bytes()
    offset, size = index.offset[4], index.size[4]
    assert content[offset[0] : offset[0] + size[0]] == make_image(4)
    assert offset[1] == -1
    assert json.loads(content[offset[2] : offset[2] + size[2]])["free"] == [1, 2]
    feature = np.load(io.BytesIO(content[offset[3] : offset[3] + size[3]]))
    assert feature.dtype == np.float32
    assert feature.tolist() == [4.0] * 512


def test_members_are_named_by_the_format(tmp_path: Path, make_image: MakeImage) -> None:
    _write(tmp_path, make_image, 2)
    with tarfile.open(tmp_path / "train-000000.tar") as archive:
        names = [f"00000000{i}.{end}" for i, ends in enumerate((["jpg"], ["nir.jpg", "vis.jpg"])) for end in
                 sorted(["feature.npy", "json", *ends])]  # fmt: skip
        assert archive.getnames() == names
        assert not archive.pax_headers
        assert {member.mtime for member in archive.getmembers()} == {0}


def test_the_same_samples_give_the_same_bytes(tmp_path: Path, make_image: MakeImage) -> None:
    for name in ("a", "b"):
        _write(tmp_path / name, make_image)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["index.json", "index.npz", "train-000000.tar", "train-000001.tar", "train-000002.tar"]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_scan_of_own_shards_equals_their_index(tmp_path: Path, make_image: MakeImage) -> None:
    _write(tmp_path, make_image)
    scanned, loaded = ShardIndex.scan(tmp_path), ShardIndex.load(tmp_path)
    assert scanned.fingerprint == loaded.fingerprint
    assert scanned.classes == loaded.classes
    assert np.array_equal(scanned.offset, loaded.offset)


def test_foreign_tars_with_cls(tmp_path: Path, make_image: MakeImage) -> None:
    _make_tar(tmp_path / "x-0.tar", {"a/01.jpg": make_image(0), "a/01.cls": b"2", "a/02.png": b"", "a/02.cls": b"0"})
    _make_tar(tmp_path / "x-1.tar", {".hidden": b"", "03.jpeg": make_image(1), "03.txt": b"?", "03.cls": b"2"})
    ShardIndex.scan(tmp_path).save()
    index = ShardIndex.load(tmp_path)
    assert index.keys.tolist() == [b"a/01", b"a/02", b"03"]
    assert index.label.tolist() == [2, 0, 2]
    assert index.classes == ["0", "", "2"]
    assert index.attribute.tolist() == [-1, -1, -1]


def test_an_exception_leaves_nothing_behind(tmp_path: Path, make_image: MakeImage) -> None:
    def interrupted(seed: int, **_: object) -> bytes:
        if seed == 5:
            raise KeyboardInterrupt
        return make_image(seed)

    with pytest.raises(KeyboardInterrupt):
        _write(tmp_path, interrupted)
    assert list(tmp_path.iterdir()) == []


def test_remains_of_a_killed_run_are_no_dataset(tmp_path: Path, make_image: MakeImage) -> None:
    (tmp_path / ".train-000007.tar.tmp").write_bytes(b"half")
    with pytest.raises(UserError, match=r"index\.json: not found"):
        ShardIndex.load(tmp_path)
    _write(tmp_path, make_image)
    assert not list(tmp_path.glob(".*"))
    assert len(ShardIndex.load(tmp_path)) == 7


@pytest.mark.parametrize("size", [5_000, 40_000])
def test_full_disk(tmp_path: Path, make_image: MakeImage, size: int) -> None:
    with _disk_of(size), pytest.raises(UserError, match="the disk is full"):
        _write(tmp_path, lambda i, **_: make_image(i) + bytes(10_000), 40)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("function", ["np.savez", "json.dump"])
def test_disk_full_at_the_index(
    tmp_path: Path, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"src.datamodules.shard_index.{function}", fail)
    with pytest.raises(UserError, match="the disk is full"):
        _write(tmp_path, make_image)
    assert list(tmp_path.iterdir()) == []


def test_writer_refuses_a_folder_in_use(tmp_path: Path, make_image: MakeImage) -> None:
    _write(tmp_path, make_image, 1)
    with pytest.raises(UserError, match="already holds a dataset"):
        _write(tmp_path, make_image, 1)


@pytest.mark.parametrize("key", ["", "a.b", "../a", "/a", "a/b", "x" * 81])
def test_writer_refuses_bad_keys(tmp_path: Path, key: str) -> None:
    with pytest.raises(UserError, match="bad key"), ShardWriter(tmp_path, resolution=16) as writer:
        writer.add(key, visible=b"", metadata={"label": 0})


def test_writer_refuses_inconsistent_samples(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, resolution=16) as writer:
        writer.add("a", visible=b"", metadata={"label": 0, "subject": "x"})
        with pytest.raises(UserError, match="'a' was already written"):
            writer.add("a", visible=b"", metadata={"label": 0, "subject": "x"})
        with pytest.raises(UserError, match="class 0 is called both 'x' and 'y'"):
            writer.add("b", visible=b"", metadata={"label": 0, "subject": "y"})
        with pytest.raises(UserError, match="label None"):
            writer.add("c", visible=b"", metadata={})


def test_writer_refuses_an_empty_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sample was written"), ShardWriter(tmp_path, resolution=16):
        pass


def test_load_finds_truncated_and_foreign_tars(tmp_path: Path, make_image: MakeImage) -> None:
    _write(tmp_path, make_image)
    path = tmp_path / "train-000001.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"train-000001\.tar: \d+ bytes, expected \d+: the tar is truncated"):
        ShardIndex.load(tmp_path)
    path.write_bytes(whole + b"0")
    with pytest.raises(UserError, match="belongs to another dataset"):
        ShardIndex.load(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match="not found, though"):
        ShardIndex.load(tmp_path)
    path.write_bytes(whole)
    (tmp_path / "train-000009.tar").write_bytes(whole)
    with pytest.raises(UserError, match=r"does not list train-000009\.tar"):
        ShardIndex.load(tmp_path)


def test_load_finds_an_index_of_another_dataset(tmp_path: Path, make_image: MakeImage) -> None:
    _write(tmp_path / "a", make_image)
    _write(tmp_path / "b", make_image, 5)
    (tmp_path / "a/index.npz").write_bytes((tmp_path / "b/index.npz").read_bytes())
    with pytest.raises(UserError, match=r"index\.npz: checksum differs"):
        ShardIndex.load(tmp_path / "a")
    (tmp_path / "a/index.json").write_bytes((tmp_path / "b/index.json").read_bytes())
    with pytest.raises(UserError, match=r"the index belongs to another dataset|the tar is truncated|does not list"):
        ShardIndex.load(tmp_path / "a")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 1, "shards": 3}', '{"schema": 2}'])
def test_load_refuses_a_damaged_manifest(tmp_path: Path, make_image: MakeImage, content: str) -> None:
    _write(tmp_path, make_image)
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(UserError, match=r"index\.json: (damaged|schema)"):
        ShardIndex.load(tmp_path)


def test_load_refuses_shard_names_with_folders(tmp_path: Path, make_image: MakeImage) -> None:
    _write(tmp_path, make_image)
    manifest = (tmp_path / "index.json").read_text().replace("train-000000.tar", "../train-000000.tar")
    (tmp_path / "index.json").write_text(manifest)
    with pytest.raises(UserError, match="unsafe shard name"):
        ShardIndex.load(tmp_path)


@pytest.mark.parametrize("key", ["/etc/passwd", "../x", "a/../b", "a\\b"])
def test_load_refuses_unsafe_keys(tmp_path: Path, make_image: MakeImage, key: str) -> None:
    _write(tmp_path, make_image, 1)
    index = ShardIndex.load(tmp_path)
    object.__setattr__(index, "keys", np.array([key.encode()]))
    index.save()
    with pytest.raises(UserError, match="unsafe key"):
        ShardIndex.load(tmp_path)


def test_load_refuses_doubled_keys_and_bad_offsets(tmp_path: Path, make_image: MakeImage) -> None:
    _write(tmp_path, make_image, 2)
    index = ShardIndex.load(tmp_path)
    keys = index.keys
    object.__setattr__(index, "keys", keys[[0, 0]])
    index.save()
    with pytest.raises(UserError, match="'000000000' occurs twice"):
        ShardIndex.load(tmp_path)
    object.__setattr__(index, "keys", keys)
    object.__setattr__(index, "offset", index.offset + 10**9)
    index.save()
    with pytest.raises(UserError, match="points past the end"):
        ShardIndex.load(tmp_path)


@pytest.mark.parametrize("cut", [0.3, 0.55, 0.9])
def test_scan_finds_truncation(tmp_path: Path, make_image: MakeImage, cut: float) -> None:
    _write(tmp_path, make_image)
    path = tmp_path / "train-000001.tar"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    with pytest.raises(UserError, match=r"train-000001\.tar: truncated"):
        ShardIndex.scan(tmp_path)


def test_scan_finds_a_cut_between_members(tmp_path: Path) -> None:
    _make_tar(tmp_path / "a.tar", {"1.jpg": b"x", "1.cls": b"0", "2.jpg": b"x", "2.cls": b"1"})
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(content[: 4 * 512])
    with pytest.raises(UserError, match="truncated"):
        ShardIndex.scan(tmp_path)
    (tmp_path / "a.tar").write_bytes(content[: 4 * 512] + b"rubbish" * 512)
    with pytest.raises(UserError, match="truncated"):
        ShardIndex.scan(tmp_path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "holds no sample"),
        ({"../a.jpg": b"x", "../a.cls": b"0"}, "unsafe member name '../a.jpg'"),
        ({"/a.jpg": b"x", "/a.cls": b"0"}, "unsafe member name '/a.jpg'"),
        ({"a.jpg": b"x"}, "'a' has the class number None"),
        ({"a.jpg": b"x", "a.cls": b"-1"}, "class number -1"),
        ({"a.jpg": b"x", "a.cls": b"cat"}, "not valid JSON"),
        ({"a.jpg": b"x", "a.json": b"[1]"}, "holds a list"),
        ({"a.jpg": b"x", "a.json": b'{"label": "0"}'}, "class number '0'"),
        ({"a.jpg": b"x", "a.json": b" " * (1 << 20) + b"{}"}, "expected at most"),
        ({"a.cls": b"0"}, "'a' has no image"),
        ({"a.jpg": b"x", "a.png": b"x", "a.cls": b"0"}, "key 'a' occurs twice"),
        ({"a.jpg": b"x", "a.cls": b"0", "b.jpg": b"x", "b.cls": b"0", "a.png": b"x"}, "key 'a' occurs twice"),
    ],
)
def test_scan_refuses_bad_members(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    _make_tar(tmp_path / "a.tar", members)
    with pytest.raises(UserError, match=message):
        ShardIndex.scan(tmp_path)


def test_scan_refuses_links(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        _add_member(archive, "a.jpg", kind=tarfile.SYMTYPE)
    with pytest.raises(UserError, match="is a link"):
        ShardIndex.scan(tmp_path)


def test_scan_refuses_keys_and_names_that_clash_between_tars(tmp_path: Path) -> None:
    _make_tar(tmp_path / "a.tar", {"1.jpg": b"x", "1.json": b'{"label": 0, "subject": "x"}'})
    _make_tar(tmp_path / "b.tar", {"1.jpg": b"x", "1.json": b'{"label": 1, "subject": "y"}'})
    with pytest.raises(UserError, match="key '1' occurs twice"):
        ShardIndex.scan(tmp_path)
    _make_tar(tmp_path / "b.tar", {"2.jpg": b"x", "2.json": b'{"label": 0, "subject": "y"}'})
    with pytest.raises(UserError, match="class 0 is called both 'x' and 'y'"):
        ShardIndex.scan(tmp_path)


def test_scan_refuses_what_is_no_tar(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \*\.tar found"):
        ShardIndex.scan(tmp_path)
    (tmp_path / "a.tar").write_bytes(b"not a tar" * 1000)
    with pytest.raises(UserError, match="truncated or not a tar"):
        ShardIndex.scan(tmp_path)
