from __future__ import annotations

import logging
import pickle
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.datamodules.alignment import ARCFACE_TEMPLATE
from src.datamodules.decode import BadImage
from src.datamodules.landmarks import HEADER
from src.datamodules.sources.class_folders import ClassFolders
from src.datamodules.sources.file_source import natural_key
from src.datamodules.sources.source import FaceSource
from src.datamodules.storage import Location
from src.errors import UserError

Configured = Callable[..., FaceSource]
POINTS = ARCFACE_TEMPLATE.numpy().astype(np.float32)


def _fill(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(file.encode())
    return root


def _write_landmarks(path: Path, files: list[str]) -> None:
    numbers = ",".join(str(number) for number in POINTS.flatten().tolist())
    path.write_text(",".join(HEADER) + "\n" + "".join(f"{file},{numbers}\n" for file in files))


def _keys(source: FaceSource) -> list[str]:
    return [source.key(row) for row in range(len(source))]


def test_classes_are_sorted_folders(tmp_path: Path) -> None:
    _fill(
        tmp_path, "b/2.jpg", "b/1.PNG", "b/notes.txt", "a/x.jpeg", "c 10/1.jpg", "b-/1.jpg", ".git/1.jpg", "b/._1.jpg"
    )
    (tmp_path / "empty").mkdir()
    source = ClassFolders(tmp_path)
    assert source.classes == ["a", "b", "b-", "c 10"]
    assert _keys(source) == ["a/x.jpeg", "b/1.PNG", "b/2.jpg", "b-/1.jpg", "c 10/1.jpg"]
    assert source.labels.tolist() == [0, 1, 1, 2, 3]
    assert source.attributes.tolist() == [-1] * 5
    assert (source.modalities, source.has_landmarks, source.has_features) == (("image",), False, False)
    assert source.content(1) == b"b/1.PNG"
    assert source.metadata(4) == {"subject": "c 10", "label": 3, "attribute": -1, "source": "c 10/1.jpg"}
    assert source.left_out == ()


def test_what_is_left_out(tmp_path: Path) -> None:
    _fill(tmp_path, "a/1.jpg", "a/2.bmp", "a/b/3.jpg", "4.jpg", "README")
    source = ClassFolders(tmp_path)
    assert _keys(source) == ["a/1.jpg"]
    assert {left.name: left.reason for left in source.left_out} == {
        "a/2.bmp": "no image format that is read, expected .jpg, .jpeg, .png",
        "a/b/3.jpg": "does not lie in <class>/<image>",
        "4.jpg": "does not lie in <class>/<image>",
    }


def test_natural_order(tmp_path: Path) -> None:
    _fill(tmp_path, "9/a.jpg", "10/a.jpg", "n2/a.jpg")
    assert ClassFolders(tmp_path).classes == ["10", "9", "n2"]
    natural = ClassFolders(tmp_path, sort="natural")
    assert natural.classes == ["9", "10", "n2"]
    assert _keys(natural) == ["9/a.jpg", "10/a.jpg", "n2/a.jpg"]
    assert natural.fingerprint != ClassFolders(tmp_path).fingerprint


@given(st.lists(st.integers(0, 10**20), unique=True), st.text(alphabet="ab_é"))
def test_natural_key_orders_numbers_by_value(numbers: list[int], prefix: str) -> None:
    names = [f"{prefix}{number}" for number in numbers]
    assert sorted(names, key=natural_key) == [f"{prefix}{number}" for number in sorted(numbers)]


def test_the_fingerprint_follows_the_rows(tmp_path: Path) -> None:
    _fill(tmp_path, "a/1.jpg", "b/1.jpg")
    before = ClassFolders(tmp_path).fingerprint
    assert ClassFolders(tmp_path).fingerprint == before
    _fill(tmp_path, "b/2.jpg")
    assert ClassFolders(tmp_path).fingerprint != before


def test_a_url(tmp_path: Path) -> None:
    root = Location(f"memory://{uuid.uuid4().hex}/faces")
    for name in ("b/1.jpg", "a/1.jpg"):
        _fill(tmp_path, name)
        (root / name).upload(tmp_path / name)
    _write_landmarks(tmp_path / "landmarks.csv", ["a/1.jpg", "b/1.jpg"])
    source = pickle.loads(pickle.dumps(ClassFolders(str(root), landmarks=tmp_path / "landmarks.csv")))
    assert _keys(source) == ["a/1.jpg", "b/1.jpg"]
    assert source.content(1) == b"b/1.jpg"
    np.testing.assert_array_equal(source.landmarks(0), POINTS)
    (root / "b/1.jpg").remove()
    with pytest.raises(BadImage):
        source.content(1)


def test_a_vanished_file_is_a_bad_image(tmp_path: Path) -> None:
    source = ClassFolders(_fill(tmp_path, "a/1.jpg", "b/1.jpg"))
    (tmp_path / "b/1.jpg").unlink()
    assert source.content(0) == b"a/1.jpg"
    with pytest.raises(BadImage, match=r"^No such file or directory$"):
        source.content(1)


def test_landmarks_by_rows_relative_to_the_csv(tmp_path: Path) -> None:
    _fill(tmp_path / "train", "b/1.jpg", "a/1.jpg")
    _write_landmarks(tmp_path / "landmarks.csv", ["train/a/1.jpg", "train/b/1.jpg", "test/z/1.jpg"])
    source = ClassFolders(tmp_path / "train", landmarks=tmp_path / "landmarks.csv")
    assert source.has_landmarks
    assert source.landmarks(1).dtype == np.float32
    np.testing.assert_array_equal(source.landmarks(1), POINTS)
    assert source.metadata(0)["landmarks"] == POINTS.tolist()


def test_images_without_landmarks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _fill(tmp_path, "a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg", "c/0.jpg")
    csv = tmp_path / "landmarks.csv"
    _write_landmarks(csv, ["a/0.jpg", "b/1.jpg", "c/0.jpg"])
    with pytest.raises(UserError, match=r"no row for 2 of 5 images .*first: a/1\.jpg, b/0\.jpg.* such as a/1\.jpg"):
        ClassFolders(tmp_path, landmarks=csv)
    source = ClassFolders(tmp_path, landmarks=csv, missing_landmarks="skip")
    assert _keys(source) == ["a/0.jpg", "b/1.jpg", "c/0.jpg"]
    assert [left.name for left in source.left_out] == ["a/1.jpg", "b/0.jpg"]
    assert "left out 2 images" in caplog.text
    _write_landmarks(csv, ["other.jpg"])
    with pytest.raises(UserError, match="no row for 5 of 5 images"):
        ClassFolders(tmp_path, landmarks=csv, missing_landmarks="skip")


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: no such folder"):
        ClassFolders(tmp_path / "none")
    with pytest.raises(UserError, match=r"no image found; expected <class>/<image> with \.jpg, \.jpeg, \.png$"):
        ClassFolders(tmp_path)
    (tmp_path / "a").mkdir()
    _fill(tmp_path, "1.jpg")
    with pytest.raises(UserError, match=r"no image found.*; left out 1\.jpg: does not lie in <class>/<image>"):
        ClassFolders(tmp_path)
    with pytest.raises(UserError, match=r"no image found; expected names such as \(.P<subject>x\) .*left out 1\.jpg"):
        ClassFolders(tmp_path, file_pattern="(?P<subject>x)")


@pytest.mark.parametrize("name", ["folder", "casia", "lfw", "vggface2"])
def test_data_sets(configured: Configured, name: str, tmp_path: Path) -> None:
    files = {
        "folder": ["a/1.jpg", "b/1.jpg"],
        "casia": ["0000045/001.jpg", "0000099/001.jpg"],
        "lfw": ["Aaron_Eckhart/Aaron_Eckhart_0001.jpg", "Zico/Zico_0002.jpg"],
        "vggface2": ["n000002/0001_01.jpg", "n000003/0001_01.jpg"],
    }[name]
    source = configured(name, root=_fill(tmp_path, *files))
    assert _keys(source) == files
    assert source.classes == [file.partition("/")[0] for file in files]
    assert source.labels.tolist() == [0, 1]


def test_flat_lfw(configured: Configured, tmp_path: Path) -> None:
    source = configured(
        "lfw", root=_fill(tmp_path, "Zico_0002.jpg", "Aaron_Eckhart_0001.jpg", "Zico_0001.jpg", "Zico.jpg")
    )
    assert source.classes == ["Aaron_Eckhart", "Zico"]
    assert _keys(source) == ["Aaron_Eckhart_0001.jpg", "Zico_0001.jpg", "Zico_0002.jpg"]
    assert [left.name for left in source.left_out] == ["Zico.jpg"]


def test_the_wrong_folder_is_noticed(configured: Configured, tmp_path: Path) -> None:
    _fill(tmp_path, "train/1.jpg")
    with pytest.raises(UserError, match="train: the folder's name does not match class_pattern"):
        configured("vggface2", root=tmp_path)


@pytest.mark.parametrize("prefix", ["", "folder/"])
def test_agedb(configured: Configured, prefix: str, tmp_path: Path) -> None:
    names = [
        "0_MariaCallas_35_f.jpg",
        "10_MariaCallas_7_f.jpg",
        "2_BobHope_101_m.jpg",
        "3_BobHope_x_m.jpg",
        "4_Y_30_u.jpg",
    ]
    source = configured("agedb", root=_fill(tmp_path, *(prefix + name for name in names)))
    assert _keys(source) == [prefix + names[2], prefix + names[0], prefix + names[1]]
    assert source.classes == ["BobHope", "MariaCallas"]
    assert source.attributes.tolist() == [1, 0, 0]
    assert [source.metadata(row)["age"] for row in range(3)] == [101, 35, 7]
    assert {left.name: left.reason for left in source.left_out} == {
        prefix + names[3]: r"its name does not match file_pattern=\d+_(?P<subject>.+)_(?P<age>\d+)_(?P<gender>\w)\.\w+",
        prefix + names[4]: "the gender 'u' is none of gender_codes (f, m)",
    }


def test_genders_of_folders(configured: Configured, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By the authors' README 1 is female; by their code 0 is. The subject may hold underscores itself."""
    _fill(tmp_path, "a_0/1.jpg", "a0_1/1.jpg", "a0_1/2.jpg", "b_c_1/1.jpg")
    with caplog.at_level(logging.INFO):
        source = configured("subject_gender", root=tmp_path)
    # Numbered by the folder's name: "a0_1" comes before "a_0", though "a" comes before "a0".
    assert source.classes == ["a0", "a", "b_c"]
    assert source.labels.tolist() == [0, 0, 1, 2]
    assert source.attributes.tolist() == [0, 0, 1, 0]
    assert source.attributes.dtype == np.int8
    assert source.metadata(3) == {"subject": "b_c", "label": 2, "attribute": 0, "source": "b_c_1/1.jpg"}
    assert "3 female, 1 male and 0 other images" in caplog.text
    assert configured("subject_gender", root=tmp_path, gender_codes={0: 0, 1: 1}).attributes.tolist() == [1, 1, 0, 1]


def test_the_layout_of_subjects_and_genders(configured: Configured, tmp_path: Path) -> None:
    """Labels are ranks of the sorted folders; empty ones and files that are no images count for nothing."""
    _fill(tmp_path, "0_Bo_0/b.jpg", "0_Bo_0/a.png", "MariaCallas_1/1.jpg", "MariaCallas_1/notes.txt", "n_1_x.txt")
    (tmp_path / "Empty_x").mkdir()
    source = configured("subject_gender", root=tmp_path)
    assert _keys(source) == ["0_Bo_0/a.png", "0_Bo_0/b.jpg", "MariaCallas_1/1.jpg"]
    assert source.classes == ["0_Bo", "MariaCallas"]
    assert source.labels.tolist() == [0, 0, 1]
    assert source.attributes.tolist() == [1, 1, 0]
    assert source.class_attributes.tolist() == [1, 0]


def test_several_data_sets_in_one_folder(configured: Configured, tmp_path: Path) -> None:
    _fill(tmp_path, "7_1_lfw/1.jpg", "7_0_agedb/1.jpg", "cfrs_07_1_colorferet/1.jpg")
    source = configured("balanced_folds", root=tmp_path)
    assert source.classes == ["7_0_agedb", "7_1_lfw", "cfrs_07_1_colorferet"]
    assert source.attributes.tolist() == [1, 0, 0]
    pattern = r"(?P<subject>.+_(?P<gender>[^_]*)_(?:lfw|agedb))"
    fold = configured("balanced_folds", root=tmp_path, class_pattern=pattern, unmatched_classes="skip")
    assert fold.classes == ["7_0_agedb", "7_1_lfw"]
    assert [left_out.name for left_out in fold.left_out] == ["cfrs_07_1_colorferet/1.jpg"]
    with pytest.raises(
        UserError, match=r"cfrs_07_1_colorferet: the folder's name does not match .*unmatched_classes=skip"
    ):
        configured("balanced_folds", root=tmp_path, class_pattern=pattern)
    with pytest.raises(UserError, match="8_x_lfw: the gender 'x' is none of gender_codes"):
        configured("balanced_folds", root=_fill(tmp_path, "8_x_lfw/1.jpg"))


def test_genders_from_lists_of_lfw(configured: Configured, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = _fill(tmp_path / "lfw", "Al_Gore/Al_Gore_0001.jpg", "Tara_Kirk/Tara_Kirk_0001.jpg", "Zico/Zico_0002.jpg")
    (tmp_path / "female_names.txt").write_text("Amy_Gore_0001.jpg\n")
    (tmp_path / "male_names.txt").write_text("Al_Gore_0001.jpg\n")
    lists = {"female_names": tmp_path / "female_names.txt", "male_names": tmp_path / "male_names.txt"}
    with caplog.at_level(logging.INFO):
        source = configured("lfw_gender", root=root, genders=lists)
    assert source.attributes.tolist() == [1, 0]
    assert [(left_out.name, left_out.reason) for left_out in source.left_out] == [
        ("Zico/Zico_0002.jpg", "the table of genders does not know it")
    ]
    assert source.metadata(1)["attribute"] == 0
    assert "1 female, 1 male and 0 other images" in caplog.text
    before = source.fingerprint
    (tmp_path / "male_names.txt").write_text("Al_Gore_0001.jpg\nZico_0002.jpg")
    assert configured("lfw_gender", root=root, genders=lists).fingerprint != before


def test_genders_from_the_xml_of_colorferet(configured: Configured, tmp_path: Path) -> None:
    root = _fill(tmp_path / "images", "00001/a.png", "00001/b.png", "00002/a.png")
    (tmp_path / "subjects.xml").write_text(
        '<S><Subject id="cfrs00001"><Gender value="Female"/></Subject>'
        '<Subject id="cfrs00002"><Gender value="Male"/></Subject></S>'
    )
    source = configured("colorferet", root=root, genders={"subjects": tmp_path / "subjects.xml"})
    assert source.attributes.tolist() == [0, 0, 1]


def test_genders_on_images_of_vggface2(configured: Configured, tmp_path: Path) -> None:
    root = _fill(tmp_path / "images", "n000002/0001_01.jpg", "n000002/0002_01.jpg", "n000003/0001_01.jpg")
    table = tmp_path / "maad.csv"
    table.write_text("Filename,Male\nn000002/0001_01.jpg,-1\nn000002/0002_01.jpg,0\nn000003/0001_01.jpg,1\n")
    source = configured("vggface2_gender", root=root, genders={"annotations": table})
    assert source.attributes.tolist() == [0, 1]
    assert source.class_attributes.tolist() == [0, 1]
    table.write_text("Filename,Male\nn000002/0001_01.jpg,-1\nn000002/0002_01.jpg,1\n")
    with pytest.raises(UserError, match="people have images of both genders, the first is 'n000002'"):
        _ = configured("vggface2_gender", root=root, genders={"annotations": table}).class_attributes


def test_tables_of_genders_that_do_not_fit(tmp_path: Path) -> None:
    root = _fill(tmp_path, "a_f/1.jpg")
    with pytest.raises(UserError, match=r"the table of genders knows none of 1 images, such as a_f/1\.jpg of 'a_f'"):
        ClassFolders(root, genders=lambda: lambda file, subject: -1)
    pattern = {"class_pattern": "(?P<subject>.)_(?P<gender>.)", "gender_codes": {"f": 0}}
    with pytest.raises(UserError, match=r"the name of a_f/1\.jpg tells the gender, so set genders .* to null"):
        ClassFolders(root, genders=lambda: lambda file, subject: 1, **pattern)  # type: ignore[arg-type]


@pytest.mark.parametrize("folder", ["a_2", "a_f", "a_", "MariaCallas_x"])
def test_bad_genders(configured: Configured, folder: str, tmp_path: Path) -> None:
    gender = folder.partition("_")[2]
    with pytest.raises(UserError, match=f"{folder}: the gender '{gender}' is none of gender_codes \\(0, 1\\)"):
        configured("subject_gender", root=_fill(tmp_path, f"{folder}/1.jpg"))


def test_folders_of_one_subject(configured: Configured, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a_0 and a_1 are both of subject 'a'"):
        configured("subject_gender", root=_fill(tmp_path, "a_0/1.jpg", "a_1/1.jpg"))
    with pytest.raises(UserError, match="abc: the folder's name does not match"):
        configured("subject_gender", root=_fill(tmp_path / "other", "abc/1.jpg"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sort": "random"}, "sort: expected lexicographic or natural, found 'random'"),
        ({"missing_landmarks": "drop"}, "missing_landmarks: expected error or skip"),
        ({"class_pattern": "("}, r"class_pattern: '\(' is no regular expression"),
        ({"class_pattern": "x"}, r"class_pattern: expected a group \(\?P<subject>.*found 'x' with none"),
        (
            {"class_pattern": "(?P<subject>x)(?P<age>1)"},
            "class_pattern: .* optionally gender, found .* with age, subject",
        ),
        ({"file_pattern": "(?P<subject>x)", "class_pattern": "(?P<subject>x)"}, "are both set"),
        ({"gender_codes": {"f": 2}}, r"gender_codes: expected 0 \(female\) or 1 \(male\) .* found \{'f': 2\}"),
        ({"class_pattern": "(?P<subject>)(?P<gender>a)"}, r"a: the gender 'a' is none of gender_codes \(none is set\)"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        ClassFolders(_fill(tmp_path, "a/1.jpg"), **arguments)
