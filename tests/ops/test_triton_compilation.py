"""The kernels are compiled for GPUs that need not be there."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

tl = pytest.importorskip("triton.language", reason="needs triton")

from support_triton import INTERPRETED  # noqa: E402

from src.ops.triton_kernels import bias_activation, fir, hamming  # noqa: E402
from src.ops.triton_kernels.launch import OPTIONS, index_type  # noqa: E402

pytestmark = pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in the interpreter")


@pytest.fixture(autouse=True)
def _no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(
    kernel: Any, architecture: int, constants: dict[str, Any], pointers: dict[str, str], integer: str = "i32"
) -> dict[str, Any]:
    """What the compiler makes of a kernel for a GPU that need not be there.

    ``integer`` is the type of all integers; ``constexpr``, as of those that are 1, makes them constants.
    """
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    types = {"int": integer, "float": "fp32", "tl.constexpr": "constexpr"}
    annotations = [(name, kernel.fn.__annotations__[name]) for name in kernel.arg_names]
    signature = {name: pointers.get(name) or types[kind] for name, kind in annotations}
    ones = {name: 1 for name, kind in annotations if types.get(kind) == "constexpr"}
    values = {(kernel.arg_names.index(name),): value for name, value in (ones | constants).items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return compile(
            ASTSource(kernel, signature, values), target=GPUTarget("cuda", architecture, 32), options=OPTIONS
        ).asm


IMAGES = dict.fromkeys(("x", "bias", "y", "gradient", "out"), "*bf16") | {"filter_x": "*fp32", "filter_y": "*fp32"}
WORDS = {"codes": "*i32", "queries": "*i32", "out": "*i64"}
GEOMETRY = {"UP_X": 2, "UP_Y": 2, "DOWN_X": 1, "DOWN_Y": 1, "TAPS_X": 4, "TAPS_Y": 4}
BLOCK = {"ROWS": 8, "COLUMNS": 256, "INDEX": tl.int32, "SUM": tl.float32}
SEARCH = {"SCORES": True, "RUNS": 3, "WORDS": 16, "QUERIES": 16, "CODES": 128}
CASES = {
    "upfirdn2d": (fir.upfirdn2d_kernel, GEOMETRY | BLOCK, IMAGES),
    "bias_leaky_relu": (
        bias_activation.bias_leaky_relu_kernel,
        {"CLAMPED": True, "INNERMOST": True, "ROWS": 4, "COLUMNS": 256, "SUM": tl.float32},
        IMAGES,
    ),
    "bias_leaky_relu_gradient": (
        bias_activation.bias_leaky_relu_gradient_kernel, {"CLAMPED": True, "BLOCK": 1024, "SUM": tl.float32}, IMAGES,
    ),
    "hamming": (hamming.hamming_kernel, SEARCH, WORDS),
}  # fmt: skip


@pytest.mark.parametrize("architecture", [90, 100])
@pytest.mark.parametrize("name", CASES)
def test_compiles_for_gpus_that_are_not_there(name: str, architecture: int) -> None:
    assert compiled(CASES[name][0], architecture, *CASES[name][1:])["cubin"]


@pytest.mark.parametrize("integer", ["constexpr", "i64"])
@pytest.mark.parametrize("name", CASES)
def test_compiles_for_sizes_of_one_and_beyond_32_bits(name: str, integer: str) -> None:
    kernel, constants, pointers = CASES[name]
    wide = {"INDEX": tl.int64} if integer == "i64" and "INDEX" in constants else {}
    assert compiled(kernel, 90, constants | wide, pointers, integer)["cubin"]


@pytest.mark.parametrize("name", ["upfirdn2d", "bias_leaky_relu", "bias_leaky_relu_gradient"])
def test_compiles_for_float64(name: str) -> None:
    kernel, constants, pointers = CASES[name]
    images = {argument: kind.replace("bf16", "fp64") for argument, kind in pointers.items()}
    assert compiled(kernel, 90, constants | {"SUM": tl.float64}, images)["cubin"]


@pytest.mark.parametrize("architecture", [90, 100])
def test_bits_are_counted_by_the_instruction_for_it(architecture: int) -> None:
    assert "popc.b32" in compiled(hamming.hamming_kernel, architecture, SEARCH, WORDS)["ptx"]


def test_counts_that_fill_32_bits_are_64_bits_long() -> None:
    assert index_type(2**31 - 2**20) == tl.int32
    assert index_type(2**31 - 1) == tl.int64
