from __future__ import annotations

import hashlib
import os
import pickle
import threading
import uuid
from pathlib import Path

import pytest

from src.datamodules.storage import Location, expand
from src.errors import UserError

CONTENT = bytes(range(256)) * 4


@pytest.fixture(params=["path", "file", "memory", "pipe"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """The same file wherever it may lie."""
    path = tmp_path / "some file.tar"
    path.write_bytes(CONTENT)
    if request.param == "memory":
        memory = Location(f"memory://{uuid.uuid4().hex}") / path.name
        memory.upload(path)
        return memory
    if request.param == "pipe":
        return Location(f"pipe:cat {tmp_path}/{{name}}") / path.name
    return Location(path if request.param == "path" else f"file://{path}")


def test_reading(location: Location) -> None:
    assert location.read_bytes() == CONTENT
    assert location.sha256() == hashlib.sha256(CONTENT).hexdigest()
    with location.open() as reader:
        assert reader.size == len(CONTENT)
        assert reader.read(10, 3) == bytes([10, 11, 12])
        assert reader.read(len(CONTENT) - 2, 100) == CONTENT[-2:]
        assert reader.read(len(CONTENT) + 5, 100) == b""


def test_a_reader_can_be_pickled_and_shared(location: Location) -> None:
    reader = pickle.loads(pickle.dumps(location.open()))
    wrong: list[int] = []

    def read(start: int) -> None:
        wrong.extend(i for i in range(start, 1024, 8) if reader.read(i, 5) != CONTENT[i : i + 5])

    threads = [threading.Thread(target=read, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    child = os.fork()
    if child == 0:
        os._exit(0 if reader.read(7, 4) == CONTENT[7:11] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_readers_close_their_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    before = len(os.listdir("/proc/self/fd"))
    readers = [Location(tmp_path / "a").open(), Location(f"pipe:cat {tmp_path}/a").open()]
    assert len(os.listdir("/proc/self/fd")) == before + 2
    readers[0].close()
    with pytest.raises(UserError, match="cannot be read"):
        readers[0].read(0, 1)
    del readers
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("url", "local", "pipe", "name", "below"),
    [
        ("data/faces/", True, False, "faces", "data/faces/a.tar"),
        ("/", True, False, "", "/a.tar"),
        ("file:///data/faces", True, False, "faces", "file:///data/faces/a.tar"),
        ("s3://bucket/faces", False, False, "faces", "s3://bucket/faces/a.tar"),
        ("pipe:cat '/my data'/{name}", False, True, "{name}", "pipe:cat '/my data'/a.tar"),
    ],
)
def test_kinds(url: str, local: bool, pipe: bool, name: str, below: str) -> None:
    location = Location(url)
    assert str(location) == url
    assert (location.is_local, location.is_pipe, location.name) == (local, pipe, name)
    assert str(location / "a.tar") == below
    assert str(Location(Path("a/b")) / "c") == "a/b/c"


def test_names_are_quoted_in_pipes(tmp_path: Path) -> None:
    name = "a b'; touch evil #"
    (tmp_path / name).write_bytes(b"x")
    assert (Location(f"pipe:cd {tmp_path} && cat {{name}}") / name).read_bytes() == b"x"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_listing_hides_hidden_files(kind: str, tmp_path: Path) -> None:
    root = Location(tmp_path / "root" if kind == "local" else f"memory://{uuid.uuid4().hex}/root/")
    (tmp_path / "source").write_bytes(b"x")
    for name in ["b/2.jpg", "b/10.jpg", "a.txt", "b-/1.jpg", ".hidden/1.jpg", "b/._1.jpg", "b/c/d/1.jpg"]:
        (root / name).upload(tmp_path / "source")
    assert root.files() == ["a.txt", "b-/1.jpg", "b/10.jpg", "b/2.jpg", "b/c/d/1.jpg"]


def test_listing_follows_links(tmp_path: Path) -> None:
    (tmp_path / "real/a").mkdir(parents=True)
    (tmp_path / "real/a/1.jpg").write_bytes(b"x")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/linked").symlink_to(tmp_path / "real/a")
    assert Location(tmp_path / "root").files() == ["linked/1.jpg"]


def test_listing_what_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: no such folder"):
        Location(tmp_path / "none").files()
    with pytest.raises(UserError, match="a command cannot be listed"):
        Location("pipe:cat x").files()
    assert Location(f"memory://{uuid.uuid4().hex}").files() == []


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_upload_exists_remove(kind: str, tmp_path: Path) -> None:
    root = Location(tmp_path / "root" if kind == "local" else f"memory://{uuid.uuid4().hex}")
    file, source = root / "below/a.tar", tmp_path / "source"
    assert not file.exists()
    for content in (b"old", b"new content"):
        source.write_bytes(content)
        file.upload(source)
        assert file.read_bytes() == content
    assert file.exists()
    assert root.files() == ["below/a.tar"]
    if kind == "local":
        assert os.listdir(tmp_path / "root/below") == ["a.tar"]
    file.remove()
    assert not file.exists()
    with pytest.raises(UserError, match=r"a\.tar: cannot be removed"):
        file.remove()


def test_a_failed_upload_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    root = Location(f"memory://{uuid.uuid4().hex}")
    (tmp_path / "source").write_bytes(CONTENT)

    def fail(*args: object, **kwargs: object) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(MemoryFileSystem, "mv", fail)
    with pytest.raises(UserError, match=r"a\.tar: cannot be written \(ConnectionError\('gone'\)\)"):
        (root / "a.tar").upload(tmp_path / "source")
    filesystem, path = root._remote()
    assert filesystem.find(path) == []


def test_upload_through_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(CONTENT)
    target = Location(f"pipe:cat > {tmp_path}/{{name}}") / "a.tar"
    target.upload(tmp_path / "source")
    assert (tmp_path / "a.tar").read_bytes() == CONTENT
    assert not target.exists()
    with pytest.raises(UserError, match="remove it by hand"):
        target.remove()


def test_a_failing_pipe(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(CONTENT)
    pipe = Location("pipe:echo first >&2; echo no route to host >&2; exit 3")
    for attempt in (pipe.read_bytes, pipe.open, lambda: pipe.upload(tmp_path / "source")):
        with pytest.raises(UserError, match=r"failed with status 3: no route to host$"):
            attempt()
    with pytest.raises(UserError, match=r"stands for one file only; expected \{name\}"):
        pipe / "a.tar"


@pytest.mark.parametrize("url", ["/none/a.tar", "memory://none/a.tar"])
def test_a_missing_file(url: str) -> None:
    for attempt, action in ((Location(url).read_bytes, "read"), (Location(url).open, "opened")):
        with pytest.raises(UserError, match=f"none/a.tar: cannot be {action} \\(") as caught:
            attempt()
        assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_unknown_schemes_and_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"nope://a: cannot be read .*Protocol not known: nope"):
        Location("nope://a").read_bytes()

    def fail(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", fail)
    with pytest.raises(UserError, match=r"s3://b/a: such URLs need a package .*: Install s3fs to access S3"):
        Location("s3://b/a").open()


def test_expand() -> None:
    assert [str(part) for part in expand("train-{000008..000010}.tar")] == [
        "train-000008.tar", "train-000009.tar", "train-000010.tar",
    ]  # fmt: skip
    assert [str(part) for part in expand("pipe:cat {x,y}/{0..1}.tar '\\n'")] == [
        f"pipe:cat {folder}/{number}.tar '\\n'" for folder in "xy" for number in (0, 1)
    ]
    assert expand("pipe:cat {name}") == [Location("pipe:cat {name}")]
    assert expand("/data/a.tar") == [Location("/data/a.tar")]
    with pytest.raises(UserError, match=r"a\{1\.\.2\.tar: .*close every brace"):
        expand("a{1..2.tar")
