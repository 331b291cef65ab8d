"""What `privface anonymize` and `recover` refuse, and what they leave as it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support_anonymize import Commands, write_boxes, write_checkpoint, write_image

BOX = (20, 16, 36, 40)


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    return write_boxes(tmp_path / "boxes.csv", ("a.png", *BOX))


def test_what_is_there_stays(privface: Commands, boxes: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    keys = {"input": tmp_path / "a.png", "boxes": boxes}
    for name in ("h.png", "h.png.json", "h.png.originals"):
        (tmp_path / name).write_text("precious")
        assert "are there already" in privface("anonymize", out=tmp_path / "h.png", fails=True, **keys)
        assert (tmp_path / name).read_text() == "precious"
        (tmp_path / name).unlink()
    (tmp_path / "h.png").write_text("old")
    privface("anonymize", out=tmp_path / "h.png", overwrite=True, **keys)
    assert np.array(Image.open(tmp_path / "h.png")).shape == (64, 80, 3)
    assert "is the input" in privface("anonymize", out=tmp_path / "a.png", overwrite=True, fails=True, **keys)


def test_mistakes_are_told_before_any_work(privface: Commands, boxes: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.png")
    keys = {"input": tmp_path / "in", "out": tmp_path / "out"}

    def refused(**others: object) -> str:
        printed = privface("anonymize", fails=True, **{**keys, **others})
        assert not (tmp_path / "out").exists()
        return printed

    assert "expected one of boxes=FILE.csv, boxes=frame" in refused()
    write_image(tmp_path / "in" / "b.png")
    assert "no box for 1 of 2 files, first: b.png" in refused(boxes=boxes)
    (tmp_path / "in" / "b.png").unlink()
    strange = write_boxes(tmp_path / "s.csv", ("a.png", *BOX), ("z.png", *BOX))
    assert "first: z.png" in refused(boxes=strange)
    wrong = write_boxes(tmp_path / "w.csv", ("a.png", 30, 16, 20, 40))
    assert "w.csv, line 2: expected" in refused(boxes=wrong)
    assert "there is no such file or folder" in refused(boxes=boxes, input=tmp_path / "none")
    assert "must not lie within each other" in refused(boxes=boxes, out=tmp_path / "in" / "out")
    assert "ends in .png" in refused(boxes=boxes, input=tmp_path / "in" / "a.png", out=tmp_path / "x.jpg")
    torch.save({"state_dict": {}}, tmp_path / "x.ckpt")
    assert "expected a checkpoint of python train.py" in refused(boxes=boxes, ckpt_path=tmp_path / "x.ckpt")
    (tmp_path / "in" / "a.png").write_bytes((tmp_path / "in" / "a.png").read_bytes()[:500])
    assert "1 of 1 images cannot be read" in refused(boxes=boxes)


def test_what_cannot_be_done_is_listed_and_all_else_is_done(privface: Commands, tmp_path: Path) -> None:
    for name in "abc":
        write_image(tmp_path / "in" / f"{name}.png")
    content = bytearray((tmp_path / "in" / "b.png").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "in" / "b.png").write_bytes(content)
    boxes = write_boxes(tmp_path / "b.csv", ("a.png", *BOX), ("b.png", *BOX), ("c.png", 500, 500, 520, 520))
    printed = privface("anonymize", input=tmp_path / "in", out=tmp_path / "out", boxes=boxes, fails=True)
    assert "2 files not anonymised and not written" in printed
    assert "c.png: no face was found on it" in printed
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "a.png.json"]


def test_a_sidecar_has_to_be_there_and_as_it_was(privface: Commands, boxes: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    hidden, sidecar = tmp_path / "h.png", tmp_path / "h.png.json"
    privface("anonymize", input=tmp_path / "a.png", out=hidden, boxes=boxes)
    content = sidecar.read_text()

    def refused(**keys: object) -> str:
        printed = privface("recover", fails=True, input=hidden, out=tmp_path / "r.png", **keys)
        assert not (tmp_path / "r.png").exists()
        return printed

    assert "keep_original=true only" in refused(exact=True)
    assert "passwords of 16 bits" in refused(ckpt_path=write_checkpoint(tmp_path / "32.ckpt", length=32))
    assert "anonymised with another network" in refused(ckpt_path=write_checkpoint(tmp_path / "s.ckpt", seed=1))
    changed = json.loads(content)
    changed["frames"][0][0][0] += 1
    for text, told in ((json.dumps(changed), "was changed"), (content[:50], "is damaged"), ("[]", "is damaged")):
        sidecar.write_text(text)
        assert f"{sidecar}: {told}" in refused()
    sidecar.unlink()
    assert f"no {sidecar}" in refused()
    sidecar.write_text(content)
    Image.open(hidden).resize((40, 40)).save(hidden)
    assert "is of 40x40 pixels, its sidecar tells 80x64" in refused()
