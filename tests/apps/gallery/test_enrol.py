from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support_gallery_commands import GalleryCommands, write_rank_hash

from src.apps.gallery import enrolment
from src.errors import UserError
from src.models.cancellable.gallery import CancellableGallery


def test_everybody_has_one_number_and_every_photograph_a_row(
    gallery: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery("enrol", images=people)
    rows = gallery.rows()
    assert len(rows) == 54
    assert all(Path(row["image"]).parent == people / row["person"] for row in rows)
    with CancellableGallery.open(gallery.templates, gallery.identifiers) as opened:
        assert opened.pids == sorted(gallery.pids().values())
        assert opened.stats().templates == 54
        assert (opened.parameters.m, opened.parameters.bits, opened.parameters.flip) == (40, 3, False)
    printed = capsys.readouterr().out
    for text in ("54 photographs", "5 new", "5 people, 54 templates", "aligned by landmarks.csv", "54 rows", "Next: "):
        assert text in printed


def test_settings_of_a_new_gallery(gallery: GalleryCommands, people: Path) -> None:
    settings = {"flip": True, "lut_bits": 4, "lut_scope": "shared", "identifier": "prf", "threshold": 0.25}
    gallery("enrol", images=people, **settings)
    with CancellableGallery.open(gallery.templates, gallery.identifiers) as opened:
        made, stats = opened.parameters, opened.stats()
    assert (made.m, made.flip, made.bits, made.lut_scope, made.threshold) == (80, True, 4, "shared", 0.25)
    assert stats.identifier == "prf"
    gallery("enrol", images=people, **settings)
    for key, other in {"flip": False, "lut_bits": 3, "lut_scope": "per_position", "identifier": "csprng"}.items():
        with pytest.raises(Exception, match=f"{key}={other}: the gallery was made with {key}={settings[key]}"):
            gallery("enrol", images=people, **{key: other})


def test_what_is_enrolled_is_not_enrolled_again(
    gallery: GalleryCommands, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = Path(shutil.copytree(people, tmp_path / "images"))
    last = sorted(images.glob("*/*.jpg"))[-1]
    kept = last.read_bytes()
    last.unlink()
    gallery("enrol", images=images)
    before = gallery.pids()
    gallery("enrol", images=images)
    assert "holds all of 53 photographs already, nothing to do" in capsys.readouterr().out
    last.write_bytes(kept)
    gallery("enrol", images=images)
    assert "1 photograph; 53 enrolled before" in capsys.readouterr().out
    assert gallery.pids() == before
    with CancellableGallery.open(gallery.templates, gallery.identifiers) as opened:
        assert (len(opened), opened.stats().templates) == (5, 54)


def test_a_photograph_is_the_same_by_an_absolute_and_a_relative_path(
    enrolled: GalleryCommands, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = enrolled.people.read_bytes()
    monkeypatch.chdir(people.parent)
    enrolled("enrol", images=people.name)
    assert enrolled.people.read_bytes() == before


def test_steps_add_up(gallery: GalleryCommands, people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolment, "_STEP", 10)
    gallery("enrol", images=people, batch_size=4)
    assert len(gallery.rows()) == 54
    gallery("identify", images=people, k=1)
    numbers = gallery.pids()
    for row in gallery.rows(gallery.matches):
        assert (int(row["pid"]), float(row["score"])) == (numbers[Path(row["query"]).parent.name], 1.0)


def test_a_label_map_names_the_people(gallery: GalleryCommands, people: Path, tmp_path: Path) -> None:
    files = [path.relative_to(people).as_posix() for path in sorted(people.glob("*/*.jpg"))]
    (tmp_path / "map.csv").write_text(f"image,person\n{files[0]},one\n{files[-1]},two\n{files[1]},one\n")
    gallery("enrol", images=people, label_map=tmp_path / "map.csv")
    assert [row["person"] for row in gallery.rows()] == ["one", "one", "two"]


def test_unreadable_photographs_are_listed(
    gallery: GalleryCommands, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = Path(shutil.copytree(people, tmp_path / "images"))
    burnt = sorted(images.glob("*/*.jpg"))[0]
    burnt.write_bytes(b"burnt")
    with pytest.raises(Exception, match="1 of 54 photographs so far cannot be read") as error:
        gallery("enrol", images=images)
    assert isinstance(error.value.__cause__, UserError)
    gallery("enrol", images=images, max_bad_fraction=0.05)
    printed = capsys.readouterr()
    assert "53 photographs; 1 unreadable" in printed.out
    assert f"{burnt}: not a readable JPEG or PNG" in printed.err
    assert len(gallery.rows()) == 53
    gallery("enrol", images=images, max_bad_fraction=0.05)
    assert "0 photographs; 53 enrolled before; 1 unreadable" in capsys.readouterr().out
    with pytest.raises(Exception, match="1 of 54 photographs so far cannot be read"):
        gallery("enrol", images=images)


def test_no_photograph_can_be_read(gallery: GalleryCommands, tmp_path: Path) -> None:
    (tmp_path / "Ann").mkdir()
    (tmp_path / "Ann" / "1.jpg").write_bytes(b"burnt")
    with pytest.raises(Exception, match="no photograph can be read"):
        gallery("enrol", images=tmp_path, max_bad_fraction=1)


def test_people_whom_the_table_does_not_know(
    gallery: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = sorted(path for path in people.iterdir() if path.is_dir())[:2]
    gallery("enrol", images=first, named_by="file")
    gallery("enrol", images=second, named_by="file", out=gallery.people.with_name("others.csv"))
    assert f"not in it: {len(gallery.pids())} people of the gallery" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"images": "nowhere"}, "images=nowhere: there is no such folder"),
        ({"named_by": "hair"}, "named_by: expected folder or file, found 'hair'"),
        ({"label_map": "nowhere.csv"}, "label_map=nowhere.csv: cannot be read"),
        ({"ckpt_path": "nowhere.ckpt"}, "no weights file at nowhere.ckpt"),
        ({"out": "/proc/people.csv"}, "out=/proc/people.csv: cannot be written"),
        ({"templates": "same", "identifiers": "same"}, "expected two folders apart from each other"),
        ({"lut_bits": 0}, "bits=0"),
        ({"lut_scope": "each"}, "lut_scope: expected per_position or shared, found 'each'"),
        ({"identifier": "random"}, "identifier: expected csprng or prf, found 'random'"),
        ({"flip": "no"}, "flip: expected true or false, found 'no'"),
        ({"lut_bits": "abc"}, "lut_bits: expected a whole number, found 'abc'"),
        ({"threshold": "abc"}, "threshold: expected a number, found 'abc'"),
        ({"label_map": 2024}, "label_map: expected a path, found 2024"),
        ({"templates": 2024}, "templates: expected a path, found 2024"),
        ({"threshold": 2}, "threshold=2.0: expected a score from 0 to 1"),
    ],
)
def test_mistakes_show_before_anything_is_made(
    keys: dict[str, Any], message: str, gallery: GalleryCommands, people: Path
) -> None:
    with pytest.raises(Exception, match=message):
        gallery("enrol", **{"images": people} | keys)
    assert not gallery.templates.exists()
    assert not gallery.people.exists()


def test_another_network_and_another_table(enrolled: GalleryCommands, people: Path, tmp_path: Path) -> None:
    before = enrolled.people.read_bytes()
    other = write_rank_hash(tmp_path / "other.ckpt", people, seed=1)
    with pytest.raises(Exception, match="its codes are another model's"):
        enrolled("enrol", images=people, ckpt_path=other)
    with pytest.raises(Exception, match="is the table of another gallery"):
        enrolled("enrol", images=people, templates=tmp_path / "t", identifiers=tmp_path / "i")
    enrolled("enrol", images=people, templates=tmp_path / "t", identifiers=tmp_path / "i", out=tmp_path / "p.csv")
    with pytest.raises(Exception, match="nobody in it is in this gallery"):
        enrolled("enrol", images=people, templates=tmp_path / "t", identifiers=tmp_path / "i")
    assert enrolled.people.read_bytes() == before
