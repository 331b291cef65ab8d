from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_preparation import DyingSource, Killed, files, member, preparation_of, prepare
from support_source import LANDMARKS, ComputedSource, picture

from src.datamodules.landmarks import read_landmarks
from src.datamodules.preparation.build import Preparation
from src.datamodules.preparation.folder_target import FolderTarget
from src.datamodules.preparation.record_target import RecordTarget
from src.datamodules.preparation.shard_target import ShardTarget
from src.datamodules.preparation.target import Target
from src.datamodules.preparation.transform import FaceTransform
from src.datamodules.record_reader import RecordReader
from src.datamodules.record_writer import RecordWriter
from src.datamodules.shards import ShardIndex
from src.datamodules.sources.class_folders import ClassFolders
from src.datamodules.sources.record_source import RecordSource
from src.datamodules.sources.shard_source import ShardSource
from src.datamodules.storage import Location
from src.errors import UserError


def test_shards_hold_the_collection(tmp_path: Path) -> None:
    source = ComputedSource(points=True)
    result = prepare(tmp_path / "out", source)
    assert result is not None
    assert (result.images, result.skipped, result.new_images) == (23, 0, 23)
    index = ShardIndex.load(tmp_path / "out")
    assert [shard.file for shard in index.shards] == [f"train-00000{i}.tar" for i in range(5)]
    assert [shard.samples for shard in index.shards] == [5, 5, 5, 5, 3]
    assert (index.classes, index.resolution) == (source.classes, 64)
    assert index.attributes["prepared"]["shuffle_seed"] == 1
    rows = [int(key) for key in index.keys]
    assert rows == np.random.default_rng(1).permutation(23).tolist()
    assert index.keys[0] == f"{rows[0]:09d}".encode()
    assert index.label.tolist() == source.labels[rows].tolist()
    assert index.attribute.tolist() == source.attributes[rows].tolist()
    for position, row in enumerate(rows):
        assert member(index, position, 0) == picture(row, 64, 64)
        assert json.loads(member(index, position, 2)) == source.metadata(row)
    assert sorted(files(tmp_path / "out")) == [
        "index.json", "index.npz", "prepared.json", "skipped.csv", *(f"train-00000{i}.tar" for i in range(5))
    ]  # fmt: skip


def test_shards_keep_the_genders_of_folders(tmp_path: Path) -> None:
    for i, folder in enumerate(["Ann_1", "Ann_1", "Bob_0", "Cid_0"]):
        (tmp_path / "images" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / folder / f"{i}.jpg").write_bytes(picture(i, 16, 16))
    source = ClassFolders(
        tmp_path / "images", class_pattern="(?P<subject>.+)_(?P<gender>.)", gender_codes={"0": 1, "1": 0}
    )
    prepare(tmp_path / "out", source)
    index = ShardIndex.load(tmp_path / "out")
    stored = ShardSource(tmp_path / "out")
    for row in range(4):
        assert json.loads(member(index, row, 2))["attribute"] == stored.attributes[row]
    assert dict(zip(stored.classes, stored.class_attributes.tolist(), strict=True)) == {"Ann": 0, "Bob": 1, "Cid": 1}
    assert sorted(stored.attributes.tolist()) == [0, 0, 1, 1]
    again = ClassFolders(
        tmp_path / "images", class_pattern="(?P<subject>.+)_(?P<gender>.)", gender_codes={"0": 0, "1": 1}
    )
    with pytest.raises(UserError, match=r"was prepared otherwise .*source was"):
        prepare(tmp_path / "out", again)


def test_pairs_and_png(tmp_path: Path) -> None:
    prepare(tmp_path, ComputedSource(infrared=True, kind="PNG"), shuffle_seed=None)
    index = ShardIndex.load(tmp_path)
    assert member(index, 0, 0) == picture(0, 64, 64, kind="PNG")
    assert member(index, 0, 1) == picture(0, 64, 64, grey=True, kind="PNG")
    assert b"000000000.vis.png" in (tmp_path / "train-000000.tar").read_bytes()


def test_images_of_several_sizes_have_no_resolution(tmp_path: Path) -> None:
    source = ComputedSource()
    source.content = lambda row, modality="image": picture(row, 64 + (row == 7), 64 + (row == 7))  # type: ignore
    prepare(tmp_path / "kept", source)
    assert ShardIndex.load(tmp_path / "kept").resolution is None
    prepare(tmp_path / "sized", source, transform=FaceTransform(size=32))
    assert ShardIndex.load(tmp_path / "sized").resolution == 32


@pytest.mark.parametrize("kind", [FolderTarget, RecordTarget])
def test_class_folders_and_records_with_gaps(tmp_path: Path, kind: type[Target]) -> None:
    source = ComputedSource(bad=[1, 4], points=True)
    prepare(tmp_path, source, kind, max_bad_fraction=0.5)
    order = [row for row in np.argsort(source.labels, kind="stable").tolist() if row not in (1, 4)]
    if kind is FolderTarget:
        for row in order:
            assert (tmp_path / source.key(row)).read_bytes() == picture(row, 64, 64)
        table = read_landmarks(tmp_path / "landmarks.csv")
        assert list(table) == [source.key(row) for row in order]
        np.testing.assert_allclose(table["p03/3.jpg"], LANDMARKS, rtol=1e-6)
    else:
        reader = RecordReader(tmp_path / "train.rec")
        assert reader.labels.tolist() == source.labels[order].tolist()
        assert reader.keys.tolist() == list(range(1, 22))
        assert [reader[i][0] for i in range(21)] == [picture(row, 64, 64) for row in order]
        assert (tmp_path / "property").read_text() == "4,64,64\n"


def test_a_record_file_is_the_one_that_the_writer_makes(tmp_path: Path) -> None:
    source = ComputedSource()
    prepare(tmp_path / "prepared", source, RecordTarget)
    with RecordWriter(tmp_path / "written", resolution=64) as writer:
        for row in np.argsort(source.labels, kind="stable").tolist():
            writer.add(source.content(row), int(source.labels[row]))
    for name in ("train.rec", "train.idx", "property"):
        assert (tmp_path / "prepared" / name).read_bytes() == (tmp_path / "written" / name).read_bytes()


def test_round_trip(tmp_path: Path) -> None:
    """Record file -> shards -> class folders -> record file: the same bytes."""
    prepare(tmp_path / "a", kind=RecordTarget)
    prepare(tmp_path / "b", RecordSource(tmp_path / "a"))
    prepare(tmp_path / "c", ShardSource(tmp_path / "b"), FolderTarget)
    folders = ClassFolders(tmp_path / "c")
    assert [len(list((tmp_path / "c" / name).iterdir())) for name in folders.classes] == [6, 6, 6, 5]
    prepare(tmp_path / "d", folders, RecordTarget)
    first, last = RecordReader(tmp_path / "a/train.rec"), RecordReader(tmp_path / "d/train.rec")
    assert last.labels.tolist() == first.labels.tolist() == sorted(ComputedSource().labels)
    content = [Counter((int(r.labels[i]), r.content(i)) for i in range(23)) for r in (first, last)]
    assert content[0] == content[1]


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "a\\b", "", "a\nb", "x" * 300])
def test_subjects_that_are_no_folder_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="computed: class 1 cannot be written as"):
        preparation_of(tmp_path / "out", ComputedSource(names=["a", name, "c", "d"]), FolderTarget)
    assert list(tmp_path.iterdir()) == []


def test_names_that_clash_in_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="classes 0 and 2 are both called 'a'"):
        preparation_of(tmp_path, ComputedSource(names=["a", "b", "a", "d"]), FolderTarget)
    source = ComputedSource()
    source.key = lambda row: "p00/x.jpg" if row == 0 else f"p00/x{'' if row == 4 else row}.png"  # type: ignore
    with pytest.raises(UserError, match=r"'p00/x.jpg' and 'p00/x.png' would both become p00/x"):
        preparation_of(tmp_path, source, FolderTarget)


def test_remote_shards(tmp_path: Path) -> None:
    prepare(tmp_path / "local")
    url = f"memory://{tmp_path.name}/faces"
    target = ShardTarget(url, tmp_path / "work")
    arguments: dict[str, Any] = {"samples_per_part": 5, "shuffle_seed": 1, "max_bad_fraction": 0.0}
    with pytest.raises(Killed):
        Preparation(DyingSource(), target, FaceTransform(), **arguments).run(1)
    preparation = Preparation(ComputedSource(), target, FaceTransform(), **arguments)
    assert preparation.run(1) is not None
    assert preparation.run(1) is None
    local = files(tmp_path / "local")
    assert Location(url).files() == sorted(local)
    assert all((Location(url) / name).read_bytes() == content for name, content in local.items())
    assert files(tmp_path / "work") == {}
    index = ShardIndex.load(url)
    assert index.keys.tolist() == ShardIndex.load(tmp_path / "local").keys.tolist()
    assert member(index, 7, 0) == picture(int(index.keys[7]), 64, 64)
    (Location(url) / "train-000002.tar").remove()
    with pytest.raises(UserError, match=r"faces/train-000002\.tar: not found"):
        ShardIndex.load(url)


def test_shards_through_a_pipe(tmp_path: Path) -> None:
    prepare(tmp_path / "local")
    (tmp_path / "far").mkdir()
    target = ShardTarget(f"pipe:cat > {tmp_path / 'far'}/{{name}}", tmp_path / "work")
    Preparation(ComputedSource(), target, FaceTransform(), samples_per_part=5, shuffle_seed=1, max_bad_fraction=0).run(
        2
    )
    assert "root=DIR" in target.use
    assert files(tmp_path / "far") == files(tmp_path / "local")
    assert len(ShardIndex.load(f"pipe:cat {tmp_path / 'far'}/{{name}}")) == 23
    with pytest.raises(UserError, match="stands for one file only"):
        ShardTarget("pipe:cat > x", tmp_path)


@pytest.mark.parametrize("kind", [FolderTarget, RecordTarget])
def test_only_shards_can_be_remote(tmp_path: Path, kind: type[Target]) -> None:
    with pytest.raises(UserError, match="writes local folders only"):
        kind("s3://bucket/faces", tmp_path)
