from __future__ import annotations

from typing import Any

import pytest

from src.apps.gallery.pids import MAX_PID, parse_pids
from src.errors import UserError


@pytest.mark.parametrize(
    ("typed", "pids"),
    [
        (17, [17]),
        ("17", [17]),
        (["17", 23, "17"], [17, 23]),
        (MAX_PID, [MAX_PID]),
        ("all", None),
        (["all"], None),
    ],
)
def test_what_may_be_typed(typed: Any, pids: list[int] | None) -> None:
    assert parse_pids(typed) == pids


@pytest.mark.parametrize(
    "typed", [[], "", "ann", -1, 0, MAX_PID + 1, 1.0, None, True, "1_0", "٣", ["all", 3], [None], "9" * 5000]
)
def test_what_may_not(typed: Any) -> None:
    with pytest.raises(UserError, match="pid: expected"):
        parse_pids(typed)
