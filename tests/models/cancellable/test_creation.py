from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from support_gallery import PARAMETERS, random_codes

from src.errors import UserError
from src.models.cancellable.gallery import CancellableGallery


def test_the_stores_share_no_file_and_templates_hold_no_secret(
    gallery: CancellableGallery, folders: tuple[Path, Path]
) -> None:
    gallery.enrol(random_codes(3))
    secrets = gallery._identifiers.secrets
    public = b"".join(path.read_bytes() for path in folders[0].iterdir())
    for secret in (secrets.lut_seed, secrets.master_key or secrets.lut_seed):
        assert secret.encode() not in public
        assert bytes.fromhex(secret) not in public
    assert folders[1].stat().st_mode & 0o777 == 0o700


def test_refuses_folders_that_hold_a_gallery(tmp_path: Path) -> None:
    CancellableGallery.create(tmp_path / "t", tmp_path / "i", PARAMETERS).close()
    with pytest.raises(UserError, match="t: holds a gallery already"):
        CancellableGallery.create(tmp_path / "t", tmp_path / "other", PARAMETERS)
    with pytest.raises(UserError, match="i: holds the identifiers of another gallery"):
        CancellableGallery.create(tmp_path / "other", tmp_path / "i", PARAMETERS)
    with pytest.raises(UserError, match="identifier: expected csprng or prf"):
        CancellableGallery.create(tmp_path / "t2", tmp_path / "i2", PARAMETERS, "mt19937")


def test_refuses_folders_in_one_another(tmp_path: Path) -> None:
    for templates, identifiers in (("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "b/../a")):
        for use in (CancellableGallery.open, lambda *folders: CancellableGallery.create(*folders, PARAMETERS)):
            with pytest.raises(UserError, match="two folders apart"):
                use(tmp_path / templates, tmp_path / identifiers)
    assert not list(tmp_path.iterdir())


def test_refuses_the_identifiers_of_another_gallery(tmp_path: Path) -> None:
    for name in "ab":
        CancellableGallery.create(tmp_path / name / "t", tmp_path / name / "i", PARAMETERS).close()
    with pytest.raises(UserError, match="of another gallery than that of"):
        CancellableGallery.open(tmp_path / "a" / "t", tmp_path / "b" / "i")
    with pytest.raises(UserError, match="no such folder"):
        CancellableGallery.open(tmp_path / "a" / "t", tmp_path / "c")
    with pytest.raises(UserError, match="holds no gallery"):
        CancellableGallery.open(tmp_path / "c", tmp_path / "b" / "i")


def test_both_folders_may_be_moved(gallery: CancellableGallery, folders: tuple[Path, Path], tmp_path: Path) -> None:
    codes = random_codes(3)
    pids = gallery.enrol(codes)
    gallery.close()
    for folder, new in zip(folders, ("x", "y"), strict=True):
        shutil.move(folder, tmp_path / new)
    moved = CancellableGallery.open(tmp_path / "x", tmp_path / "y")
    assert moved.identify(codes, 1).pids[:, 0].tolist() == pids


def test_refuses_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "notes").write_text("")
    with pytest.raises(UserError, match=r"i: holds no secrets\.json: not a folder of identifiers"):
        CancellableGallery.create(tmp_path / "t", tmp_path / "i", PARAMETERS)
    assert [path.name for path in tmp_path.rglob("*")] == ["i", "notes"]
    CancellableGallery.create(tmp_path / "t", tmp_path / "other", PARAMETERS).close()
    with pytest.raises(UserError, match=r"i: holds no secrets\.json: not a folder of identifiers"):
        CancellableGallery.open(tmp_path / "t", tmp_path / "i", write=True)
    assert [path.name for path in (tmp_path / "i").iterdir()] == ["notes"]


def test_lost_parameters_do_not_make_a_used_folder_new(gallery: CancellableGallery, folders: tuple[Path, Path]) -> None:
    codes = random_codes(3)
    pids = gallery.enrol(codes)
    gallery.close()
    (folders[0] / "parameters.json").rename(folders[0] / "elsewhere")
    index = (folders[0] / "index.json").read_bytes()
    for identifiers in (folders[1], folders[1].with_name("new")):
        for use in (CancellableGallery.open, lambda *folders: CancellableGallery.create(*folders, PARAMETERS)):
            with pytest.raises(UserError, match=r"no parameters\.json; restore parameters\.json from a copy"):
                use(folders[0], identifiers)
    (folders[0] / "index.json").unlink()
    with pytest.raises(UserError, match=r"no parameters\.json; restore"):
        CancellableGallery.create(folders[0], folders[1], PARAMETERS)
    (folders[0] / "index.json").write_bytes(index)
    (folders[0] / "elsewhere").rename(folders[0] / "parameters.json")
    assert CancellableGallery.open(*folders).identify(codes, 1).pids[:, 0].tolist() == pids


def test_a_gallery_that_all_have_left_is_used_too(gallery: CancellableGallery, folders: tuple[Path, Path]) -> None:
    gallery.revoke(gallery.enrol(random_codes(3)))
    gallery.close()
    (folders[0] / "parameters.json").unlink()
    with pytest.raises(UserError, match=r"restore parameters\.json"):
        CancellableGallery.create(*folders, PARAMETERS)


def test_opening_that_fails_does_not_keep_the_lock(gallery: CancellableGallery, folders: tuple[Path, Path]) -> None:
    gallery.close()
    path = folders[1] / "secrets.json"
    whole = path.read_bytes()
    path.write_bytes(b"{")
    with pytest.raises(UserError, match="not the secrets") as caught:
        CancellableGallery.open(*folders, write=True)
    path.write_bytes(whole)
    CancellableGallery.open(*folders, write=True).close()
    assert caught.tb is not None  # holds the frames of the call, and so whatever they held


def test_folders_that_may_not_be_written_to_are_found_before_anything_is_changed(
    gallery: CancellableGallery, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in folders:
        with monkeypatch.context() as patch:
            patch.setattr(os, "access", lambda path, mode, refused=folder: path != refused)
            with pytest.raises(UserError, match=f"{folder}: may not be written to.*nothing was changed"):
                gallery.enrol(random_codes(1))
    assert gallery._identifiers.index().next_version == 1


def test_what_the_system_refuses_is_said_with_the_path(
    gallery: CancellableGallery, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, mode: int = 0) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    gallery.close()
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=f"{folders[1]}: Permission denied; the gallery was not opened"):
        CancellableGallery.open(*folders)
    with pytest.raises(UserError, match="Permission denied; no gallery was made"):
        CancellableGallery.create(folders[0] / "x", folders[1], PARAMETERS)
