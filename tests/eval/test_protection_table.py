from __future__ import annotations

import math

import pytest
from support_protection import protection_score
from support_results import gender_score, results, verification_score

from src.eval.protection_table import leak_tables, protection_names, protection_summary_table
from src.eval.results import Results
from src.eval.score import BenchmarkScore
from src.eval.table import print_results


def rows(**metrics: float) -> list[Results]:
    score = protection_score(
        0.02, **{"gradient_cos": 0.91, "accepted_fresh@1e-3": 0.5, "false_accept_bits": 10.0} | metrics
    )
    return [
        results("backbone", 0.5, scores={"lfw": verification_score(0.9), "toy": BenchmarkScore({})}),
        results("untrained", 0.5, scores={"lfw": verification_score(0.5), "toy": protection_score(0.03)}),
        results("last", 0.5, scores={"lfw": verification_score(0.8), "toy": score}),
        results("last bits", 0.5, scores={"lfw": verification_score(0.8), "toy": BenchmarkScore({})}),
    ]


def leaks(**metrics: float) -> dict[str, str]:
    return {leak: texts[0] for leak, texts in leak_tables(rows(**metrics))["toy"].rows}


def test_rows_whose_templates_were_attacked() -> None:
    table = protection_summary_table(rows())
    assert [label for label, _ in table.rows] == ["untrained", "last"]
    last = dict(zip(table.columns, table.rows[1][1], strict=True))
    assert last["linked,\ntemplates"] == "0.020"
    assert last["renewal\nworks"] == "yes"
    assert last["rebuilt,\nboth stores"] == "0.910"
    assert last["passes\nelsewhere, %"] == "50.00"
    several = [results("a", 0.5, scores={"one": protection_score(0.1), "two": protection_score(0.2)})]
    assert [label for label, _ in protection_summary_table(several).rows] == ["a, one", "a, two"]


def test_nothing_to_tell() -> None:
    plain = [results("a", 0.5, scores={"toy": gender_score(0.5, 0.7)})]
    assert protection_names(plain) == []
    assert leak_tables(plain) == {}
    assert protection_summary_table(plain).columns == []


def test_what_a_leak_gives_away() -> None:
    assert leak_tables(rows())["toy"].caption == "What a leak gives away, measured on toy (last)"
    found = leaks()
    assert found["templates alone"].startswith(
        "Nothing: templates of one person are not linked (D_sys 0.020, by chance 0.010)"
    )
    assert "once in 1,024 tries" in found["the network alone"]
    assert "a cosine of 0.910 to the true ones" in found["templates, identifiers and the network"]
    assert "50 % for another image" in found["templates, identifiers and the network"]
    assert "It is worth nothing" in found["an old template whose identifier was renewed"]
    assert "100 % of the scores are what they were" in found["an old template whose identifier was renewed"]
    assert "all that of 8 systems" in found


def test_bad_news_is_told() -> None:
    found = leaks(dsys_identifier=0.5, renewed_passes=0.0)
    assert found["templates alone"].startswith("They link a person (D_sys 0.500")
    assert "It STILL TELLS whose it is" in found["an old template whose identifier was renewed"]


def test_what_is_not_known_is_a_dash() -> None:
    found = leaks(**{"accepted_fresh@1e-3": math.nan, "false_accept_bits": math.nan})
    assert "once in — tries" in found["the network alone"]
    assert "— for another image" in found["templates, identifiers and the network"]
    assert not any("nan" in text for text in found.values())


def test_prints_the_tables_in_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    print_results(rows())
    printed = capsys.readouterr().out
    assert "What a leak gives away, measured on toy (last)" in printed
    assert "linked, templates alone, symbols" not in printed  # the long table is for the report page
    assert max(map(len, printed.splitlines())) <= 60
