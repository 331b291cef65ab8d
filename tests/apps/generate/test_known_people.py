"""Which embeddings stand for the real people."""

from __future__ import annotations

import numpy as np
import pytest

from src.apps.generate.known_people import KnownPeople, choose_rows
from src.errors import UserError

NAMES = ["2_10.jpg", "2_9.jpg", "1_1.jpg", "1_2.jpg", "1_3.jpg"]
LABELS = np.array([1, 1, 0, 0, 0])
FEATURES = np.array([[1, 0], [1, 0.1], [0, 1], [0.3, 1], [0.7, 1]], np.float32)


def test_choices() -> None:
    assert choose_rows("all", FEATURES, LABELS, NAMES).tolist() == [0, 1, 2, 3, 4]
    assert choose_rows("first", FEATURES, LABELS, NAMES).tolist() == [1, 2]  # 9 comes before 10
    assert choose_rows("medoid", FEATURES, LABELS, NAMES).tolist() == [1, 3]


def test_files(tmp_path) -> None:
    path = tmp_path / "features.json"
    for content, message in (
        ("[1, 2", "expected a JSON object"),
        ("[1, 2]", "expected a JSON object"),
        ("{}", "names nobody"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            KnownPeople.of(None, path).embeddings(None, "all", 1)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="cannot be read"):
        _ = KnownPeople.of(None, tmp_path / "none.json").fingerprint
    path.write_text('{"1_1.jpg": [1, 0], "1_2.jpg": [0, 1], "2_1.jpg": [1, 1]}')
    found = KnownPeople.of(None, path).embeddings(None, "first", 1)  # type: ignore[arg-type]
    assert found.tolist() == [[1, 0], [1, 1]]
