from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from support_gallery import PARAMETERS, random_codes

from src.errors import UserError
from src.models.cancellable.gallery import CancellableGallery
from src.models.cancellable.template_file import Records

Folders = tuple[Path, Path]


def kinds(gallery: CancellableGallery) -> list[tuple[str, str, int]]:
    return [(finding.store, finding.kind, finding.count) for finding in gallery.audit().findings]


def test_identifiers_that_belong_to_nothing_are_erased(gallery: CancellableGallery, folders: Folders) -> None:
    pids = gallery.enrol(random_codes(20))
    lost = gallery._identifiers.issue(np.array(pids[:5]))
    (folders[1] / "00000099.drhi").write_bytes(b"half")
    (folders[1] / "00000099.drhi").chmod(0o600)
    (folders[0] / ".index.json.tmp").write_bytes(b"half")
    assert kinds(gallery) == [
        ("templates", "leftover file", 1),
        ("identifiers", "leftover file", 1),
        ("identifiers", "identifier without template", 5),
    ]
    assert gallery.identify(random_codes(20), 1).pids[:, 0].tolist() == pids
    audit = gallery.repair()
    assert audit.ok
    assert (audit.templates, audit.identifiers, len(audit.repaired)) == (20, 20, 3)
    assert not np.isin(gallery._identifiers.identifiers().versions, lost.versions).any()
    assert gallery.repair().repaired == []


def test_templates_without_an_identifier_are_skipped_and_counted(gallery: CancellableGallery) -> None:
    codes = random_codes(10)
    pids = gallery.enrol(codes)
    identifiers = gallery._identifiers
    identifiers.commit([np.isin(part.pids, pids[:4]) for part in identifiers.records()])
    matches = gallery.identify(codes, 1, 0.5)
    assert matches.pids[:, 0].tolist() == [-1] * 4 + pids[4:]
    assert matches.skipped == 4
    assert kinds(gallery) == [("templates", "template without identifier", 4)]
    with pytest.raises(UserError, match="no identifier for 4 of the templates"):
        gallery.renew()
    assert gallery.renew(pids[4:]) == 6
    assert kinds(gallery) == [("templates", "template without identifier", 4)]
    assert not gallery.repair().ok
    assert gallery.pids == sorted(pids)
    assert gallery.revoke(pids[:4]) == 4
    assert gallery.audit().ok


@pytest.mark.parametrize("store", [0, 1])
def test_damaged_files_are_found_and_nothing_is_deleted_for_them(
    gallery: CancellableGallery, folders: Folders, store: int
) -> None:
    gallery.enrol(random_codes(10))
    (path,) = folders[store].glob("*.drh?")
    whole = path.read_bytes()
    for damage in (whole[:50] + bytes([whole[50] ^ 1]) + whole[51:], whole[:-8], b"XXXX" + whole[4:], None):
        path.unlink()
        if damage is not None:
            path.write_bytes(damage)
            path.chmod(0o600)
        for audit in (gallery.audit(), gallery.repair()):
            assert [finding.kind for finding in audit.findings] == ["damaged file"]
            assert path.name in audit.findings[0].detail
        path.write_bytes(whole)
        path.chmod(0o600)
    assert gallery.audit().ok
    assert len(gallery) == 10


def test_an_identifier_that_serves_twice_is_found(folders: Folders) -> None:
    gallery = CancellableGallery.create(*folders, PARAMETERS)
    pids = gallery.enrol(random_codes(10))
    issued = gallery._identifiers.identifiers()
    row = issued.rows[np.array([3, 3])]
    versions = gallery._identifiers.unused_versions(2)
    for store in (gallery._identifiers, gallery._templates):
        store.add(Records(np.array(pids[:2]), versions, row))
    assert kinds(gallery) == [("identifiers", "identifier used twice", 2)]


def test_disorder_is_found(gallery: CancellableGallery, folders: Folders) -> None:
    gallery.enrol(random_codes(10))
    for folder in folders:
        index = json.loads((folder / "index.json").read_text())
        (folder / "index.json").write_text(json.dumps(index | {"next_version": 8}))
    assert kinds(gallery) == [
        ("templates", "version not yet handed out", 3),
        ("identifiers", "version not yet handed out", 3),
        ("templates", "older copy", 1),
    ]
    elsewhere = {"segments": [{"file": "../x", "records": 1, "sha256": ""}]}
    (folders[0] / "index.json").write_text(json.dumps(index | elsewhere))
    with pytest.raises(UserError, match="restore the folder from a copy"):
        gallery.audit()


def test_versions_run_out(gallery: CancellableGallery, folders: Folders) -> None:
    path = folders[1] / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"next_version": (1 << 32) - 3}))
    assert len(gallery.enrol(random_codes(2))) == 2
    with pytest.raises(UserError, match="are used up"):
        gallery.enrol(random_codes(2))
    assert len(gallery) == 2


@pytest.mark.parametrize("name", ["renew", "revoke", "enrol"])
def test_the_next_change_finishes_one_that_failed_before_it_happened(gallery: CancellableGallery, name: str) -> None:
    codes = random_codes(6)
    pids = gallery.enrol(codes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(gallery._templates), "commit", _fail)
        with pytest.raises((RuntimeError, UserError)):
            getattr(gallery, name)(codes if name == "enrol" else pids)
    assert gallery.identify(codes, 1).pids[:, 0].tolist() == pids
    assert gallery.audit().ok == (name == "revoke")  # which has not done anything yet
    gallery.renew(pids[:1])
    assert gallery.audit().ok
    assert gallery.identify(codes, 1).pids[:, 0].tolist() == pids


@pytest.mark.parametrize("name", ["renew", "revoke"])
def test_the_next_change_finishes_one_that_failed_after_it_happened(gallery: CancellableGallery, name: str) -> None:
    codes = random_codes(6)
    pids = gallery.enrol(codes)
    stay = pids if name == "renew" else pids[3:]
    with (
        full_disk_for_identifiers(gallery),
        pytest.raises(UserError, match=r"full; all were re.+ may still be on the disk"),
    ):
        getattr(gallery, name)(pids[:3])
    assert kinds(gallery) == [("identifiers", "identifier without template", 3)]
    assert gallery.pids == sorted(stay)
    gallery.enrol(random_codes(1, seed=9))
    assert gallery.audit().ok
    assert set(stay) < set(gallery.pids)


def test_an_enrolment_that_cannot_be_noted_has_happened(gallery: CancellableGallery) -> None:
    codes = random_codes(3)
    with full_disk_for_identifiers(gallery):
        pids = gallery.enrol(codes)
    assert gallery.identify(codes, 1).pids[:, 0].tolist() == pids
    assert gallery.audit().ok
    gallery.renew()
    assert gallery._identifiers.index().templates_version == gallery._templates.index().next_version == 7


@pytest.mark.parametrize("older", ["templates", "identifiers"])
@pytest.mark.parametrize("batches", [1, 3])
def test_nothing_is_erased_where_a_folder_is_an_older_copy(
    gallery: CancellableGallery, folders: Folders, older: str, batches: int
) -> None:
    gallery.enrol(random_codes(4))
    restored = folders[older == "identifiers"]
    shutil.copytree(restored, restored.with_name("copy"))
    for seed in range(batches):
        pids = gallery.enrol(random_codes(4, seed=seed + 1))
    gallery.revoke(pids[:1])
    gallery.close()
    restored.rename(restored.with_name("newer"))
    restored.with_name("copy").rename(restored)
    held = [content(folder) for folder in folders]
    with CancellableGallery.open(*folders, write=True) as stale:
        assert (older, "older copy", 1) in kinds(stale)
        assert not stale.repair().ok
        for change in (stale.renew, lambda: stale.enrol(random_codes(1)), lambda: stale.revoke(stale.pids[:1])):
            with pytest.raises(UserError, match=f"{older}: the {older} are an older copy than the "):
                change()
    assert [content(folder) for folder in folders] == held
    shutil.rmtree(restored)
    restored.with_name("newer").rename(restored)
    with CancellableGallery.open(*folders, write=True) as whole:
        assert whole.audit().ok
        assert len(whole) == 3 + 4 * batches


def test_revoked_people_are_not_brought_back_by_older_identifiers(
    gallery: CancellableGallery, folders: Folders
) -> None:
    codes = random_codes(4)
    pids = gallery.enrol(codes)
    shutil.copytree(folders[1], folders[1].with_name("copy"))
    gallery.revoke(pids[:2])
    gallery.close()
    shutil.rmtree(folders[1])
    folders[1].with_name("copy").rename(folders[1])
    with CancellableGallery.open(*folders, write=True) as restored:
        assert kinds(restored) == [("identifiers", "identifier without template", 2)]
        assert restored.repair().ok
        assert restored.identify(codes, 1, 0.9).pids[:, 0].tolist() == [-1, -1, *pids[2:]]


def test_damage_is_seen_before_anything_is_erased(gallery: CancellableGallery, folders: Folders) -> None:
    pids = gallery.enrol(random_codes(4))
    gallery.close()
    (path,) = folders[0].glob("*.drht")
    whole = path.read_bytes()
    path.write_bytes(whole[:64] + bytes([whole[64] ^ 2]) + whole[65:])  # a version
    with CancellableGallery.open(*folders, write=True) as damaged:
        (folders[0] / "00000099.drht").write_bytes(b"left over")
        with pytest.raises(UserError, match="not the content that was written"):
            damaged.revoke(pids[:1])
    path.write_bytes(whole)
    with CancellableGallery.open(*folders, write=True) as mended:
        assert mended.repair().ok
        assert len(mended) == 4


@contextmanager
def full_disk_for_identifiers(gallery: CancellableGallery) -> Iterator[None]:
    """Identifiers can be issued, but what comes after the change of the templates fails."""
    commit = type(gallery._identifiers).commit

    def fail(self, drop=None, add=None, templates_version=None):  # type: ignore[no-untyped-def]
        if add is None:
            raise OSError(errno.ENOSPC, "full")
        commit(self, drop, add, templates_version)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(gallery._identifiers), "commit", fail)
        yield


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _fail(self: object, *arguments: object) -> None:
    raise RuntimeError
