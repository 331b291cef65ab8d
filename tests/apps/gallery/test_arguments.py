from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from src.apps.gallery.arguments import check_kind, to_path
from src.errors import UserError


@pytest.mark.parametrize(
    ("kind", "accepted", "refused"),
    [
        (bool, [True, False], ["no", 0, 1, 0.0]),
        (int, [0, -3, 7], ["3", True, 3.0, [3]]),
        (float, [0, 0.5, -1], ["abc", "0.5", False]),
    ],
)
def test_values_of_a_kind(kind: Any, accepted: list, refused: list) -> None:
    for value in [*accepted, None]:
        check_kind("key", value, kind)
    for value in refused:
        with pytest.raises(UserError, match=r"^key: expected .*, found "):
            check_kind("key", value, kind)


def test_paths() -> None:
    assert to_path("out", "a/b.csv") == to_path("out", Path("a/b.csv")) == Path("a/b.csv")
    for value in (2024, None, "", True):
        with pytest.raises(UserError, match=r"^out: expected a path, found .*typed \./NAME"):
            to_path("out", value)  # type: ignore[arg-type]
