"""`privface anonymize` and `recover` of images, as a user types them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support_anonymize import PASSPHRASE, SIZE, Commands, write_boxes, write_image

from src.apps.anonymize.sidecar import read_sidecar

BOX = (20, 16, 36, 40)
INSIDE = (slice(12, 44), slice(12, 44))
"""The square of 32 pixels around it."""


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path)).astype(int)


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    return write_boxes(tmp_path / "boxes.csv", ("a.png", *BOX))


def test_the_right_password_recovers_a_face_and_a_wrong_one_gives_another(
    privface: Commands, boxes: Path, tmp_path: Path
) -> None:
    original = write_image(tmp_path / "a.png").astype(int)
    printed = privface("anonymize", input=tmp_path / "a.png", out=tmp_path / "hidden.png", boxes=boxes)
    assert f"privface recover input={tmp_path / 'hidden.png'}" in printed
    hidden = pixels(tmp_path / "hidden.png")
    changed = (hidden != original).any(-1)
    assert changed[20:36, 20:36].all()
    changed[INSIDE] = False
    assert not changed.any()
    privface("recover", input=tmp_path / "hidden.png", out=tmp_path / "right.png")
    privface("recover", input=tmp_path / "hidden.png", out=tmp_path / "wrong.png", passphrase="another")
    right, wrong = pixels(tmp_path / "right.png"), pixels(tmp_path / "wrong.png")
    assert np.abs(right - original).max() <= 4
    assert np.abs(wrong - original)[20:36, 20:36].mean() > 4
    for found in (right, wrong):
        found[INSIDE] = original[INSIDE]
        assert (found == original).all()


def test_the_passphrase_is_nowhere(privface: Commands, boxes: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    out = tmp_path / "out"
    keys = {"input": tmp_path / "a.png", "boxes": boxes, "sheet": out / "sheets", "keep_original": True}
    privface("anonymize", out=out / "hidden.png", **keys)
    privface("recover", input=out / "hidden.png", out=out / "right.png")
    privface("recover", input=out / "hidden.png", out=out / "exact.png", exact=True)
    privface("recover", input=out / "hidden.png", out=out / "other.png", exact=True, passphrase="Falsch", fails=True)
    secrets = [PASSPHRASE.encode(), b"Falsch", b"4711"]
    files = [path for path in out.rglob("*") if path.is_file()]
    names = [
        "exact.png",
        "hidden.png",
        "hidden.png.json",
        "hidden.png.originals",
        "passwords.png",
        "right.png",
        "typos.png",
    ]
    assert sorted(path.name for path in files) == names
    for content in [*(path.read_bytes() for path in files), *(text.encode() for text in privface.printed)]:
        assert not any(secret in content for secret in secrets)


def test_a_password_on_the_command_line_is_refused_and_not_repeated(
    privface: Commands, boxes: Path, tmp_path: Path
) -> None:
    write_image(tmp_path / "a.png")
    keys = {"input": tmp_path / "a.png", "out": tmp_path / "b.png", "boxes": boxes}
    for password in ("Geheim1", "Geheim1=${x", "'Geheim1"):  # Hydra cannot read the last two, and would repeat them
        printed = privface("anonymize", fails=True, **keys, password=password)
        assert "never give it on the command line" in printed
        assert "Geheim1" not in printed
    assert not (tmp_path / "b.png").exists()


def test_without_a_terminal_the_ways_out_are_told(privface: Commands, boxes: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    keys = {"input": tmp_path / "a.png", "out": tmp_path / "b.png", "boxes": boxes}
    assert "NO_SUCH: there is no such environment" in privface("anonymize", fails=True, **keys, password_env="NO_SUCH")
    assert "the password is empty" in privface("anonymize", fails=True, **keys, passphrase="")
    (tmp_path / "p.txt").write_text("from a file\n")
    privface("anonymize", **keys, password_env="null", password_file=tmp_path / "p.txt")
    privface("recover", input=tmp_path / "b.png", out=tmp_path / "c.png", passphrase="from a file")
    assert np.abs(pixels(tmp_path / "c.png") - pixels(tmp_path / "a.png")).max() <= 4


def test_exact_recovery_is_bit_for_bit_or_nothing(privface: Commands, boxes: Path, tmp_path: Path) -> None:
    original, hidden = write_image(tmp_path / "a.png"), tmp_path / "hidden.png"
    privface("anonymize", input=tmp_path / "a.png", out=hidden, boxes=boxes, keep_original=True)
    privface("recover", input=hidden, out=tmp_path / "exact.png", exact=True, ckpt_path="null")
    assert (pixels(tmp_path / "exact.png") == original).all()
    kept = tmp_path / "hidden.png.originals"
    content = kept.read_bytes()
    for damaged in (content[:-1], content[:10], content + b"x", content[:40] + bytes([content[40] ^ 1]) + content[41:]):
        kept.write_bytes(damaged)
        printed = privface("recover", input=hidden, out=tmp_path / "no.png", exact=True, fails=True)
        assert str(kept) in printed
        assert not (tmp_path / "no.png").exists()
    kept.write_bytes(content)
    printed = privface("recover", input=hidden, out=tmp_path / "no.png", exact=True, passphrase="wrong", fails=True)
    assert "the password is another one, or the file was changed" in printed
    assert not (tmp_path / "no.png").exists()


def test_a_folder_keeps_its_tree_and_every_person_has_a_password(privface: Commands, tmp_path: Path) -> None:
    source, hidden, out = tmp_path / "in", tmp_path / "hidden", tmp_path / "out"
    files = ["anna/1.png", "anna/2.png", "bert/1.png", "c.jpg"]
    originals = {
        file: write_image(source / file, seed, height=32, width=32).astype(int) for seed, file in enumerate(files)
    }
    (source / "notes.txt").write_text("of nobody")
    printed = privface("anonymize", input=source, out=hidden, boxes="frame", password_per="person", batch_size=3)
    assert "1 file that" in printed
    salts = {}
    for file in files:
        sidecar = read_sidecar(hidden / Path(file).with_suffix(".png.json"))
        salts[file] = sidecar.frames[0][0].salt
        assert "anna" not in (hidden / Path(file).with_suffix(".png.json")).read_text()
    assert salts["anna/1.png"] == salts["anna/2.png"]
    assert len(set(salts.values())) == 3
    privface("recover", input=hidden, out=out, batch_size=3)
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    assert found == ["anna/1.png", "anna/2.png", "bert/1.png", "c.png"]
    for file in files:
        there = pixels(hidden / Path(file).with_suffix(".png"))
        assert np.abs(there - originals[file]).mean() > 1
        assert np.abs(pixels(out / Path(file).with_suffix(".png")) - originals[file]).max() <= 4


def test_overlapping_faces_are_recovered_in_the_opposite_order(privface: Commands, tmp_path: Path) -> None:
    original = write_image(tmp_path / "a.png").astype(int)
    rows = (("a.png", 20, 16, 36, 40, "x"), ("a.png", 30, 16, 46, 40, "y"))
    boxes = write_boxes(tmp_path / "b.csv", *rows, header="file,left,top,right,bottom,person")
    privface("anonymize", input=tmp_path / "a.png", out=tmp_path / "h.png", boxes=boxes, password_per="person")
    privface("recover", input=tmp_path / "h.png", out=tmp_path / "r.png")
    assert np.abs(pixels(tmp_path / "r.png") - original)[22:34, 22:44].max() <= 5


def test_what_files_tell_beside_pixels_is_left_out(privface: Commands, tmp_path: Path) -> None:
    image = Image.fromarray(np.tile(np.linspace(100, 150, 40, dtype=np.uint8)[:, None, None], (1, 60, 3)))
    exif = image.getexif()
    exif[0x0112], exif[0x010E] = 6, "Erika Mustermann"
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    privface("anonymize", input=tmp_path / "a.jpg", out=tmp_path / "h.png", boxes="frame")
    made = Image.open(tmp_path / "h.png")
    assert made.size == (40, 60)
    assert not made.getexif()
    assert b"Mustermann" not in (tmp_path / "h.png").read_bytes()


def test_transparency_is_kept(privface: Commands, tmp_path: Path) -> None:
    image = np.dstack([write_image(tmp_path / "x.png"), np.arange(64 * 80, dtype=np.uint8).reshape(64, 80)])
    Image.fromarray(image).save(tmp_path / "a.png")
    keys = {"boxes": "frame", "keep_original": True}
    privface("anonymize", input=tmp_path / "a.png", out=tmp_path / "h.png", **keys)
    assert (pixels(tmp_path / "h.png")[..., 3] == image[..., 3]).all()
    privface("recover", input=tmp_path / "h.png", out=tmp_path / "r.png", exact=True)
    assert (pixels(tmp_path / "r.png") == image).all()


def test_a_lossy_output_is_warned_of(privface: Commands, boxes: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    printed = privface("anonymize", input=tmp_path / "a.png", out=tmp_path / "h.jpg", boxes=boxes, lossy=True)
    assert "less of the original ones is recovered" in printed
    privface("recover", input=tmp_path / "h.jpg", out=tmp_path / "r.png")
    assert Image.open(tmp_path / "h.jpg").format == "JPEG"


def test_a_small_face_is_told(privface: Commands, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    boxes = write_boxes(tmp_path / "b.csv", ("a.png", 20, 20, 30, 30))
    printed = privface("anonymize", input=tmp_path / "a.png", out=tmp_path / "h.png", boxes=boxes)
    assert f"1 squares below the network's {SIZE} pixels" in printed
