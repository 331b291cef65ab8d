from __future__ import annotations

from pathlib import Path

import pytest

from src.datamodules.gender_tables import read_colorferet_genders, read_lfw_genders, read_maad_genders
from src.errors import UserError

FERET = """<?xml version="1.0" encoding="UTF-8"?>
<Subjects>
  <Subject id="cfrs00001"><Gender value="Male"/><YOB value="1943"/><Race value="Female"/></Subject>
  <Subject id="cfrs00002"><Gender value="Female"/><YOB value="1964"/></Subject>
  <Subject id="cfrs00003"><Gender value="Unknown"/></Subject>
  <Subject id="cfrs00004"></Subject>
</Subjects>
"""
BOMB = '<!DOCTYPE s [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'


def _write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def test_lists_of_lfw(tmp_path: Path) -> None:
    female = _write(tmp_path / "female_names.txt", "Abel_Aguilar_0001.jpg\nZorica_Radovic_0001.jpg\n\n")
    male = _write(tmp_path / "male_names.txt", "Aaron_Eckhart_0001.jpg \r\nAl_Gore_0008.jpg\nAl_Gore_0009.jpg")
    table = read_lfw_genders(female, male)
    people = ["Abel_Aguilar", "Zorica_Radovic", "Tara_Kirk", "Aaron_Eckhart", "Al_Gore", "Nobody"]
    assert [table(f"{name}/{name}_0002.jpg", name) for name in people] == [0, 0, 0, 1, 1, -1]
    _write(male, "Aaron_Eckhart_0001.jpg\nAbel_Aguilar_0002.jpg")
    with pytest.raises(UserError, match=r"male_names\.txt, line 2: Abel_Aguilar is in .*female_names\.txt as well"):
        read_lfw_genders(female, male)
    with pytest.raises(UserError, match=r"none\.txt: cannot be read .*give LFW's list"):
        read_lfw_genders(female, tmp_path / "none.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_subjects_of_colorferet(tmp_path: Path, encoding: str) -> None:
    text = FERET.replace("UTF-8", encoding)
    table = read_colorferet_genders(_write(tmp_path / "subjects.xml", text, encoding))
    assert [table("x.jpg", f"{number:05d}") for number in range(6)] == [-1, 1, 0, -1, -1, -1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("doctype", [BOMB, '<!DOCTYPE s SYSTEM "file:///etc/passwd">', "<!DOCTYPE s>"])
def test_entities_are_never_expanded(tmp_path: Path, doctype: str, encoding: str) -> None:
    text = FERET.replace("UTF-8", encoding).replace("<Subjects>", doctype + "<Subjects>").replace("Unknown", "&b;")
    path = _write(tmp_path / "subjects.xml", text, encoding)
    with pytest.raises(UserError, match=r"subjects\.xml: .*it declares the document type 's'; remove the DOCTYPE"):
        read_colorferet_genders(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "expected ColorFERET's"), ("<a><b></a>", "expected ColorFERET's"), ("<a/>", "expected elements `Subject`")],
)
def test_other_files_than_colorferets(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"subjects\.xml: {message}"):
        read_colorferet_genders(_write(tmp_path / "subjects.xml", text))


def test_attributes_of_maad_face(tmp_path: Path) -> None:
    """Per image; the names end in spaces here and there."""
    path = tmp_path / "annotations.csv"
    _write(
        path,
        "Filename,Identity,Male,Young\nn000001/0001_01.jpg  ,1,-1,1\nn1/2.jpg,1,1,0\nn1/3.jpg,1,0,0\nn1/4.jpg,1,,\n",
    )
    table = read_maad_genders(path)
    files = ["n000001/0001_01.jpg", "n1/2.jpg", "n1/3.jpg", "n1/4.jpg", "n1/5.jpg"]
    assert [table(file, "n1") for file in files] == [0, 1, -1, -1, -1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"the first line has no column 'Filename'"),
        (b"Filename,Female\nx,1\n", "the first line has no column 'Male', found 'Filename,Female'"),
        (b"Filename,Male\nx\n", "line 2: expected 2 fields, found 1"),
        (b"Filename,Male\n\xff,1\n", "cannot be read .*utf-8"),
        (b'Filename,Male\n"' + b"x" * 200_000, "cannot be read .*field larger"),
    ],
)
def test_other_files_than_maad_faces(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.csv.*{message}"):
        read_maad_genders(path)
