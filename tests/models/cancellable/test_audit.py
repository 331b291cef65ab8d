from __future__ import annotations

import json
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
    assert gallery.repair().ok
    assert gallery.pids == sorted(pids[4:])


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


def test_a_change_that_fails_in_the_middle_is_mended(gallery: CancellableGallery, monkeypatch) -> None:
    codes = random_codes(6)
    pids = gallery.enrol(codes)
    for name in ("renew", "revoke", "enrol"):
        with monkeypatch.context() as patch:
            patch.setattr(type(gallery._templates), "commit", _fail)
            with pytest.raises(RuntimeError):
                getattr(gallery, name)(codes if name == "enrol" else pids)
        assert gallery.identify(codes, 1).pids[:, 0].tolist() == pids
    assert not gallery.audit().ok
    assert gallery.repair().ok
    assert gallery.identify(codes, 1).pids[:, 0].tolist() == pids


def _fail(self: object, *arguments: object) -> None:
    raise RuntimeError
