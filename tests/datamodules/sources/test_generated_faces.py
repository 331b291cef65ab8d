"""Synthetic people as a collection."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support_source import picture

from src.datamodules.sources.generated_faces import GeneratedFaces, sample_file
from src.errors import UserError


def _write(root: Path, people: int, samples: int) -> list[dict[str, int]]:
    rows = [{"id": person, "sample": sample} for person in range(people) for sample in range(samples)]
    for number, row in enumerate(rows):
        for spectrum in ("VIS", "NIR"):
            path = root / sample_file(row["id"], row["sample"], spectrum)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(2 * number + (spectrum == "NIR"), 16, 16, kind="PNG"))
    (root / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def test_rows(tmp_path: Path) -> None:
    _write(tmp_path, people=12, samples=2)
    source = GeneratedFaces(tmp_path)
    assert source.modalities == ("image", "nir")
    assert source.classes == [f"id_{person}" for person in range(12)]
    assert np.array_equal(source.labels, np.repeat(np.arange(12), 2))
    assert source.key(5) == "id_2/VIS/sample_1_VIS.png"
    assert source.content(5, "nir") == (tmp_path / "id_2/NIR/sample_1_NIR.png").read_bytes()


@pytest.mark.parametrize("line", ['{"id": 0}', '{"id": "../x", "sample": 0}', "[1]", "{"])
def test_damaged_lists(line: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text(f"{line}\n")
    with pytest.raises(UserError, match=r"manifest\.jsonl: damaged"):
        GeneratedFaces(tmp_path)
    (tmp_path / "manifest.jsonl").unlink()
    with pytest.raises(UserError, match="is missing"):
        GeneratedFaces(tmp_path)
