from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src import ops
from src.errors import UserError
from src.ops import library
from src.ops.library import backends
from src.ops.source_digest import source_digest

ROOT = Path(__file__).parents[2]
COMPILED = backends()["cpu"].startswith("compiled")
LEVELS = ["scalar", "avx2", "avx512", "avx512_vpopcntdq"]

needs_library = pytest.mark.skipif(not COMPILED, reason=f"the operators are {backends()['cpu']}")


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", **environment}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def levels_below() -> list[str]:
    """Instruction sets of this processor other than the one in force."""
    return LEVELS[: LEVELS.index(backends()["cpu"].split("(")[1][:-1])] if COMPILED else []


@pytest.mark.slow
@pytest.mark.parametrize("level", levels_below())
def test_values_with_every_instruction_set(level: str) -> None:
    code = "import support_operators; support_operators.check_all(); print(support_operators.ops.library.backends())"
    found = run(code, PRIVFACE_ISA=level, PRIVFACE_OPS="compiled")
    assert found.returncode == 0, found.stderr
    assert f"compiled ({level})" in found.stdout


@needs_library
def test_an_unknown_instruction_set_is_named() -> None:
    found = run("import src.ops", PRIVFACE_ISA="avx9", PRIVFACE_OPS="compiled")
    assert found.returncode != 0
    assert "UserError: PRIVFACE_ISA: this processor can do scalar" in found.stderr
    assert "found 'avx9'" in found.stderr


def test_references_where_that_is_wanted() -> None:
    code = (
        "import torch, src.ops; from src.ops.library import backends; print(backends());"
        "print(src.ops.bias_act(torch.ones(4, 4096), act='lrelu').sum().item())"
    )
    found = run(code, PRIVFACE_OPS="reference")
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[0] == str(dict.fromkeys(("cpu", "cuda"), "reference (PRIVFACE_OPS)"))


def test_an_unknown_choice_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVFACE_OPS", "fast")
    with pytest.raises(UserError, match="PRIVFACE_OPS: expected auto, compiled or reference, found 'fast'"):
        library._load()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(library, "_BINARY", tmp_path / "_C.so")
    monkeypatch.delenv("PRIVFACE_OPS", raising=False)
    with caplog.at_level(logging.INFO):
        assert library._load() == "reference (not built)"
    assert "plain PyTorch" in caplog.text
    monkeypatch.setenv("PRIVFACE_OPS", "compiled")
    with pytest.raises(UserError, match=r"not built\. Build them with .make ops."):
        library._load()


def test_a_library_that_does_not_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    binary = tmp_path / "_C.so"
    binary.write_bytes(b"no library " + source_digest(library._SOURCES).encode())
    monkeypatch.setattr(library, "_BINARY", binary)
    monkeypatch.delenv("PRIVFACE_OPS", raising=False)
    with pytest.warns(UserWarning, match=r"not loadable.*make ops"):
        assert library._load().startswith("reference (not loadable")
    monkeypatch.setenv("PRIVFACE_OPS", "compiled")
    with pytest.raises(UserError, match="not loadable"):
        library._load()


def test_a_library_of_other_sources_is_not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    binary = tmp_path / "_C.so"
    binary.write_bytes(b"built long ago")
    monkeypatch.setattr(library, "_BINARY", binary)
    monkeypatch.delenv("PRIVFACE_OPS", raising=False)
    with pytest.warns(UserWarning, match=r"built from other sources.*make ops"):
        assert library._load() == "reference (built from other sources)"


def test_the_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    digests = set()
    for name, content in (("a.cpp", "1"), ("b.cpp", "1"), ("a.cpp", "2")):
        (tmp_path / name).write_text(content)
        digests.add(source_digest(tmp_path))
        (tmp_path / name).unlink()
    (tmp_path / "a.o").write_text("1")
    assert len(digests) == 3
    assert source_digest(tmp_path) not in digests


def test_the_public_functions() -> None:
    assert all(callable(getattr(ops, name)) for name in ops.__all__)
    assert set(backends()) == {"cpu", "cuda"}
