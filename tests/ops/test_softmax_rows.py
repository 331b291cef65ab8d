"""The compiled passes against their reference, and one instruction set against another."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support_margin import ARCFACE, problem, with_gradients

from src.ops import margin_cross_entropy, softmax_rows
from src.ops.library import backends

compiled = pytest.mark.skipif(not backends()["cpu"].startswith("compiled"), reason="operators are not compiled")


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("threshold", [0.3, math.inf])
@pytest.mark.parametrize("columns", [1, 127, 128, 300])
def test_compiled_passes_are_the_reference(dtype: torch.dtype, threshold: float, columns: int) -> None:
    generator = torch.Generator().manual_seed(columns)
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    products = (torch.randn(5, columns, dtype=kind, generator=generator) / 4).to(dtype)
    inverse_norms = 1 + torch.rand(columns, dtype=kind, generator=generator)
    target = torch.tensor([0, columns - 1, -1, columns, columns // 2])
    rows = torch.rand(3, 5, dtype=kind, generator=generator)
    found, expected = [], []
    for operators, results in ((torch.ops.privface, found), (softmax_rows, expected)):
        cosines = torch.empty(5, columns, dtype=kind)
        results += operators.softmax_statistics(products, inverse_norms, target, 64.0, threshold, cosines)
        gradient, part = torch.empty_like(products), torch.empty_like(cosines)
        arguments = (expected or found)[0], rows[1], rows[2], 64.0, threshold, gradient
        operators.softmax_gradient(cosines, inverse_norms, target, *arguments)
        operators.tangential_part(products, cosines.clamp(min=-1), rows[0], part)
        results += [cosines, gradient, part]
    for value, wanted in zip(found, expected, strict=True):
        tolerance = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 1e-2}[value.dtype]
        torch.testing.assert_close(value, wanted, rtol=tolerance, atol=tolerance)


@compiled
@pytest.mark.parametrize("level", ["scalar", "avx2"])
def test_older_instruction_sets_agree(level: str, tmp_path: Path) -> None:
    inputs = problem(6, 300, 40, torch.float32)
    torch.save(inputs, tmp_path / "inputs.pt")
    program = (
        "import sys, torch; from src.ops import margin_cross_entropy\n"
        "x, w, y = torch.load(sys.argv[1]); x.requires_grad_(); w.requires_grad_()\n"
        "loss, cosine = margin_cross_entropy(x, w, y, angle_margin=0.5); loss.backward()\n"
        "torch.save([loss.detach(), cosine, x.grad, w.grad], sys.argv[2])"
    )
    command = [sys.executable, "-c", program, tmp_path / "inputs.pt", tmp_path / "outputs.pt"]
    run_with_level(command, level)
    expected = with_gradients(margin_cross_entropy, *inputs, **ARCFACE)
    torch.testing.assert_close(torch.load(tmp_path / "outputs.pt"), expected, rtol=1e-4, atol=1e-6)


def run_with_level(command: list[Any], level: str) -> None:
    result = subprocess.run(command, env=os.environ | {"PRIVFACE_ISA": level}, capture_output=True, text=True)
    if "this processor can do" in result.stderr:
        pytest.skip(f"this processor has no {level}")
    assert result.returncode == 0, result.stderr
