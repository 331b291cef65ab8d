from __future__ import annotations

import math
from dataclasses import replace

import pytest
from support_results import gender_score, results, verification_score

from src.eval.results import Results
from src.eval.score import BenchmarkScore
from src.eval.table import (
    combination_tables,
    format_metric,
    headline_metrics,
    metric_title,
    metrics_table,
    print_results,
    privacy_summary_table,
    privacy_tables,
    summary_table,
)

ROWS = [results("untrained", 0.1), results("last", 0.8, privacy={"gender": {"attack_accuracy": 0.53, "gap": math.nan}})]


def test_summary_has_a_row_for_each_of_the_results() -> None:
    table = summary_table(ROWS)
    assert table.columns == [
        "lfw\naccuracy",
        "cfp_fp\naccuracy",
        "ijbc\nTAR @ FAR 1e-4",
        "ijbc\nrank 1",
        "ijbc\nTPIR @ FPIR 1e-2",
    ]
    assert [label for label, _ in table.rows] == ["untrained", "last"]
    assert table.rows[1][1][0] == "90.00 ± 1.28"
    assert table.rows[1][1][2] == f"{100 * 0.76 ** (4 / 3):.2f}"


def test_a_row_without_a_benchmark() -> None:
    table = summary_table([replace(ROWS[0], scores={}), ROWS[1]])
    assert table.rows[0][1] == ["—"] * 5


def test_the_headline_is_the_smallest_rate_that_the_set_resolves() -> None:
    rates = {"tar@1e-6": 0.1, "tar@1e-4": math.nan, "tar@1e-3": 0.3, "tar@1e-2": 0.4}
    rows = [replace(ROWS[0], scores={"set": BenchmarkScore(rates)})]
    assert headline_metrics(rows, "set") == ["tar@1e-3"]


def test_the_headline_of_searches() -> None:
    metrics = {
        "rank1": 0.9,
        "rank5": 0.95,
        "tpir@1e-2": 0.1,
        "map@1": 0.5,
        "map@5": 0.6,
        "dir@1e-2": 0.7,
        "dir@1e-3": 0.5,
    }
    rows = [replace(ROWS[0], scores={"set": BenchmarkScore(metrics)})]
    assert headline_metrics(rows, "set") == ["rank1", "map@5", "dir@1e-2"]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("accuracy_noflip", "accuracy noflip"),
        ("tar@1e-4", "TAR @ FAR 1e-4"),
        ("tar_strict@1e-4", "TAR @ FAR <= 1e-4"),
        ("rank10", "rank 10"),
        ("rank1_median", "rank 1 median"),
        ("map", "mAP"),
        ("vr@1e-4", "VR @ FAR 1e-4"),
        ("map@5", "mAP@5"),
        ("dir@1e-2", "DIR @ FAR 1e-2"),
        ("val@1e-3", "val@1e-3"),
        ("eer", "EER"),
        ("bacc_svm", "gender guessed by linear SVM"),
        ("bacc_cross@lfw", "gender guessed by attackers from lfw"),
        ("dsys_identifier", "linked (D_sys), templates alone"),
        ("accepted_fresh@1e-3", "rebuilt faces accepted elsewhere @ 1e-3"),
        ("records_cos@4", "cosine rebuilt by number of codes: 4"),
        ("fmr_cross@1e-2", "fmr cross@1e-2"),
    ],
)
def test_titles(name: str, title: str) -> None:
    assert metric_title(name) == title


@pytest.mark.parametrize(
    ("name", "value", "interval", "text"),
    [
        ("accuracy", 0.98714, (0.983, 0.991), "98.71 [98.30, 99.10]"),
        ("rank1", 0.5, None, "50.00"),
        ("far@1e-4", 1.02e-4, None, "1.0e-4"),
        ("far@1e-4", 0.0, None, "0"),
        ("auc", 0.99381, (0.99, 0.995), "0.9938 [0.9900, 0.9950]"),
        ("threshold", 1.21, None, "1.2100"),
        ("unaligned", 12.0, None, "12"),
        ("N0D0F0", 3, None, "3"),
        ("accuracy", math.nan, (0.5, 0.6), "—"),
        ("bacc_cross@lfw", 0.53125, None, "53.12"),
        ("fmr_female@1e-3", 0.00125, None, "0.12"),
        ("fmr_ratio@1e-3", 1.5, None, "1.5000"),
        ("suppression_rate", 0.9, None, "90.00"),
        ("pic", -4.756, None, "-4.76"),
        ("in_domain", 1.0, None, "yes"),
        ("renewed_passes", 0.0, None, "no"),
        ("dsys_lut_shared_relabelled", 0.99951, None, "1.000"),
        ("records_cos@4", 0.9504, None, "0.950"),
        ("accepted@1e-3", 0.123, None, "12.30"),
        ("guess_bits", 17.0712, None, "17.1"),
        ("accuracy", 0.5, (math.nan, math.nan), "50.00"),
    ],
)
def test_format(name: str, value: float, interval: tuple[float, float] | None, text: str) -> None:
    assert format_metric(name, value, interval) == text


def test_flag_combinations_have_a_table_of_their_own() -> None:
    (table,) = combination_tables(ROWS[1:]).values()
    assert table.columns == ["1e-5", "1e-4", "1e-3", "1e-2", "1e-1"]
    assert [code for code, _ in table.rows] == ["N0D0F0", "N0D1F1", "N1D1F1"]
    assert table.rows[0][1][-1] == f"{99 * 0.76 ** (1 / 3):.2f}"
    assert "N1: the embedding's norm kept" in table.caption
    assert [code for code, _ in combination_tables(ROWS)["ijbc"].rows][::3] == ["N0D0F0 untrained", "N0D0F0 last"]
    assert not any("/" in name for name, _ in metrics_table(ROWS, "ijbc").rows)


def test_all_metrics_with_their_intervals() -> None:
    rows = dict(metrics_table([*ROWS, replace(ROWS[0], scores={})], "lfw").rows)
    assert rows["accuracy, %"] == ["55.00 [54.00, 56.00]", "90.00 [89.00, 91.00]", "—"]
    assert rows["TAR @ FAR 1e-3, %"] == ["—", "—", "—"]
    assert rows["embedding norm"][1] == "21.2500"


def test_privacy() -> None:
    table = privacy_tables(ROWS)["gender"]
    assert table.columns == ["untrained", "last"]
    assert table.rows == [("attack accuracy, not balanced, %", ["—", "53.00"]), ("gap", ["—", "—"])]


def gender_rows() -> list[Results]:
    rows = {
        "backbone": {"a": gender_score(0.9, 0.95), "lfw": verification_score(0.9)},
        "last": {"b": gender_score(0.9, 0.7), "a": gender_score(0.8, 0.6, pic=3.5, suppression_rate=0.75)},
    }
    return [results(label, 0.5, scores=scores) for label, scores in rows.items()]


def test_recognition_and_privacy_side_by_side() -> None:
    table = privacy_summary_table(gender_rows())
    columns = ["EER", "TAR @ 0.1 %", "guessed", "suppressed", "PIC"]
    assert table.columns == [f"{name}\n{column}" for name in "ba" for column in columns]
    assert dict(table.rows) == {
        "backbone": [*["—"] * 5, "5.00", "45.00", "95.00", "—", "—"],
        "last": ["5.00", "45.00", "70.00", "—", "—", "10.00", "40.00", "60.00", "75.00", "3.50"],
    }
    assert privacy_summary_table(ROWS).columns == []
    rows = dict(privacy_tables(gender_rows())["a"].rows)
    assert rows["gender guessed, %"] == ["95.00 [93.00, 97.00]", "60.00 [58.00, 62.00]"]


def test_prints_a_summary_of_gender_attacks(capsys: pytest.CaptureFixture[str]) -> None:
    print_results(gender_rows())
    output = capsys.readouterr().out
    assert "suppressed" in output
    assert "leakage" not in output


@pytest.mark.parametrize("width", [200, 44])
def test_prints_every_number_at_any_width(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_results(ROWS)
    output = capsys.readouterr().out
    for text in ("90.00 ± 1.28", "69.36", "N0D1F1", "53.00"):
        assert text in output
    assert "…" not in output
    assert max(map(len, output.splitlines())) <= width


def test_prints_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_results([replace(ROWS[0], label="[red]a[/red]")])
    assert "[red]a" in capsys.readouterr().out
