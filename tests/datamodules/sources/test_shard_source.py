from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import fsspec
import numpy as np
import pytest

from src.datamodules.alignment import ARCFACE_TEMPLATE
from src.datamodules.decode import BadImage
from src.datamodules.face_dataset import FaceDataset
from src.datamodules.shard_index import ShardIndex
from src.datamodules.shards import ShardWriter
from src.datamodules.sources import shard_source
from src.datamodules.sources.shard_source import ShardSource
from src.errors import UserError

MakeImage = Callable[..., bytes]
LANDMARKS = (ARCFACE_TEMPLATE * 32 / 112).tolist()


@pytest.fixture
def shards(tmp_path: Path, make_image: MakeImage) -> Path:
    """Ten pairs in three tars."""
    with ShardWriter(tmp_path / "shards", samples_per_shard=4, resolution=32) as writer:
        for i in range(10):
            writer.add(
                f"{i:03d}",
                visible=make_image(i, 32, 32),
                infrared=make_image(i, 32, 32, grey=True),
                metadata={"label": i % 3, "attribute": i % 2, "landmarks": LANDMARKS, "age": i},
                feature=np.full(512, i),
            )
    return tmp_path / "shards"


def test_everything_of_a_row(shards: Path, make_image: MakeImage) -> None:
    source = ShardSource(shards)
    assert (len(source), source.resolution, source.modalities) == (10, 32, ("image", "nir"))
    assert source.labels.tolist() == [i % 3 for i in range(10)]
    assert source.attributes.tolist() == [i % 2 for i in range(10)]
    assert (source.has_landmarks, source.has_features) == (True, True)
    assert source.key(7) == "007"
    assert source.content(7) == make_image(7, 32, 32)
    assert source.content(2, "nir") == make_image(2, 32, 32, grey=True)
    assert np.array_equal(source.feature(7), np.full(512, 7, np.float32))
    assert np.allclose(source.landmarks(2), LANDMARKS)
    assert source.metadata(4) == {
        "subject": "1", "label": 1, "attribute": 0, "source": "004", "landmarks": LANDMARKS, "age": 4,
    }  # fmt: skip


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_and_threads_read_the_same(shards: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ShardSource(shards)
    expected = [source.content(row) for row in range(10)]
    with ProcessPoolExecutor(1, get_context(method)) as processes:
        assert list(processes.map(source.content, range(10))) == expected
    monkeypatch.setattr(shard_source, "_MAX_OPEN_FILES", 1)
    with ThreadPoolExecutor(4) as threads:
        rows = list(range(10)) * 50
        assert list(threads.map(source.content, rows)) == [expected[row] for row in rows]


def test_pickling_drops_open_files(shards: Path) -> None:
    source = ShardSource(shards)
    content = source.content(0)
    copy = pickle.loads(pickle.dumps(source))
    assert not copy._readers
    assert copy.content(0) == content


def test_a_tar_cut_while_in_use(shards: Path) -> None:
    dataset = FaceDataset(ShardSource(shards), size=32)
    os.truncate(shards / "train-000000.tar", 600)
    assert dataset.read([3, 5])["key"] == ["005"]
    assert "the tar was cut" in dataset.unreadable[3]


def test_what_not_all_samples_have_is_not_offered(tmp_path: Path, make_image: MakeImage) -> None:
    with ShardWriter(tmp_path, resolution=16) as writer:
        writer.add("a", visible=make_image(0), metadata={"label": 0, "landmarks": [[1, 2]]}, feature=np.ones(512))
        writer.add("b", visible=make_image(0), infrared=make_image(0, grey=True), metadata={"label": 0})
    source = ShardSource(tmp_path)
    assert (source.modalities, source.has_features) == (("image",), False)
    with pytest.raises(BadImage, match="no five `landmarks`"):
        source.landmarks(0)
    with pytest.raises(BadImage, match="no five `landmarks`"):
        source.landmarks(1)


@pytest.mark.parametrize(
    "form", ["{shards}/train-{{000000..000002}}.tar", "pipe:cat {shards}/train-{{000000..000002}}.tar"]
)
def test_tars_by_name_need_no_index(shards: Path, form: str) -> None:
    expected = ShardSource(shards)
    (shards / "index.json").unlink()
    source = ShardSource(form.format(shards=shards))
    assert [source.key(row) for row in range(10)] == [expected.key(row) for row in range(10)]
    assert source.labels.tolist() == expected.labels.tolist()
    assert [source.content(row) for row in range(10)] == [expected.content(row) for row in range(10)]
    assert pickle.loads(pickle.dumps(source)).content(9, "nir") == expected.content(9, "nir")
    os.truncate(shards / "train-000001.tar", 3000)
    with pytest.raises(UserError, match=r"train-000001\.tar: truncated"):
        ShardSource(form.format(shards=shards))


def test_an_index_behind_a_url(shards: Path) -> None:
    remote = fsspec.filesystem("memory")
    remote.put(str(shards), "/faces", recursive=True)
    source, expected = ShardSource("memory://faces"), ShardSource(shards)
    assert [source.content(row) for row in range(10)] == [expected.content(row) for row in range(10)]
    assert ShardIndex.scan("memory://faces").keys.tolist() == expected.index.keys.tolist()
    remote.rm("/faces", recursive=True)
