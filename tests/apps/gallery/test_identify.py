from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support_gallery_commands import GalleryCommands, write_rank_hash
from torch import Tensor

from src.models.cancellable.gallery import CancellableGallery, Matches


@pytest.mark.parametrize("metric", ["symbols", "bits"])
def test_photographs_that_were_enrolled_are_their_own_people(
    metric: str, gallery: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery("enrol", images=people, flip=True)
    numbers = gallery.pids()
    gallery("identify", images=people, k=3, metric=metric)
    rows = gallery.rows(gallery.matches)
    assert len(rows) == 54 * 3
    assert list(rows[0]) == ["query", "rank", "pid", "score"]
    best = [row for row in rows if row["rank"] == "1"]
    assert [int(row["pid"]) for row in best] == [numbers[Path(row["query"]).parent.name] for row in best]
    assert {row["score"] for row in best} == {"1.000000"}
    for start in range(0, len(rows), 3):
        three = rows[start : start + 3]
        assert [row["rank"] for row in three] == ["1", "2", "3"]
        assert len({row["pid"] for row in three}) == 3
        assert sorted((float(row["score"]) for row in three), reverse=True) == [float(row["score"]) for row in three]
    printed = capsys.readouterr().out
    for text in ("54, 54 of them with a candidate", "searched", "5 people", "162 rows", "and 34 more"):
        assert text in printed


def test_other_photographs_of_the_same_people(enrolled: GalleryCommands, people: Path, tmp_path: Path) -> None:
    for path in people.glob("*/*.jpg"):
        target = tmp_path / ("known" if int(path.stem[-4:]) % 2 else "new") / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for folder in ("known", "new"):
        table = (people / "landmarks.csv").read_text().splitlines()
        kept = [line for line in table[1:] if (tmp_path / folder / line.partition(",")[0]).exists()]
        (tmp_path / folder / "landmarks.csv").write_text("\n".join([table[0], *kept, ""]))
    halves = GalleryCommands(tmp_path / "halves", enrolled.checkpoint)
    halves("enrol", images=tmp_path / "known")
    halves("identify", images=tmp_path / "new", k=1)
    numbers, rows = halves.pids(), halves.rows(halves.matches)
    right = [int(row["pid"]) == numbers[Path(row["query"]).parent.name] for row in rows]
    assert len(right) >= 20
    assert sum(right) / len(right) > 0.6  # chance is 0.2


def test_one_file_and_names(enrolled: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = sorted(people.glob("*/*.jpg"))[20]
    enrolled("identify", images=query, people=enrolled.people)
    assert {row["query"] for row in enrolled.rows(enrolled.matches)} == {str(query)}
    assert len(enrolled.rows(enrolled.matches)) == 5  # there are no more people
    assert f"│ {query.parent.name:>14} │ 1.000 │" in " ".join(capsys.readouterr().out.split("\n"))


def test_the_threshold_of_the_gallery_and_that_of_a_search(gallery: GalleryCommands, people: Path) -> None:
    gallery("enrol", images=people, threshold=0.99)
    gallery("identify", images=people)
    assert len(gallery.rows(gallery.matches)) == 54
    gallery("identify", images=people, threshold=0)
    assert len(gallery.rows(gallery.matches)) == 270


def test_the_threshold_of_the_gallery_is_one_of_symbols(gallery: GalleryCommands, people: Path) -> None:
    gallery("enrol", images=people, threshold=0.99)
    with pytest.raises(Exception, match="give the threshold for metric=bits"):
        gallery("identify", images=people, metric="bits")
    gallery("identify", images=people, metric="bits", threshold=0.99)
    assert len(gallery.rows(gallery.matches)) == 54
    assert gallery.matches.stat().st_mode & 0o777 == 0o600


def test_more_candidates_than_people(enrolled: GalleryCommands, people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    identify = CancellableGallery.identify

    def note(self: CancellableGallery, codes: Tensor, k: int, *args: Any) -> Matches:
        asked.append(k)
        return identify(self, codes, k, *args)

    monkeypatch.setattr(CancellableGallery, "identify", note)
    enrolled("identify", images=people, k=10**9)
    assert set(asked) == {5}
    assert len(enrolled.rows(enrolled.matches)) == 54 * 5


def test_nobody_is_there(enrolled: GalleryCommands, people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    enrolled("revoke", pid="all")
    enrolled("identify", images=people)
    assert enrolled.matches.read_text() == "query,rank,pid,score\n"
    assert "54, 0 of them with a candidate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"k": 0}, "k=0: expected at least 1"),
        ({"threshold": -0.1}, "threshold=-0.1: expected a score from 0 to 1"),
        ({"threshold": "abc"}, "threshold: expected a number, found 'abc'"),
        ({"k": "auto"}, "k: expected a whole number, found 'auto'"),
        ({"people": 7}, "people: expected a path, found 7"),
        ({"metric": "words"}, "metric: expected bits or symbols, found 'words'"),
        ({"people": "nowhere.csv"}, "people=nowhere.csv: there is no such file"),
        ({"images": "nowhere"}, "images=nowhere: there is no such folder"),
        ({"templates": "nowhere"}, "nowhere: holds no gallery"),
        ({"out": "/proc/matches.csv"}, "out=/proc/matches.csv: cannot be written"),
    ],
)
def test_mistakes(keys: dict[str, Any], message: str, enrolled: GalleryCommands, people: Path) -> None:
    with pytest.raises(Exception, match=message):
        enrolled("identify", **{"images": people} | keys)
    assert not enrolled.matches.exists()


def test_another_network(enrolled: GalleryCommands, people: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="its codes are another model's"):
        enrolled("identify", images=people, ckpt_path=write_rank_hash(tmp_path / "other.ckpt", people, seed=1))
