from __future__ import annotations

from pathlib import Path

import pytest
import torch

from src.apps.gallery.photographs import NamedBy, describe_alignment, find_people, find_photographs
from src.datamodules.decode import encode_jpeg
from src.datamodules.landmarks import HEADER
from src.errors import UserError


def place(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(encode_jpeg(torch.zeros(8, 8, 3, dtype=torch.uint8)))
    return root


def people_of(root: Path, named_by: NamedBy = "folder", label_map: Path | None = None) -> dict[str, str]:
    photographs, _ = find_people(root, named_by, label_map)
    return {Path(one.name).relative_to(root).as_posix(): one.person for one in photographs}


def test_people_are_the_folders_of_their_photographs_at_any_depth(tmp_path: Path) -> None:
    root = place(tmp_path, "x/Ann/1.jpg", "Bob/2.PNG", "y/z/Eve/1.jpeg", "overview.jpg", "Bob/notes.txt")
    assert people_of(root) == {"Bob/2.PNG": "Bob", "x/Ann/1.jpg": "Ann", "y/z/Eve/1.jpeg": "Eve"}
    assert find_people(root, "folder", None)[1] == 1


def test_files_may_name_the_people(tmp_path: Path) -> None:
    root = place(tmp_path, "b.jpg", "a.b.png", "x/c.jpg")
    assert people_of(root, "file") == {"a.b.png": "a.b", "b.jpg": "b", "x/c.jpg": "c"}


@pytest.mark.parametrize(
    ("named_by", "files", "message"),
    [
        (
            "folder",
            ("Ann/first/1.jpg", "Ann/first/2.jpg", "Bob/first/1.jpg"),
            "Ann/first and Bob/first .* name, first,",
        ),
        ("folder", ("Ann/1.jpg", "x/Ann/2.jpg"), "Ann and x/Ann have the same name, Ann,"),
        ("file", ("Ann.jpg", "x/Ann.png"), "Ann.jpg and x/Ann.png have the same name, Ann,"),
    ],
)
def test_two_places_of_one_name_are_not_taken_for_one_person(
    named_by: NamedBy, files: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    root = place(tmp_path, *files)
    with pytest.raises(UserError, match=f"{message}.*or give a label_map"):
        people_of(root, named_by)


def test_a_photograph_has_one_path_however_the_folder_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = place(tmp_path / "root", "Ann/1.jpg")
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(tmp_path)
    given = [Path("root"), Path("root/../root/Ann"), root, tmp_path / "link"]
    photographs = [one for images in given for one in find_photographs(images)]
    assert {one.path for one in photographs} == {str(root.resolve() / "Ann/1.jpg")}
    assert [one.name for one in photographs[:2]] == ["root/Ann/1.jpg", "root/../root/Ann/1.jpg"]


def test_nobody_guesses_who_is_on_photographs_without_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder tells who is on them.*folder above.*named_by=file.*label_map"):
        people_of(place(tmp_path, "b.jpg", "a.b.png"))


def test_a_label_map_tells_more_than_folders(tmp_path: Path) -> None:
    root = place(tmp_path / "images", "Ann/1.jpg", "Ann/2.jpg", "3.jpg")
    (tmp_path / "map.csv").write_text('image,person\nAnn/2.jpg,"Bob, Jr."\n3.jpg,Ann\n')
    assert people_of(root, "file", tmp_path / "map.csv") == {"3.jpg": "Ann", "Ann/2.jpg": "Bob, Jr."}
    assert find_people(root, "folder", tmp_path / "map.csv")[1] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,person\n", "the first line is 'file,person', expected 'image,person'"),
        ("image,person\n", "names no image"),
        ("image,person\n3.jpg\n", "line 2: expected an image and a person"),
        ("image,person\n3.jpg,\n", "line 2: expected an image and a person"),
        ("image,person\n3.jpg,a\n3.jpg,b\n", "line 3: the image '3.jpg' occurs twice"),
        ("image,person\n../3.jpg,a\n3.jpg,b\n", r"1 of 2 images are not below .*, first: \.\./3.jpg"),
    ],
)
def test_wrong_label_maps(text: str, message: str, tmp_path: Path) -> None:
    root = place(tmp_path / "images", "3.jpg")
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        find_people(root, "folder", tmp_path / "map.csv")


def test_a_label_map_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"label_map=.*map.csv: cannot be read"):
        find_people(place(tmp_path, "3.jpg"), "folder", tmp_path / "map.csv")


def write_landmarks(folder: Path, *files: str) -> None:
    rows = [f"{file},{','.join(str(number) for number in range(10))}" for file in files]
    (folder / "landmarks.csv").write_text("\n".join([",".join(HEADER), *rows, ""]))


def test_landmarks_also_of_a_folder_further_up(tmp_path: Path) -> None:
    root = place(tmp_path, "set/Ann/1.jpg", "set/Bob/1.jpg")
    write_landmarks(root, "else.jpg")
    write_landmarks(root / "set", "Ann/1.jpg", "Bob/1.jpg")
    for images in (root / "set", root / "set/Ann", root / "set/Ann/1.jpg"):
        photograph = find_photographs(images)[0]
        assert photograph.name == str(root / "set/Ann/1.jpg")
        assert torch.equal(photograph.image.landmarks, torch.arange(10.0).view(5, 2))  # type: ignore[arg-type]
        assert describe_alignment([photograph]) == "aligned by landmarks.csv"


def test_landmarks_are_missing(tmp_path: Path) -> None:
    root = place(tmp_path, "Ann/1.jpg", "Bob/1.jpg")
    write_landmarks(root, "Ann/1.jpg")
    with pytest.raises(UserError, match=r"landmarks.csv: no row for Bob/1.jpg"):
        find_photographs(root)


def test_without_landmarks_photographs_are_cropped(tmp_path: Path) -> None:
    photographs = find_photographs(place(tmp_path, "b/2.jpg", "1.jpg"))
    assert [Path(one.name).name for one in photographs] == ["1.jpg", "2.jpg"]
    assert all(one.image.lfw_crop and one.image.landmarks is None and one.person == "" for one in photographs)
    assert "no landmarks.csv" in describe_alignment(photographs)


@pytest.mark.parametrize(
    ("place_of", "message"),
    [("nowhere", "there is no such folder"), ("empty", "holds no images"), ("notes.txt", "expected a folder, or an")],
)
def test_no_photographs(place_of: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=f"images=.*{place_of}: {message}"):
        find_photographs(tmp_path / place_of)


def test_names_that_no_table_holds(tmp_path: Path) -> None:
    root = place(tmp_path, "a\udcff/1.jpg")
    with pytest.raises(UserError, match="the name is no UTF-8 text"):
        find_people(root, "folder", None)
