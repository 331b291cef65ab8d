from __future__ import annotations

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


def test_refuses_a_folder_of_identifiers_with_files_that_others_read(tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "notes").write_text("")
    with pytest.raises(UserError, match="others than its owner may read it"):
        CancellableGallery.create(tmp_path / "t", tmp_path / "i", PARAMETERS)
