from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest
from support_preparation import DyingSource, Killed, files, preparation_of, prepare
from support_source import ComputedSource

from src.datamodules.preparation.estimate import check_space, estimate
from src.datamodules.preparation.folder_target import FolderTarget
from src.datamodules.preparation.journal import Journal
from src.datamodules.preparation.record_target import RecordTarget
from src.datamodules.preparation.shard_target import ShardTarget
from src.datamodules.preparation.target import Target
from src.datamodules.preparation.transform import FaceTransform
from src.datamodules.shards import ShardIndex
from src.errors import UserError


def test_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    transform = FaceTransform(size=48, align=True)
    for processes in (1, 2):
        prepare(tmp_path / f"{processes}", ComputedSource(points=True), transform=transform, processes=processes)
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_a_data_set_is_prepared_once(tmp_path: Path) -> None:
    prepare(tmp_path)
    before = files(tmp_path)
    assert prepare(tmp_path) is None
    assert files(tmp_path) == before


def _interrupted(out: Path, kind: type[Target] = ShardTarget) -> None:
    with pytest.raises(Killed):
        prepare(out, DyingSource(), kind)


@pytest.mark.parametrize("kind", [ShardTarget, FolderTarget, RecordTarget])
def test_an_interrupted_run_goes_on(tmp_path: Path, kind: type[Target]) -> None:
    prepare(tmp_path / "whole", kind=kind)
    _interrupted(tmp_path / "out", kind)
    finished = {path: os.stat(path).st_ino for path in (tmp_path / "out").rglob("*.tar")}
    assert (tmp_path / "out" / ".prepare" / "plan.json").exists()
    result = prepare(tmp_path / "out", kind=kind)
    assert result is not None
    assert 0 < result.new_images < 23
    assert {path: os.stat(path).st_ino for path in finished} == finished
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("kind", "pattern"), [(ShardTarget, "*.tar"), (FolderTarget, "*/*.jpg"), (RecordTarget, ".prepare/segment-*")]
)
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_changed_parts_are_made_again(tmp_path: Path, kind: type[Target], pattern: str, damage: str) -> None:
    prepare(tmp_path / "whole", kind=kind)
    _interrupted(tmp_path / "out", kind)
    path = min((tmp_path / "out").glob(pattern))
    if damage == "changed":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    prepare(tmp_path / "out", kind=kind)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_damaged_receipts_are_made_again(tmp_path: Path) -> None:
    prepare(tmp_path / "whole")
    _interrupted(tmp_path / "out")
    for path in (tmp_path / "out" / ".prepare").glob("part-*.npz"):
        path.write_bytes(path.read_bytes()[:40])
    prepare(tmp_path / "out")
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_killed_while_the_index_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(*_: object) -> None:
        raise Killed

    prepare(tmp_path / "whole")
    for owner, method in ((ShardTarget, "finish"), (ShardTarget, "write_record"), (Journal, "remove")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, method, kill)
            with pytest.raises(Killed):
                prepare(tmp_path / "out")
    assert prepare(tmp_path / "out") is None
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_other_settings_are_refused(tmp_path: Path) -> None:
    _interrupted(tmp_path / "begun")
    with pytest.raises(UserError, match=r"was begun otherwise .*samples_per_shard was 5, is now 6"):
        prepare(tmp_path / "begun", samples_per_part=6)
    prepare(tmp_path / "done")
    before = files(tmp_path / "done")
    with pytest.raises(UserError, match=r"was prepared otherwise .*size was None, is now 32"):
        prepare(tmp_path / "done", transform=FaceTransform(size=32))
    with pytest.raises(UserError, match="source was 23 4 0, is now 23 4 1"):
        prepare(tmp_path / "done", ComputedSource(version=1))
    assert files(tmp_path / "done") == before


def test_nothing_foreign_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "train-000000.tar").write_text("precious")
    with pytest.raises(UserError, match=r"expected a new or empty target, found train-000000\.tar"):
        prepare(tmp_path)
    assert files(tmp_path) == {"train-000000.tar": b"precious"}


def test_two_runs_do_not_collide(tmp_path: Path) -> None:
    preparation = preparation_of(tmp_path)
    with preparation.journal.locked(), pytest.raises(UserError, match="another process is preparing"):
        preparation.run(1)


def test_unreadable_images_are_left_out_and_listed(tmp_path: Path) -> None:
    source = ComputedSource(bad=[3, 8])
    result = prepare(tmp_path, source, max_bad_fraction=0.1)
    assert result is not None
    assert (result.images, result.skipped) == (21, 2)
    assert b"000000003" not in ShardIndex.load(tmp_path).keys.tolist()
    with open(tmp_path / "skipped.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["key", "reason"], ["p00/8.jpg", "burnt"], ["p03/3.jpg", "burnt"], ["p00/notes.txt", "no image"]
        ]  # fmt: skip


@pytest.mark.parametrize("processes", [1, 2])
def test_too_many_unreadable_images_stop_the_run(tmp_path: Path, processes: int) -> None:
    with pytest.raises(UserError, match=r"more than 0 of 23 images cannot be read.*\n  p03/3\.jpg: burnt"):
        prepare(tmp_path / "none", ComputedSource(bad=[3]), processes=processes)
    # Few in each part, too many in all.
    with pytest.raises(UserError, match="more than 2 of 23"):
        prepare(tmp_path / "some", ComputedSource(bad=[3, 10, 17]), max_bad_fraction=0.1, shuffle_seed=None)


def test_a_part_without_a_readable_image(tmp_path: Path) -> None:
    source = ComputedSource(bad=[0, 4, 8, 12, 16, 20])
    prepare(tmp_path, source, samples_per_part=2, shuffle_seed=None, max_bad_fraction=0.5)
    index = ShardIndex.load(tmp_path)
    assert len(index) == 17
    assert index.shards[0].file == "train-000003.tar"


def test_a_full_disk_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("src.datamodules.shard_file.TarWriter.write", fail)
    with pytest.raises(UserError, match=r"the disk is full .* finished parts are kept"):
        prepare(tmp_path)


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/out/\.prepare: cannot be written \(Not a directory\)"):
        prepare(tmp_path / "file" / "out")


def test_estimate(tmp_path: Path) -> None:
    preparation = preparation_of(tmp_path / "new" / "out", ComputedSource(images=400, bad=[0]), max_bad_fraction=0.1)
    expected = estimate(preparation)
    assert (expected.looked_at, expected.unreadable) == (200, 1)
    result = preparation.run(1)
    assert result is not None
    assert abs(expected.bytes / result.bytes - 1) < 0.5
    assert check_space(preparation, expected.bytes) > 0
    with pytest.raises(UserError, match=r"needed, .* free; free some space"):
        check_space(preparation_of(tmp_path / "another"), 10**18)
    with pytest.raises(UserError, match=r"none of 2 images can be read, the first is p00/0\.jpg: burnt"):
        estimate(preparation_of(tmp_path / "third", ComputedSource(images=2, bad=[0, 1])))


@pytest.mark.parametrize("processes", [0, "two"])
def test_number_of_processes(tmp_path: Path, processes: Any) -> None:
    with pytest.raises(UserError, match=f"processes: expected null or at least 1, found {processes!r}"):
        prepare(tmp_path, processes=processes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("argument", "value"), [("max_bad_fraction", 1.0), ("max_bad_fraction", -0.1)])
def test_values_out_of_range(tmp_path: Path, argument: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{argument}: expected"):
        preparation_of(tmp_path, **{argument: value})
