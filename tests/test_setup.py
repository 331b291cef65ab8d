"""Building of the compiled operators, with a stand-in for the compiler: the real one runs at every installation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("setuptools")

ROOT = Path(__file__).parents[1]
COMPILER = """#!/bin/sh
echo "$@" >> {log}
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then echo library > "$2"; fi
  shift
done
exit {status}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What a build needs of the project."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "src/ops").mkdir(parents=True)
    for name in ("src/__init__.py", "src/ops/__init__.py", "src/ops/source_digest.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "src/ops/csrc", tmp_path / "src/ops/csrc")
    return tmp_path


def compiler(folder: Path, status: int = 0) -> str:
    path = folder / "compiler"
    path.write_text(COMPILER.format(log=folder / "calls", status=status))
    path.chmod(0o755)
    return str(path)


def build(
    project: Path, *command: str, mode: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run setup.py where there is no compiler but that of CXX."""
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("CXX", "PRIVFACE_BUILD")},
        "PATH": "",
        **({} if mode is None else {"PRIVFACE_BUILD": mode}),
        **environment,
    }
    if "CXX" in environment:
        environment["PATH"] = "/usr/bin:/bin"
    arguments = command or ("build_ext", "--inplace")
    return subprocess.run(
        [sys.executable, "setup.py", *arguments], cwd=project, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("mode", [None, "auto"])
def test_without_a_compiler_it_goes_on_without(project: Path, mode: str | None) -> None:
    found = build(project, mode=mode)
    assert found.returncode == 0, found.stderr
    assert "operators not compiled, they run as plain PyTorch: found no C++ compiler" in found.stderr
    assert not list(project.rglob("*.so"))


def test_without_a_compiler_it_fails_where_they_are_required(project: Path) -> None:
    found = build(project, mode="1")
    assert found.returncode != 0
    assert "found no C++ compiler" in found.stderr


def test_an_error_of_the_compiler(project: Path) -> None:
    broken = compiler(project, status=1)
    found = build(project, CXX=broken)
    assert found.returncode == 0, found.stderr
    assert "operators not compiled" in found.stderr
    assert not list(project.rglob("*.so"))
    assert build(project, CXX=broken, mode="1").returncode != 0


def test_nothing_is_tried_where_that_is_wanted(project: Path) -> None:
    found = build(project, CXX=compiler(project), mode="0")
    assert found.returncode == 0, found.stderr
    assert not (project / "calls").exists()


def test_an_unknown_mode_is_named(project: Path) -> None:
    found = build(project, mode="yes")
    assert found.returncode != 0
    assert "PRIVFACE_BUILD: expected auto, 0 or 1, found 'yes'" in found.stderr


def test_every_source_is_compiled_and_linked(project: Path) -> None:
    found = build(project, CXX=compiler(project), mode="1")
    assert found.returncode == 0, found.stderr
    assert (project / "src/ops/_C.so").exists()
    *compiled, linked = (project / "calls").read_text().splitlines()
    sources = {path.name for path in (project / "src/ops/csrc").glob("*.cpp")}
    assert {re.search(r"(\w+\.cpp) -o", line)[1] for line in compiled} == sources  # type: ignore[index]
    assert all("-march=native" not in line and "-ffast-math" not in line for line in compiled)
    assert len(re.findall(r"\.o\b", linked)) == len(sources)
    assert "-ltorch_cpu" in linked


def test_what_distributions_hold(project: Path) -> None:
    found = build(project, "bdist_wheel", "--dist-dir", "dist", CXX=compiler(project), mode="1")
    assert found.returncode == 0, found.stderr
    (wheel,) = (project / "dist").glob("*.whl")
    assert "-py3-none-linux_" in wheel.name or sys.platform != "linux"
    sources = {f"src/ops/csrc/{path.name}" for path in (project / "src/ops/csrc").iterdir()}
    assert {"src/ops/_C.so", *sources} <= set(zipfile.ZipFile(wheel).namelist())

    build(project, "sdist", "--dist-dir", "dist")
    (archive,) = (project / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.split("/", 1)[1] for name in file.getnames() if "/" in name}
    assert {"setup.py", *sources} <= names
    assert "src/ops/_C.so" not in names
