"""Builds the compiled operators, ``src/ops/_C.so``; everything else stands in pyproject.toml.

``PRIVFACE_BUILD`` chooses: ``auto`` builds them if it can and says so if it cannot, ``1`` fails if it cannot, ``0``
does not try. The library holds no Python code and only the stable part of torch's interface, so that one file serves
every Python and every torch from 2.11 on.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

SOURCES = Path("src/ops/csrc")
FLAGS = [
    "-std=c++20",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-DTORCH_TARGET_VERSION=0x020b000000000000",
]


DIGEST = runpy.run_path("src/ops/source_digest.py")["source_digest"](SOURCES)


def build_mode() -> str:
    """The value of PRIVFACE_BUILD."""
    mode = os.environ.get("PRIVFACE_BUILD") or "auto"
    if mode not in ("auto", "0", "1"):
        raise SystemExit(f"PRIVFACE_BUILD: expected auto, 0 or 1, found {mode!r}")
    return mode


def find_torch() -> Path:
    """The folder of torch, also from within an isolated build, which has none of its own."""
    found = importlib.util.find_spec("torch")
    folders = [Path(found.origin).parent] if found and found.origin else []
    folders += [Path(sysconfig.get_path(name), "torch") for name in ("purelib", "platlib")]
    for folder in folders:
        if (folder / "include/torch/csrc/stable/library.h").exists():
            return folder
    raise RuntimeError("found no torch 2.11 or newer; install it first, then without build isolation")


def find_compiler() -> str:
    """The C++ compiler: CXX, else the first of the usual names."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "c++"]
    for name in names:
        if path := shutil.which(name):
            return path
    raise RuntimeError(f"found no C++ compiler ({', '.join(names)})")


def call(*command: str) -> None:
    """Run a command and show it; raises if it fails."""
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True)


class BuildLibrary(build_ext):
    """Compiles each source by a process of its own and links them; what is optional may fail."""

    def run(self) -> None:
        """Build, and unless that is required carry on without."""
        try:
            super().run()
        except Exception as error:
            if build_mode() == "1":
                raise
            print(f"*** privface: operators not compiled, they run as plain PyTorch: {error}", file=sys.stderr)

    def build_extension(self, ext: Extension) -> None:
        """Compile the sources side by side, and link them."""
        compiler, torch = find_compiler(), find_torch()
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        Path(self.build_temp).mkdir(parents=True, exist_ok=True)

        digest = f'-DPRIVFACE_SOURCE_DIGEST="{DIGEST}"'

        def compile_source(source: str) -> str:
            compiled = str(Path(self.build_temp, Path(source).with_suffix(".o").name))
            call(compiler, *FLAGS, digest, "-isystem", str(torch / "include"), "-c", source, "-o", compiled)
            return compiled

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_source, ext.sources))
        call(compiler, "-shared", *objects, "-o", str(target), f"-L{torch / 'lib'}", "-ltorch_cpu")

    def get_ext_filename(self, fullname: str) -> str:
        """Without the tag of a Python version: it is no Python module."""
        return fullname.replace(".", "/") + ".so"

    def get_outputs(self) -> list[str]:
        """What was built, which may be nothing."""
        return [path for path in super().get_outputs() if os.path.exists(path)]


class AnyPythonWheel(bdist_wheel):
    """A wheel for one platform and all versions of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Interpreter, its binary interface, platform."""
        return "py3", "none", super().get_tag()[2]


library = Extension(
    "src.ops._C",
    sorted(map(str, SOURCES.glob("*.cpp"))),
    depends=sorted(str(path) for suffix in ("*.h", "*.inl") for path in SOURCES.glob(suffix)),
    optional=build_mode() == "auto",
)
setup(
    ext_modules=[] if build_mode() == "0" else [library],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": AnyPythonWheel},
)
