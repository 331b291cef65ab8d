"""`privface gallery` as a user types it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from support_gallery_commands import GalleryCommands

from src.apps.overrides import CONF


@pytest.mark.slow
def test_a_gallery_from_its_beginning_to_its_end(gallery: GalleryCommands, people: Path) -> None:
    status, output, errors = gallery.type("enrol", f"images={people}", "flip=true", "threshold=0.9")
    assert (status, "54 photographs" in output, "enrolling" in errors) == (0, True, True), errors
    numbers = gallery.pids()
    first, *others = sorted(numbers.values())
    status, output, errors = gallery.type("identify", f"images={people}", "k=1", f"people={gallery.people}")
    assert (status, "54 of them with a candidate" in output) == (0, True), errors
    assert {int(row["pid"]) for row in gallery.rows(gallery.matches)} == set(numbers.values())
    status, output, errors = gallery.type("renew", str(first), str(others[0]))
    assert (status, "of 2 people" in output) == (0, True), errors
    status, output, errors = gallery.type("renew", "all")
    assert (status, "Renewed 54 templates of 5 people" in output) == (0, True), errors
    status, output, errors = gallery.type("revoke", f"pid={first}")
    assert (status, "of 1 person" in output) == (0, True), errors
    status, _, errors = gallery.type("revoke", str(first))
    assert (status, f"the first is {first}; nothing was changed" in errors) == (1, True), errors
    status, output, errors = gallery.type("stats")
    assert (status, output.split()[:2]) == (0, ["people", "4"]), errors
    status, output, errors = gallery.type("audit")
    assert (status, "nothing is wrong" in output) == (0, True), errors
    (gallery.templates / "00000099.drht").write_bytes(b"")
    assert gallery.type("audit")[0] == 1
    assert gallery.type("audit", "--repair")[0] == 0


def many(people: Path, folder: Path) -> Path:
    """3,240 photographs, 60 copies of each."""
    for path in people.glob("*/*.jpg"):
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        for copy in range(60):
            os.link(path, folder / path.parent.name / f"{path.stem}_{copy}.jpg")
    return folder


def stop_while_enrolling(gallery: GalleryCommands, images: Path, signum: signal.Signals) -> tuple[int, str]:
    process = gallery.start("enrol", f"images={images}", "batch_size=1")
    end = time.monotonic() + 120
    while not gallery.people.exists():  # written after the first 2,048 photographs
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_enrolment_that_was_stopped_goes_on(
    signum: signal.Signals, gallery: GalleryCommands, people: Path, tmp_path: Path
) -> None:
    images = many(people, tmp_path / "images")
    status, errors = stop_while_enrolling(gallery, images, signum)
    if signum == signal.SIGKILL:
        assert status == -signal.SIGKILL
    else:
        assert status == 130
        assert "Stopped. What was enrolled so far is in the gallery" in errors
        assert "Traceback" not in errors
        assert 2048 <= len(gallery.rows()) < 3240
        gallery("audit")
    gallery("enrol", images=images)
    assert len(gallery.rows()) == 3240
    assert len(gallery.pids()) == 5
    gallery("audit", repair=True, people=gallery.people)
    gallery("identify", images=people, k=1, threshold=0)
    found = {Path(row["query"]).parent.name: int(row["pid"]) for row in gallery.rows(gallery.matches)}
    assert found.keys() == gallery.pids().keys()


@pytest.mark.parametrize("command", ["enrol", "identify", "renew", "revoke", "audit", "stats"])
def test_help_says_what_a_command_does_and_how_it_is_typed(command: str) -> None:
    described, usage = (CONF / "app" / "gallery" / f"{command}.yaml").read_text().splitlines()[1:3]
    assert described.startswith("# ")
    assert len(described) < 100
    assert usage.startswith(f"# privface gallery {command} ")
