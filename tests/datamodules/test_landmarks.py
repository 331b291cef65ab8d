from __future__ import annotations

from pathlib import Path

import pytest
import torch

from src.datamodules.landmarks import read_landmarks
from src.errors import UserError

HEADER = (
    "file,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,"
    "mouth_left_x,mouth_left_y,mouth_right_x,mouth_right_y\n"
)


def test_rows_become_points(tmp_path: Path) -> None:
    path = tmp_path / "landmarks.csv"
    path.write_text(HEADER + '"a,b/1.jpg",1,2,3,4,5,6,7,8,9.5,10\n')
    table = read_landmarks(path)
    assert list(table) == ["a,b/1.jpg"]
    assert torch.equal(table["a,b/1.jpg"], torch.tensor([[1, 2], [3, 4], [5, 6], [7, 8], [9.5, 10]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line is ''"),
        ("file,x,y\n", "the first line is 'file,x,y'"),
        (HEADER + "a.jpg,1,2,3\n", "line 2: expected a file and ten numbers"),
        (HEADER + "a.jpg,1,2,3,4,5,6,7,8,9,cat\n", "line 2: expected a file and ten numbers"),
        (HEADER + 2 * "a.jpg,1,2,3,4,5,6,7,8,9,10\n", "line 3: the file 'a.jpg' occurs twice"),
    ],
)
def test_malformed_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "landmarks.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_landmarks(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_landmarks(tmp_path / "none.csv")
