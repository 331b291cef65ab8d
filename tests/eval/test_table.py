from __future__ import annotations

import pytest

from src.eval.results import Results
from src.eval.table import format_accuracy, print_results


def test_percent_with_two_decimals() -> None:
    assert format_accuracy({"accuracy": 0.98714, "accuracy_std": 0.0035}) == "98.71 ± 0.35"
    assert format_accuracy({"accuracy": 0.5}) == "50.00"
    assert format_accuracy({"accuracy": float("nan")}) == "—"
    assert format_accuracy({}) == "—"


def test_prints_runs_and_privacy(untrained_and_trained: list[Results], capsys: pytest.CaptureFixture[str]) -> None:
    print_results(untrained_and_trained)
    output = capsys.readouterr().out
    for row in untrained_and_trained:
        line = next(line for line in output.splitlines() if line.startswith(f"│ {row.label}"))
        assert format_accuracy(row.metrics["lfw"]) in line
        assert format_accuracy(row.metrics["cfp_fp"]) in line
    assert "attack_accuracy" in output
    assert "0.5300" in output
