from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support_ijb import TEMPLATES, write_ijb

from src.datamodules import ijb_files
from src.datamodules.ijb_files import read_ijb
from src.errors import UserError

META = (
    "face_tid_mid.txt", "name_5pts_score.txt", "template_pair_label.txt",
    "1N_gallery_G1.csv", "1N_gallery_G2.csv", "1N_probe_mixed.csv",
)  # fmt: skip


@pytest.fixture(scope="module")
def image(make_image: Callable[..., bytes]) -> bytes:
    return make_image(0, 144, 144)


@pytest.fixture
def root(tmp_path: Path, image: bytes) -> Path:
    return write_ijb(tmp_path / "IJBC", image)


def edit(root: Path, file: str, old: str, new: str) -> None:
    path = root / "meta" / f"ijbc_{file}"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_set(root: Path) -> None:
    ijb = read_ijb(root)
    assert ijb.name == "ijbc"
    assert [image.path.name for image in ijb.images] == [f"{number}.jpg" for number in range(1, 9)]
    assert ijb.template.tolist() == [2, 2, 0, 0, 0, 1, 3, 3]
    assert ijb.medium.tolist() == [5, 5, 1, 1, 2, 5, 6, 7]
    np.testing.assert_allclose(ijb.weight, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    assert ijb.images[0].landmarks[2].tolist() == pytest.approx([56.025, 71.737])
    assert ijb.images[7].load(112).shape == (112, 112, 3)
    assert ijb.pairs is not None
    assert (ijb.pairs.first.tolist(), ijb.pairs.second.tolist()) == ([0, 0, 1, 1], [2, 3, 2, 3])
    assert ijb.pairs.same.tolist() == [True, False, False, True]
    assert [(s.gallery.tolist(), s.gallery_subject.tolist()) for s in ijb.searches] == [([0], [1]), ([1], [2])]
    assert [(s.probe.tolist(), s.probe_subject.tolist()) for s in ijb.searches] == [([2, 3], [1, 2])] * 2
    assert ijb.unaligned == 0


def test_ijbb(tmp_path: Path, image: bytes) -> None:
    ijb = read_ijb(write_ijb(tmp_path, image, "ijbb"), release="ijbb")
    assert (ijb.name, len(ijb), len(ijb.searches)) == ("ijbb", 4, 2)


def test_large_template_ids(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read_ijb(root).pairs
    monkeypatch.setattr(ijb_files, "_LARGEST_TABLE", 0)
    actual = read_ijb(root).pairs
    assert expected is not None
    assert actual is not None
    np.testing.assert_array_equal(actual.first, expected.first)
    np.testing.assert_array_equal(actual.second, expected.second)
    edit(root, "template_pair_label.txt", "20 40", "15 2147483647")
    with pytest.raises(UserError, match="1 templates have no image, first: 15"):
        read_ijb(root)


def test_pairs_are_kept_in_the_cache(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    read_ijb(root, cache=cache)
    assert len(list(cache.iterdir())) == 1
    pairs = read_ijb(root, cache=str(cache)).pairs
    assert pairs is not None
    assert pairs.second.tolist() == [2, 3, 2, 3]


def test_all_missing_files_are_listed(root: Path) -> None:
    (root / "meta/ijbc_1N_gallery_G2.csv").unlink()
    (root / "meta/ijbc_face_tid_mid.txt").unlink()
    (root / "loose_crop").rename(root / "crops")
    with pytest.raises(UserError, match=r"IJBC: missing meta/ijbc_face_tid_mid\.txt, meta/ijbc_1N_gallery_G2\.csv, "
                       r"loose_crop$"):  # fmt: skip
        read_ijb(root)
    with pytest.raises(UserError, match=r"missing meta/ijbb_face_tid_mid\.txt, .*gallery_S1"):
        read_ijb(root, release="ijbb")


def test_missing_images(root: Path) -> None:
    for name in ("2.jpg", "7.jpg"):
        (root / "loose_crop" / name).unlink()
    with pytest.raises(UserError, match=r"loose_crop: 2 of 8 images of ijbc_face_tid_mid\.txt are missing, "
                       r"first: '2\.jpg', '7\.jpg'"):  # fmt: skip
        read_ijb(root)


def test_unknown_release(root: Path) -> None:
    with pytest.raises(UserError, match="release: expected ijbb or ijbc, found 'ijba'"):
        read_ijb(root, release="ijba")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("face_tid_mid.txt", "3.jpg 10", "3.jpg x", r"face_tid_mid\.txt, line 3: expected `image template medium`"),
        ("face_tid_mid.txt", "8.jpg 40 7\n", "", r"8 lines, but ijbc_face_tid_mid\.txt has 7"),
        ("name_5pts_score.txt", "3.jpg", "9.jpg", r"line 3: image '9\.jpg', but ijbc_face_tid_mid\.txt has '3\.jpg'"),
        ("name_5pts_score.txt", " 0.7", "", r"name_5pts_score\.txt, line 3: expected `image x1 y1 .* x5 y5 score`"),
        ("name_5pts_score.txt", " 0.7", " nan", r"1 detector scores are .* not finite, first: nan of '3\.jpg'"),
        ("name_5pts_score.txt", " 0.7", " 1e99", r"1 detector scores are negative or not finite, first: inf"),
        ("template_pair_label.txt", "20 40 1", "20 40", "line 4: expected `template template label`"),
        ("template_pair_label.txt", "20 40 1", "20 40 2", "label 2 of pair 4; expected 1"),
        ("template_pair_label.txt", "20 40 1", "20 41 1", r"label\.txt: 1 templates have no image, first: 41"),
        ("1N_gallery_G1.csv", "SUBJECT_ID", "SUBJECT", r"the first columns are \['TEMPLATE_ID', 'SUBJECT'\]"),
        ("1N_probe_mixed.csv", "30,1,img/1", "30,2,img/1", "line 3: template 30 is of subject 2, but of 1 further up"),
        ("1N_probe_mixed.csv", "40,2", "50,2", r"probe_mixed\.csv: 1 templates have no image, first: 50"),
        ("1N_probe_mixed.csv", "40,2", "x,2", r"line 4: expected `TEMPLATE_ID,SUBJECT_ID`, found \('x', '2'\)"),
        ("1N_probe_mixed.csv", "40,2,img/6.jpg", "40", r"line 4: expected `TEMPLATE_ID,SUBJECT_ID`"),
        ("1N_gallery_G2.csv", "20,2,img/5.jpg\n", "", r"gallery_G2\.csv: holds no templates"),
        ("1N_gallery_G2.csv", "20,2", "\0", "(no readable CSV file|line 2: expected)"),
        ("1N_gallery_G2.csv", "img", '"' + "x" * 200_000, "no readable CSV file"),
    ],
)  # fmt: skip
def test_malformed_files(root: Path, file: str, old: str, new: str, message: str) -> None:
    edit(root, file, old, new)
    with pytest.raises(UserError, match=message):
        read_ijb(root)


def test_names_never_become_paths(root: Path) -> None:
    for name in ("../3.jpg", "..", "a\0b"):
        for file in ("face_tid_mid.txt", "name_5pts_score.txt"):
            path = root / "meta" / f"ijbc_{file}"
            path.write_text("\n".join(f"{name} {line.split(' ', 1)[1]}" for line in path.read_text().splitlines()))
        with pytest.raises(UserError, match="is no name of a file in loose_crop"):
            read_ijb(root)


def test_pairs_of_one_kind_only(root: Path) -> None:
    (root / "meta/ijbc_template_pair_label.txt").write_text("10 30 1\n")
    with pytest.raises(UserError, match="1 pairs, but not both of the same and of different persons"):
        read_ijb(root)


def test_files_without_lines(root: Path) -> None:
    for file in ("face_tid_mid.txt", "name_5pts_score.txt"):
        (root / "meta" / f"ijbc_{file}").write_text("")
    with pytest.raises(UserError, match=r"face_tid_mid\.txt: holds no lines"):
        read_ijb(root)


def test_crops_without_usable_landmarks_are_counted(root: Path) -> None:
    path = root / "meta/ijbc_name_5pts_score.txt"
    lines = path.read_text().splitlines()
    lines[1] = "2.jpg " + "7 " * 10 + "0.1"
    lines[4] = "5.jpg nan 1e99" + " 7" * 8 + " 0.1"
    path.write_text("\n".join(lines))
    ijb = read_ijb(root)
    assert ijb.unaligned == 2
    assert all(image.load(112).shape == (112, 112, 3) for image in ijb.images)


def test_byte_order_mark_quotes_and_empty_lines_in_csv(root: Path) -> None:
    path = root / "meta/ijbc_1N_probe_mixed.csv"
    path.write_text('\ufeffTEMPLATE_ID, SUBJECT_ID\r\n"30","1"\r\n\r\n40,2\r\n', newline="")
    assert read_ijb(root).searches[0].probe_subject.tolist() == [1, 2]


@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_give_a_set_or_a_message(root: Path, data: st.DataObject) -> None:
    path = root / "meta" / f"ijbc_{data.draw(st.sampled_from(META))}"
    original = path.read_bytes()
    start = data.draw(st.integers(0, len(original)))
    end = min(len(original), start + data.draw(st.integers(0, 20)))
    path.write_bytes(original[:start] + data.draw(st.binary(max_size=20)) + original[end:])
    with suppress(UserError):
        assert len(read_ijb(root).images) <= len(TEMPLATES)
    path.write_bytes(original)
