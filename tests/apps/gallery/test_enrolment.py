"""Enrolments that were killed, and people who were revoked."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_gallery_commands import GalleryCommands

from src.apps.gallery import enrolment
from src.apps.gallery.people_table import PeopleTable
from src.models.cancellable.gallery import CancellableGallery


class Killed(BaseException):
    """In place of a kill."""


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *, after: bool, count: int) -> None:
    """Stop at the ``count``-th call of a method, before or after it."""
    method = getattr(owner, name)
    calls: list[int] = []

    def call(self: object, *args: object) -> object:
        calls.append(1)
        if len(calls) == count and not after:
            raise Killed
        answer = method(self, *args)
        if len(calls) == count:
            raise Killed
        return answer

    monkeypatch.setattr(owner, name, call)


def killed(
    gallery: GalleryCommands, people: Path, owner: type, name: str, *, after: bool, count: int = 1, **keys: object
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, owner, name, after=after, count=count)
        with pytest.raises(Killed):
            gallery("enrol", images=people, **keys)


def templates_of(gallery: GalleryCommands) -> tuple[int, int]:
    """People and templates; everybody in the gallery has a name."""
    with CancellableGallery.open(gallery.templates, gallery.identifiers) as opened:
        assert set(opened.pids) <= {row.pid for row in PeopleTable(gallery.people)}
        return len(opened), opened.stats().templates


def first_person(people: Path, path: Path) -> Path:
    """A label map of the photographs of one person."""
    first = min(folder.name for folder in people.iterdir() if folder.is_dir())
    rows = [f"{first}/{photograph.name},{first}" for photograph in sorted((people / first).glob("*.jpg"))]
    path.write_text("\n".join(["image,person", *rows, ""]))
    return path


POINTS = [
    (PeopleTable, "announce", False),
    (PeopleTable, "announce", True),
    (CancellableGallery, "enrol", True),
    (PeopleTable, "withdraw", False),
    (PeopleTable, "withdraw", True),
]


@pytest.mark.parametrize(("owner", "name", "after"), POINTS)
def test_an_enrolment_that_was_killed_leaves_nobody_twice_and_nobody_without_a_name(
    owner: type, name: str, after: bool, gallery: GalleryCommands, people: Path
) -> None:
    killed(gallery, people, owner, name, after=after)
    gallery("enrol", images=people)
    assert templates_of(gallery) == (5, 54)
    assert len(gallery.rows()) == 54
    assert len(gallery.pids()) == 5
    assert not gallery.people.with_name("people.csv.pending").exists()


@pytest.mark.parametrize(("owner", "name", "after"), POINTS[1:4])
def test_killed_while_people_who_are_known_get_further_templates(
    owner: type, name: str, after: bool, gallery: GalleryCommands, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrolment, "_STEP", 5)  # the second batch is of the first person, too
    killed(gallery, people, owner, name, after=after, count=2, batch_size=5)
    gallery("enrol", images=people)
    found, templates = templates_of(gallery)
    assert (found, len(gallery.rows()), len(gallery.pids())) == (5, 54, 5)
    # Nothing tells whether a batch without new people was enrolled, so it may be enrolled twice, never not at all.
    assert templates in (54, 59)


def test_a_killed_enrolment_into_a_gallery_that_was_changed_since(
    gallery: GalleryCommands, people: Path, tmp_path: Path
) -> None:
    gallery("enrol", images=people, label_map=first_person(people, tmp_path / "first.csv"))
    killed(gallery, people, CancellableGallery, "enrol", after=False)
    gallery("renew", pid="all")
    with pytest.raises(Exception, match="cannot be told whether its 4 people were revoked or"):
        gallery("enrol", images=people)
    gallery.people.with_name("people.csv.pending").unlink()
    gallery("enrol", images=people)
    assert templates_of(gallery) == (5, 54)


def test_people_who_were_revoked_after_a_kill_are_not_enrolled_again(
    gallery: GalleryCommands, people: Path, tmp_path: Path
) -> None:
    first = first_person(people, tmp_path / "first.csv")
    killed(gallery, people, CancellableGallery, "enrol", after=True, label_map=first)
    gallery("revoke", pid="all")
    with pytest.raises(Exception, match="cannot be told whether its 1 people were revoked"):
        gallery("enrol", images=people)


def test_a_killed_enrolment_into_another_gallery(gallery: GalleryCommands, people: Path, tmp_path: Path) -> None:
    killed(gallery, people, CancellableGallery, "enrol", after=True)
    other = {"templates": tmp_path / "t", "identifiers": tmp_path / "i"}
    with pytest.raises(Exception, match="is the table of another gallery"):
        gallery("enrol", images=people, **other)
    gallery("enrol", images=people, out=tmp_path / "other.csv", **other)
    with pytest.raises(Exception, match="is of an interrupted enrolment into another gallery"):
        gallery("enrol", images=people, **other)


def test_who_was_revoked_is_enrolled_again_only_without_rows(
    enrolled: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = enrolled.pids()
    name = min(before)
    photographs = sum(row["person"] == name for row in enrolled.rows())
    enrolled("revoke", pid=before[name])
    capsys.readouterr()
    enrolled("enrol", images=people)
    assert templates_of(enrolled) == (4, 54 - photographs)
    printed = capsys.readouterr()
    assert f"left out {photographs} photographs of 1 person" in printed.err
    assert f"they were revoked: {name}. To enrol them again delete their rows there" in printed.err
    assert f"holds all of {54 - photographs} photographs already" in printed.out
    lines = enrolled.people.read_text().splitlines()
    enrolled.people.write_text("\n".join([line for line in lines if f",{name}," not in line] + [""]))
    enrolled("enrol", images=people)
    after = enrolled.pids()
    assert after.pop(name) != before.pop(name)
    assert after == before
    assert templates_of(enrolled) == (5, 54)


def test_new_photographs_of_somebody_who_was_revoked_stay_out(
    gallery: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [(path.relative_to(people).as_posix(), path.parent.name) for path in sorted(people.glob("*/*.jpg"))]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["image,person", *(",".join(row) for row in rows[1:]), ""]))
    gallery("enrol", images=people, label_map=labels)
    gallery("revoke", pid=gallery.pids()[rows[0][1]])
    before = gallery.people.read_bytes()
    gallery("enrol", images=people)
    assert gallery.people.read_bytes() == before
    assert f"they were revoked: {rows[0][1]}" in capsys.readouterr().err


def test_when_all_were_revoked_the_table_says_so(enrolled: GalleryCommands, people: Path) -> None:
    enrolled("revoke", pid="all")
    with pytest.raises(Exception, match=r"all of them were revoked; .* delete the rows of those whom to enrol again"):
        enrolled("enrol", images=people)
