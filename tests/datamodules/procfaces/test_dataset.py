from __future__ import annotations

import csv
import errno
import io
import json
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import webdataset
from PIL import Image
from support import faces_config

from src.apps.faces import run
from src.datamodules.gender_sets import read_gender_bin
from src.datamodules.procfaces import dataset, parts, storage
from src.datamodules.procfaces.dataset import build, verify
from src.datamodules.procfaces.drawing import Photograph, Scene, draw_here
from src.datamodules.procfaces.faces_config import FOLDS
from src.datamodules.procfaces.identities import identity
from src.datamodules.procfaces.parts import plan
from src.datamodules.procfaces.protocols import Shots, photo_pairs
from src.datamodules.procfaces.storage import write_record
from src.datamodules.shards import ShardIndex
from src.datamodules.verification_pairs import read_lfw_pairs
from src.datamodules.verification_sets import read_bin
from src.errors import UserError

TINY = faces_config(
    name="tiny",
    identities=4,
    per_identity=3,
    size=32,
    evaluation_identities=4,
    evaluation_images=6,
    pairs_per_fold=2,
    photo_size=80,
    ijbc_subjects=2,
)
TRAIN_ONLY = replace(TINY, benchmarks=())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("faces") / "tiny", TINY, processes=1)


@pytest.fixture
def plain_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the contact sheet takes longer than all the rest of a tiny data set."""
    monkeypatch.setattr(dataset, "contact_sheet", lambda *_, **__: np.zeros((8, 8, 3), np.uint8))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def assert_same_data(first: dict[str, bytes], second: dict[str, bytes]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] in ([], ["contact_sheet.png"])


def size_of(content: bytes) -> tuple[str, tuple[int, int]]:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image.mode, image.size


def test_shards_are_read_by_webdataset(root: Path) -> None:
    samples = list(webdataset.WebDataset(str(root / "train/train-000000.tar"), shardshuffle=False))
    assert len(samples) == 12
    for sample in samples:
        assert size_of(sample["vis.jpg"]) == ("RGB", (32, 32))
        assert size_of(sample["nir.jpg"]) == ("L", (32, 32))
        facts = json.loads(sample["json"])
        assert sample["__key__"].split("_")[0] == facts["subject"] == f"{facts['label']:06d}"
        assert facts["attribute"] in (0, 1)
        assert facts["source"] == "procfaces"
        assert np.shape(facts["landmarks"]) == (5, 2)
        left, top, right, bottom = facts["box"]
        assert left < right
        assert top < bottom
        assert {"age", "yaw", "pitch", "occlusion", "glasses", "seed", "render_version"} <= facts.keys()
    index = ShardIndex.load(root / "train")
    assert index.class_counts.tolist() == [3, 3, 3, 3]
    assert index.attributes["attribute"].startswith("0 = female")
    assert "Apache-2.0" in index.attributes["licence"]


def test_lfw_folder_is_read_as_lfw(root: Path) -> None:
    pairs = read_lfw_pairs(root / "lfw")
    assert len(pairs) == FOLDS * 2 * TINY.pairs_per_fold
    assert pairs.folds == FOLDS
    np.testing.assert_array_equal(pairs.same, photo_pairs(TINY).same)
    assert pairs.images[0].load(112).shape == (112, 112, 3)
    assert (root / "lfw/pairs.txt").read_text().splitlines()[0] == "10\t2"
    photos = list((root / "lfw").glob("*/*.jpg"))
    assert len(photos) == len(photo_pairs(TINY).shots)
    assert size_of(photos[0].read_bytes()) == ("RGB", (80, 80))


def test_detected_landmarks_lie_near_the_face(root: Path) -> None:
    with open(root / "lfw/landmarks.csv", newline="") as file:
        points = np.array([[float(value) for value in row[1:]] for row in list(csv.reader(file))[1:]])
    eyes, mouth = points[:, :4].reshape(-1, 2, 2), points[:, 6:].reshape(-1, 2, 2)
    distance = np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=1)
    assert 0.7 * 41 / 250 * 80 < np.median(distance) < 1.1 * 41 / 250 * 80
    assert (mouth[..., 1].mean(1) > eyes[..., 1].mean(1)).all()
    assert points.min() > 0
    assert points.max() < 80


@pytest.mark.parametrize("name", ["agedb_30", "cfp_fp"])
def test_bin_files_are_insightface_pickles(root: Path, name: str) -> None:
    with open(root / f"{name}.bin", "rb") as file:
        images, same = pickle.load(file)
    assert len(images) == 2 * len(same) == FOLDS * 4 * TINY.pairs_per_fold
    assert size_of(images[0]) == ("RGB", (112, 112))
    pairs = read_bin(root / f"{name}.bin")
    assert pairs.same.tolist() == same
    assert pairs.images[3].load(112).shape == (112, 112, 3)


def test_gender_benchmarks(tmp_path: Path, plain_sheet: None) -> None:
    config = replace(TINY, benchmarks=("gender", "gender_shifted"), attribute_balance="exact", seed=2, difficulty=1.0)
    build(tmp_path / "faces", config, processes=1)
    sets = [read_gender_bin(tmp_path / f"faces/{name}.bin") for name in config.benchmarks]
    for number, (found, first) in enumerate(zip(sets, (104_000, 105_000), strict=True)):
        assert found.name == config.benchmarks[number]
        assert len(found.pairs) == FOLDS * 2 * TINY.pairs_per_fold
        faces = found.faces
        assert faces is not None
        assert faces.subjects.tolist() == np.repeat(range(4), 6).tolist()
        masculine = identity(2, np.arange(first, first + 4), attribute_mode="exact")["masculine"]
        assert faces.attributes.tolist() == np.repeat(masculine, 6).tolist()
        assert faces.images[23].load(112).shape == (112, 112, 3)
        rows = {image.digest(): row for row, image in enumerate(faces.images)}
        pairs = np.array([rows[image.digest()] for image in found.pairs.images]).reshape(-1, 2)
        np.testing.assert_array_equal(faces.attributes[pairs], found.pair_attributes)
        np.testing.assert_array_equal(np.equal(*faces.subjects[pairs].T), found.pairs.same)
    card = (tmp_path / "faces/DATA_CARD.md").read_text()
    assert (
        "| `gender.bin` | 40 pairs of 4 people, who look as in training; 24 images with the attribute of each |" in card
    )
    assert "| `gender_shifted.bin` |" in card


def test_shifted_images_are_harder() -> None:
    config = faces_config("gender")
    parts = {part.name: part.scene.profile for part in plan(config)}
    usual, shifted = parts["gender.bin"], parts["gender_shifted.bin"]
    assert usual == parts["train"]
    for factor in ("yaw", "yaw_tail", "light", "blur", "occlusion", "age_spread", "age_tail"):
        assert getattr(shifted, factor) > getattr(usual, factor)


def test_template_files_agree_with_one_another(root: Path) -> None:
    meta = root / "IJBC/meta"
    images = [line.split(" ") for line in (meta / "ijbc_face_tid_mid.txt").read_text().splitlines()]
    points = [line.split(" ") for line in (meta / "ijbc_name_5pts_score.txt").read_text().splitlines()]
    assert [row[0] for row in images] == [row[0] for row in points] == [f"{i + 1}.jpg" for i in range(len(images))]
    assert {file.name for file in (root / "IJBC/loose_crop").iterdir()} == {row[0] for row in images}
    assert size_of((root / "IJBC/loose_crop/1.jpg").read_bytes()) == ("RGB", (144, 144))
    values = np.array([row[1:] for row in points], dtype=float)
    assert values.shape[1] == 11
    assert 0.05 <= values[:, 10].min() <= values[:, 10].max() <= 0.999
    templates = np.array([row[1:] for row in images], dtype=int)[:, 0]
    tables = {}
    for name in ("gallery_G1", "gallery_G2", "probe_mixed"):
        with open(meta / f"ijbc_1N_{name}.csv", newline="") as file:
            header, *rows = list(csv.reader(file))
        assert header[:2] == ["TEMPLATE_ID", "SUBJECT_ID"]
        tables[name] = {int(row[0]): row[1] for row in rows}
    assert set().union(*tables.values()) == set(templates.tolist())
    assert len(tables["gallery_G1"]) == len(tables["gallery_G2"]) == 1
    enrolled = tables["gallery_G1"] | tables["gallery_G2"]
    pairs = np.loadtxt(meta / "ijbc_template_pair_label.txt", dtype=int)
    assert len(pairs) == len(enrolled) * len(tables["probe_mixed"])
    for first, second, same in pairs:
        assert same == (enrolled[first] == tables["probe_mixed"][second])


def test_record_card_and_sheet_are_written(root: Path) -> None:
    record = json.loads((root / "faces.json").read_text())
    assert record["config"] == json.loads(json.dumps(asdict(TINY)))
    assert set(record["parts"]) == {"train", "lfw", "agedb_30.bin", "cfp_fp.bin", "IJBC"}
    assert not (root / "building.json").exists()
    card = (root / "DATA_CARD.md").read_text()
    assert "Forbidden inferences" in card
    assert "4 people x 3 aligned images" in card
    assert Image.open(root / "contact_sheet.png").size == (21 * 96, 8 * 96)


def test_bytes_do_not_depend_on_the_number_of_processes(root: Path, tmp_path: Path, plain_sheet: None) -> None:
    assert_same_data(contents(build(tmp_path / "again", TINY, processes=2)), contents(root))


def test_a_finished_data_set_is_not_touched_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "plan", lambda config: pytest.fail("built again"))
    assert build(root, TINY) == root


def test_verify_draws_the_same_images(root: Path) -> None:
    assert verify(root, TINY, samples=7, seed=1) == 0


def test_verify_notices_a_changed_file_and_a_changed_renderer(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_faces(scene: Scene, shots: Shots) -> Iterator[Photograph]:
        return draw_here(replace(scene, config=replace(scene.config, seed=5)), shots)

    with monkeypatch.context() as patched:
        patched.setattr(dataset, "draw_here", other_faces)
        with pytest.raises(UserError, match=r"grey levels, expected less than 0\.5"):
            verify(root, TINY)
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    (copy / "lfw/pairs.txt").write_text("10\t1\n")
    with pytest.raises(UserError, match="lfw: changed since it was written"):
        verify(copy, TINY)


def test_another_configuration_or_renderer_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"another data set \(seed is 0, wanted 3; size is 32, wanted 64\)"):
        build(root, replace(TINY, seed=3, size=64))
    monkeypatch.setattr(storage, "RENDER_VERSION", 999)
    with pytest.raises(UserError, match=r"render_version is \d+, wanted 999"):
        build(root, TINY)


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"expected a new or empty folder, found thesis\.tex"):
        build(tmp_path, TRAIN_ONLY)
    with pytest.raises(UserError, match="cannot be written"):
        build(tmp_path / "thesis.tex", TRAIN_ONLY)


def test_too_little_space_is_noticed_before_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    monkeypatch.setattr(dataset, "drawers", lambda processes: pytest.fail("started to draw"))
    with pytest.raises(UserError, match=r"needed, 0 MB free; free some space"):
        build(tmp_path / "faces", TRAIN_ONLY)


def test_after_a_full_disk_finished_parts_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_sheet: None
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    config = replace(TINY, benchmarks=("cfp_fp",))
    folder = tmp_path / "faces"
    with monkeypatch.context() as patched:
        patched.setattr(parts, "write_verification_bin", full)
        with pytest.raises(UserError, match=r"faces: the disk is full .* finished parts are kept"):
            build(folder, config, processes=1)
    assert not (folder / "faces.json").exists()
    written = (folder / "train/index.json").stat().st_mtime_ns
    build(folder, config, processes=1)
    assert (folder / "train/index.json").stat().st_mtime_ns == written
    assert verify(folder, config, samples=2) == 0


def test_a_killed_builder_leaves_nothing_that_looks_whole(root: Path, tmp_path: Path, plain_sheet: None) -> None:
    folder = tmp_path / "faces"
    script = (
        "from src.datamodules.procfaces.dataset import build\n"
        "from src.datamodules.procfaces.faces_config import FacesConfig\n"
        f"build({str(folder)!r}, {TINY!r}, processes=1)"
    )
    builder = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(dataset.__file__).parents[3],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (folder / "train").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    assert (folder / "building.json").exists()
    assert not (folder / "faces.json").exists()
    with pytest.raises(UserError, match=r"not found, so .* is no whole procedural data set"):
        verify(folder, TINY)
    rebuilt = contents(build(folder, TINY, processes=1))
    assert_same_data(rebuilt, contents(root))


def test_a_second_builder_waits_for_the_first(tmp_path: Path, plain_sheet: None) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    second = threading.Thread(target=build, args=(folder, TRAIN_ONLY), kwargs={"processes": 1})
    with storage.locked(folder):
        second.start()
        second.join(timeout=0.3)
        assert second.is_alive()
        assert not (folder / "building.json").exists()
    second.join(timeout=60)
    assert (folder / "faces.json").exists()


def test_command_prints_what_was_written(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(TINY, root)
    printed = capsys.readouterr().out
    assert "agedb_30.bin" in printed
    assert "112 px" in printed
    assert "0.00 of 255" in printed


def test_a_part_that_was_renamed_but_not_recorded_is_made_again(tmp_path: Path, plain_sheet: None) -> None:
    folder = tmp_path / "faces"
    write_record(folder / "building.json", TRAIN_ONLY, {})
    (folder / "train").mkdir()
    (folder / "train" / "leftover.tar").touch()
    build(folder, TRAIN_ONLY, processes=1)
    assert verify(folder, TRAIN_ONLY, samples=2) == 0
    assert not (folder / "train" / "leftover.tar").exists()
