"""`privface anonymize` and `recover` of videos, as a user types them."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import av
import numpy as np
import pytest
from support_anonymize import Commands, read_video, resident, sound_packets, started, write_boxes, write_clip

from src.apps.anonymize.sidecar import read_sidecar

SQUARE = (slice(None), slice(12, 44), slice(12, 44))
BOX = (20, 16, 36, 40)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mkv")


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    return write_boxes(tmp_path / "boxes.csv", ("clip.mkv", *BOX))


def test_a_clip_is_anonymised_and_recovered(privface: Commands, clip: Path, boxes: Path, tmp_path: Path) -> None:
    original = read_video(clip).astype(int)
    hidden, right, wrong = (tmp_path / f"{name}.mkv" for name in ("hidden", "right", "wrong"))
    printed = privface("anonymize", input=clip, out=hidden, boxes=boxes, batch_size=5)
    assert "frames/s" in printed
    made = read_video(hidden).astype(int)
    assert made.shape == original.shape == (12, 64, 80, 3)
    privface("recover", input=hidden, out=right, batch_size=7)
    privface("recover", input=hidden, out=wrong, passphrase="another")
    found, other = read_video(right).astype(int), read_video(wrong).astype(int)
    assert np.abs(found - original).max() <= 4
    assert np.abs(other - original)[SQUARE].mean() > 3
    for frames in (made, found, other):
        assert np.abs(frames - original)[SQUARE].any(axis=(1, 2, 3)).all() or frames is found
        frames[SQUARE] = original[SQUARE]
        assert (frames == original).all()
    assert sound_packets(clip) == sound_packets(hidden) == sound_packets(right)
    assert sound_packets(clip)


def test_times_of_frames_are_kept_and_tags_are_not(privface: Commands, clip: Path, boxes: Path, tmp_path: Path) -> None:
    privface("anonymize", input=clip, out=tmp_path / "hidden.mkv", boxes=boxes)
    assert b"Mustermann" in clip.read_bytes()
    assert b"Mustermann" not in (tmp_path / "hidden.mkv").read_bytes()
    times = []
    for path in (clip, tmp_path / "hidden.mkv"):
        with av.open(str(path)) as source:
            times.append([frame.time for frame in source.decode(video=0)])
    assert times[0] == pytest.approx(times[1], abs=1e-3)


def test_exact_recovery_is_bit_for_bit(privface: Commands, clip: Path, boxes: Path, tmp_path: Path) -> None:
    hidden, exact = tmp_path / "hidden.mkv", tmp_path / "exact.mkv"
    privface("anonymize", input=clip, out=hidden, boxes=boxes, keep_original=True)
    privface("recover", input=hidden, out=exact, exact=True, ckpt_path="null")
    assert (read_video(exact) == read_video(clip)).all()
    kept = tmp_path / "hidden.mkv.originals"
    kept.write_bytes(kept.read_bytes()[:-5])
    assert "was changed" in privface("recover", input=hidden, out=tmp_path / "no.mkv", exact=True, fails=True)
    assert not list(tmp_path.glob("*no.mkv*"))
    recovered = bytearray(hidden.read_bytes())
    recovered[len(recovered) // 2 : len(recovered) // 2 + 200] = bytes(200)
    hidden.write_bytes(recovered)
    assert "hidden.mkv: is damaged about frame " in privface(
        "recover", input=hidden, out=tmp_path / "no.mkv", fails=True
    )
    assert not list(tmp_path.glob("*no.mkv*"))


def test_frames_without_a_face_are_counted(privface: Commands, clip: Path, tmp_path: Path) -> None:
    rows = [("clip.mkv", frame, *BOX, "x") for frame in (2, 3, 4)] + [("clip.mkv", 4, 44, 16, 60, 40, "y")]
    boxes = write_boxes(tmp_path / "boxes.csv", *rows, header="file,frame,left,top,right,bottom,person")
    hidden = tmp_path / "hidden.mkv"
    printed = privface("anonymize", input=clip, out=hidden, boxes=boxes, password_per="person")
    assert "9 frames are as they were: no face was found on them" in printed
    counts = [len(faces) for faces in read_sidecar(tmp_path / "hidden.mkv.json").frames]
    assert counts == [0, 0, 1, 1, 2, *[0] * 7]
    privface("recover", input=hidden, out=tmp_path / "right.mkv")
    original = read_video(clip).astype(int)
    assert np.abs(read_video(tmp_path / "right.mkv") - original).max() <= 4
    assert (read_video(hidden)[5:] == original[5:]).all()


def test_a_clip_without_any_face_is_not_written(privface: Commands, clip: Path, tmp_path: Path) -> None:
    boxes = write_boxes(tmp_path / "b.csv", ("clip.mkv", 500, *BOX), header="file,frame,left,top,right,bottom")
    printed = privface("anonymize", input=clip, out=tmp_path / "h.mkv", boxes=boxes, fails=True)
    assert "no face was found on any of 12 frames" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.csv", "clip.mkv"]


def test_mistakes(privface: Commands, boxes: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", codec="mpeg4")
    keys = {"input": clip, "out": tmp_path / "h.mkv", "boxes": boxes}

    def refused(**others: object) -> str:
        printed = privface("anonymize", fails=True, **{**keys, **others})
        assert not list(tmp_path.glob("*h.m*"))
        return printed

    assert "expected the name of a file that ends in .mkv" in refused(out=tmp_path / "h.mp4")
    (tmp_path / "text.mkv").write_text("no video")
    assert "or a video that FFmpeg reads" in refused(input=tmp_path / "text.mkv", boxes="frame")
    content = bytearray(clip.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    (tmp_path / "damaged.mkv").write_bytes(content)
    assert "damaged.mkv: is damaged about frame " in refused(input=tmp_path / "damaged.mkv", boxes="frame")


def test_a_clip_of_another_length_is_refused(privface: Commands, clip: Path, boxes: Path, tmp_path: Path) -> None:
    privface("anonymize", input=clip, out=tmp_path / "h.mkv", boxes=boxes)
    for frames, told in ((11, "fewer"), (13, "more")):
        write_clip(tmp_path / "h.mkv", frames)
        assert f"has {told} frames than the 12" in privface(
            "recover", input=tmp_path / "h.mkv", out=tmp_path / "r.mkv", fails=True
        )
        assert not list(tmp_path.glob("*r.mkv*"))


def test_lossy_clips(privface: Commands, clip: Path, boxes: Path, tmp_path: Path) -> None:
    privface("anonymize", input=clip, out=tmp_path / "h.mp4", boxes=boxes, lossy=True)
    assert sound_packets(tmp_path / "h.mp4") == sound_packets(clip)
    privface("recover", input=tmp_path / "h.mp4", out=tmp_path / "r.mkv")
    assert np.abs(read_video(tmp_path / "r.mkv").astype(int) - read_video(clip)).mean() < 8


def test_killed_or_not_memory_is_flat_and_no_half_file_is_left(checkpoint: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 600, height=240, width=320)
    hidden = tmp_path / "out" / "hidden.mkv"
    process = started(checkpoint, clip, hidden)
    sizes = []
    while process.poll() is None:
        written = [path.stat().st_size for path in tmp_path.glob(f"out/.hidden.mkv.{process.pid}.tmp")]
        if written and written[0] > 2**20:
            sizes.append(resident(process.pid))
        if len(sizes) == 40:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.02)
    process.wait()
    assert len(sizes) == 40
    assert max(sizes) - sizes[5] < 30 * 2**20
    assert not hidden.exists()
    process = started(checkpoint, clip, hidden)
    while process.poll() is None and not list(tmp_path.glob(f"out/.hidden.mkv.{process.pid}.tmp")):
        time.sleep(0.02)
    process.terminate()
    assert b"Stopped. What is complete is in" in process.communicate()[1]
    assert process.returncode == 130
    assert not hidden.exists()
    assert not list(tmp_path.glob(f"out/*.{process.pid}.tmp"))
