from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from src.errors import UserError
from src.eval.embedding_files import check_embeddings, read_embeddings

RNG = np.random.default_rng(0)
ORIGINAL, FLIPPED = RNG.standard_normal((2, 10_000, 4)).astype(np.float32)


def write(folder: Path, form: str, *, flipped: bool) -> None:
    arrays = {"original": ORIGINAL, "flipped": FLIPPED} if flipped else {"original": ORIGINAL}
    if form == "npy":
        np.save(folder / "lfw.npy", ORIGINAL)
        if flipped:
            np.save(folder / "lfw_flipped.npy", FLIPPED)
    elif form == "safetensors":
        save_file({name: torch.from_numpy(value) for name, value in arrays.items()}, folder / "lfw.safetensors")
    else:
        (np.savez_compressed if form == "npz compressed" else np.savez)(folder / "lfw.npz", **arrays)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("form", ["npy", "npz", "npz compressed", "safetensors"])
def test_reads_blocks_in_order(form: str, flipped: bool, tmp_path: Path) -> None:
    write(tmp_path, form, flipped=flipped)
    blocks = list(read_embeddings(tmp_path, "lfw", 10_000))
    assert [len(index) for index, _, _ in blocks] == [4096, 4096, 1808]
    assert torch.cat([index for index, _, _ in blocks]).tolist() == list(range(10_000))
    assert torch.equal(torch.cat([original for _, original, _ in blocks]), torch.from_numpy(ORIGINAL))
    views = [view for _, _, view in blocks if view is not None]
    assert len(views) == (3 if flipped else 0)
    if flipped:
        assert torch.equal(torch.cat(views), torch.from_numpy(FLIPPED))


@pytest.mark.parametrize("dtype", ["<f2", "<f8", ">f4"])
def test_other_floats_become_float32(dtype: str, tmp_path: Path) -> None:
    np.save(tmp_path / "lfw.npy", np.asfortranarray(ORIGINAL[:5].astype(dtype)))
    ((_, original, _),) = read_embeddings(tmp_path, "lfw", 5)
    assert original.dtype == torch.float32
    np.testing.assert_allclose(original.numpy(), ORIGINAL[:5], rtol=1e-3)


def test_bfloat16(tmp_path: Path) -> None:
    save_file({"original": torch.ones(3, 2, dtype=torch.bfloat16)}, tmp_path / "lfw.safetensors")
    ((_, original, _),) = read_embeddings(tmp_path, "lfw", 3)
    assert torch.equal(original, torch.ones(3, 2))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_codes(suffix: str, tmp_path: Path) -> None:
    codes = np.arange(30, dtype=np.uint8).reshape(10, 3)
    if suffix == ".npy":
        np.save(tmp_path / "lfw.npy", codes)
    elif suffix == ".npz":
        np.savez(tmp_path / "lfw.npz", original=codes)
    else:
        save_file({"original": torch.from_numpy(codes)}, tmp_path / "lfw.safetensors")
    ((index, original, flipped),) = read_embeddings(tmp_path, "lfw", 10, alphabet=32)
    assert (index.tolist(), flipped) == (list(range(10)), None)
    assert torch.equal(original, torch.from_numpy(codes))
    with pytest.raises(UserError, match="expected floats"):
        check_embeddings(tmp_path, {"lfw": 10})
    np.save(tmp_path / "agedb_30.npy", codes.astype(np.float32))
    with pytest.raises(UserError, match=r"agedb_30\.npy: expected codes of uint8"):
        check_embeddings(tmp_path, {"lfw": 10, "agedb_30": 10}, alphabet=32)


def test_everything_wrong_is_listed_at_once(tmp_path: Path) -> None:
    np.save(tmp_path / "short.npy", ORIGINAL[:5])
    np.save(tmp_path / "flat.npy", ORIGINAL[:, 0])
    np.save(tmp_path / "codes.npy", np.ones((10_000, 4), np.uint8))
    np.save(tmp_path / "objects.npy", np.array([{}] * 10_000, dtype=object))
    np.save(tmp_path / "uneven.npy", ORIGINAL)
    np.save(tmp_path / "uneven_flipped.npy", FLIPPED[:, :2])
    np.save(tmp_path / "twice.npy", ORIGINAL)
    np.savez(tmp_path / "twice.npz", original=ORIGINAL)
    np.savez(tmp_path / "named.npz", embeddings=ORIGINAL)
    save_file({"original": torch.zeros(10_000, 0)}, tmp_path / "empty.safetensors")
    for name in ("noise.npy", "noise2.npz", "noise3.safetensors"):
        (tmp_path / name).write_bytes(b"nothing that can be read")
    (tmp_path / "unsafe.npy").write_bytes(pickle.dumps(Path.cwd))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "uneven.npy").read_bytes()[:1000])
    np.save(tmp_path / "alone.npy", ORIGINAL)
    names = ["short", "flat", "codes", "objects", "uneven", "twice", "named", "empty", "noise", "noise2", "noise3"]
    names += ["unsafe", "cut", "alone", "lfw"]
    with pytest.raises(UserError) as caught:
        check_embeddings(tmp_path, dict.fromkeys(names, 10_000), mirrored=["alone"])
    for expected in (
        "short.npy: expected [10000, D], a row for each image; found [5, 4]",
        "flat.npy: expected [10000, D], a row for each image; found [10000]",
        "codes.npy: expected floats",
        "objects.npy: damaged, or not a .npy file",
        "uneven_flipped.npy: [10000, 2], but uneven.npy is [10000, 4]",
        "twice: expected one of twice.npy, twice.npz, twice.safetensors; found twice.npy and twice.npz",
        "named.npz: no array 'original' in it",
        "empty.safetensors[original]: expected [10000, D]",
        "noise.npy: damaged",
        "noise2.npz: damaged",
        "noise3.safetensors: damaged",
        "unsafe.npy: damaged",
        "cut.npy: damaged",
        "alone.npy: no embeddings of the mirror images beside it; write them as alone_flipped.npy or the array "
        "'flipped', or set benchmark.alone.flip to none (of pairs) or false (of templates)",
        "lfw: expected one of lfw.npy, lfw.npz, lfw.safetensors; none is there",
    ):
        assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1 + len(names)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        check_embeddings(tmp_path / "absent", {"lfw": 3})


@given(content=st.binary(max_size=200), suffix=st.sampled_from([".npy", ".npz", ".safetensors"]))
def test_damaged_bytes_are_a_user_error(content: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("noise")
    magic = {".npy": b"\x93NUMPY\x01\x00", ".npz": b"PK\x03\x04", ".safetensors": b"\x20" + bytes(7)}[suffix]
    for start in (b"", magic):
        (folder / f"lfw{suffix}").write_bytes(start + content)
        with pytest.raises(UserError):
            check_embeddings(folder, {"lfw": 3})


def test_a_header_that_claims_too_much_is_not_believed(tmp_path: Path) -> None:
    member = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**10, 512)}
    np.lib.format.write_array_header_1_0(member, header)
    with zipfile.ZipFile(tmp_path / "lfw.npz", "w") as archive:
        archive.writestr("original.npy", member.getvalue())
    with pytest.raises(UserError, match=r"found \[10000000000, 512\]"):
        next(read_embeddings(tmp_path, "lfw", 3))
