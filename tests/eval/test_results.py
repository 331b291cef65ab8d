from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_protection import protection_score
from support_results import gender_score, results

from src.errors import UserError
from src.eval.results import (
    benchmark_names,
    privacy_names,
    read_results,
    read_run_results,
    results_file,
    safe_name,
    write_results,
    write_run_results,
)
from src.eval.score import (
    BenchmarkScore,
    Collisions,
    HardPair,
    Linkability,
    Projection,
    ProtectionCurves,
    Renewal,
    ScoreCurves,
    ScoreHistogram,
)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
RATES = st.lists(NUMBERS, max_size=6)
LINES = st.integers(1, 6).flatmap(lambda n: st.tuples(*[st.lists(NUMBERS, min_size=n, max_size=n)] * 2))
PAIRS = st.lists(st.builds(HardPair, st.integers(0, 2**40), st.integers(0, 2**40), NUMBERS), max_size=4)
EDGES, COUNTS = st.lists(NUMBERS, min_size=3, max_size=3), st.lists(st.integers(0, 2**40), min_size=2, max_size=2)
CURVES = st.builds(
    ScoreCurves,
    roc=st.none() | LINES,
    open_set=st.none() | LINES,
    cmc=RATES,
    fold_accuracies=RATES,
    histogram=st.none()
    | st.builds(
        ScoreHistogram,
        EDGES,
        *[COUNTS] * 2,
        st.none() | NUMBERS,
    ),
    false_matches=PAIRS,
    false_non_matches=PAIRS,
    projection=st.none()
    | st.integers(0, 5).flatmap(
        lambda n: st.builds(
            Projection,
            *[st.lists(NUMBERS, min_size=n, max_size=n)] * 2,
            st.lists(st.integers(0, 1), min_size=n, max_size=n),
        )
    ),
    protection=st.none()
    | st.builds(
        ProtectionCurves,
        st.lists(st.builds(Linkability, st.text(), st.text(), NUMBERS, NUMBERS, EDGES, COUNTS, COUNTS), max_size=2),
        st.builds(Renewal, EDGES, COUNTS, COUNTS, COUNTS),
        st.builds(Collisions, LINES, *[st.lists(NUMBERS, min_size=2, max_size=2)] * 3),
    ),
)

PROTECTION = asdict(protection_score(0.1).curves.protection)
RENEWAL, COLLISIONS = PROTECTION["renewal"], PROTECTION["collisions"]

ROW = results("trained", 0.8, privacy={"gender": {"attack_accuracy": 0.5}})


def changed(path: Path, **changes: object) -> Path:
    write_results(path, ROW)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def test_round_trip_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "run" / "results.json"
    write_results(path, ROW)
    again = read_results(path)
    assert math.isnan(again.metrics["lfw"]["tar@1e-3"])
    assert repr(again) == repr(ROW)  # NaN is not equal to itself


@given(CURVES)
def test_curves_survive(curves: ScoreCurves) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        row = replace(ROW, scores={"lfw": BenchmarkScore({}, curves=curves)})
        write_results(path, row)
        assert read_results(path).scores["lfw"].curves == curves


def test_an_interval_without_numbers(tmp_path: Path) -> None:
    score = BenchmarkScore({"auc": math.nan}, {"auc": (math.nan, math.nan)})
    write_results(tmp_path / "results.json", replace(ROW, scores={"lfw": score}))
    assert '"auc": [\n        null,' in (tmp_path / "results.json").read_text()
    low, high = read_results(tmp_path / "results.json").scores["lfw"].intervals["auc"]
    assert math.isnan(low)
    assert math.isnan(high)


def test_file_follows_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, ROW)
    content = json.loads(path.read_text())
    documented = ["schema", "experiment", "checkpoint", "seconds", "environment", "benchmarks", "privacy"]
    assert list(content) == [*documented, "label", "other_rows", "intervals", "curves"]
    assert content["schema"] == 1
    assert content["label"] == "trained"
    assert content["benchmarks"]["lfw"]["accuracy"] == pytest.approx(0.9)
    assert content["benchmarks"]["lfw"]["tar@1e-3"] is None
    assert content["intervals"]["lfw"] == {"accuracy": [pytest.approx(0.89), pytest.approx(0.91)]}
    assert content["curves"]["ijbc"]["false_matches"][0]["first"] == 0
    assert sum(line.lstrip().startswith('"ijbc": {"roc"') for line in path.read_text().splitlines()) == 1


def test_results_without_benchmarks(tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", replace(ROW, scores={}))
    assert read_results(tmp_path / "results.json").scores == {}


@pytest.mark.parametrize(
    ("file", "label"), [("results.json", "my_run"), ("results_before_training.json", "before training")]
)
def test_a_file_of_an_older_version(tmp_path: Path, file: str, label: str) -> None:
    path = tmp_path / "my_run" / file
    write_results(path, ROW)
    content = json.loads(path.read_text())
    for key in ("label", "other_rows", "intervals", "curves"):
        del content[key]
    path.write_text(json.dumps(content))
    again = read_results(path)
    assert again.label == label
    assert again.metrics["lfw"]["accuracy"] == ROW.metrics["lfw"]["accuracy"]
    assert again.scores["lfw"].curves.roc is None


def test_rows_of_a_run_keep_their_order(tmp_path: Path) -> None:
    rows = [replace(ROW, label=label) for label in ("untrained", "a/b c", "a_b_c", "last")]
    write_run_results(tmp_path, rows)
    files = {"results.json", "results_untrained.json", "results_a_b_c.json", "results_a_b_c-2.json"}
    assert {file.name for file in tmp_path.iterdir()} == files
    assert [row.label for row in read_run_results(tmp_path)] == ["untrained", "a/b c", "a_b_c", "last"]
    assert read_results(tmp_path / results_file("untrained")).label == "untrained"


def test_rows_of_an_earlier_write_are_not_read(tmp_path: Path) -> None:
    write_run_results(tmp_path, [replace(ROW, label="best"), ROW])
    write_run_results(tmp_path, [ROW])
    assert [row.label for row in read_run_results(tmp_path)] == ["trained"]


def test_a_missing_row_is_named(tmp_path: Path) -> None:
    write_run_results(tmp_path, [replace(ROW, label="best"), ROW])
    (tmp_path / "results_best.json").unlink()
    with pytest.raises(UserError, match=r"results_best\.json: cannot be read"):
        read_run_results(tmp_path)


def test_labels_never_become_paths() -> None:
    assert safe_name("../../etc/passwd") == ".._.._etc_passwd"
    assert "/" not in results_file("a/b\\c\0d")


def test_privacy_of_a_benchmark_that_is_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, ROW)
    content = json.loads(path.read_text())
    assert "gender" not in {**content["benchmarks"], **content["intervals"], **content["curves"]}
    again = read_results(path)
    assert again.privacy == ROW.privacy == {"gender": {"attack_accuracy": 0.5}}
    assert "gender" not in again.metrics
    assert "gender" not in benchmark_names([again])


def test_privacy_of_a_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    row = replace(ROW, scores={"toy": gender_score(0.5, 0.75, pic=math.nan)})
    write_results(path, row)
    assert json.loads(path.read_text())["privacy"] == {
        "toy": {"bacc": 0.75, "bacc_logreg": 0.75, "leakage": 0.5, "in_domain": 0.0, "pic": None}
    }
    assert repr(read_results(path)) == repr(row)


def test_curves_of_what_measures_privacy_only(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    row = replace(ROW, scores={"toy": protection_score(0.1, collision_error=math.nan)})
    write_results(path, row)
    assert list(json.loads(path.read_text())["curves"]) == ["toy"]
    assert repr(read_results(path)) == repr(row)


def test_a_row_that_has_no_privacy_to_measure() -> None:
    rows = [replace(ROW, scores={"toy": BenchmarkScore({})}), replace(ROW, scores={"toy": protection_score(0.1)})]
    assert benchmark_names(rows) == []
    assert privacy_names(rows) == ["toy"]
    assert benchmark_names(rows[:1]) == ["toy"]


def test_names_of_several_results() -> None:
    other = replace(ROW, scores={"new": BenchmarkScore({}), "lfw": BenchmarkScore({})})
    assert benchmark_names([ROW, other]) == ["new", "lfw", "cfp_fp", "ijbc"]
    assert privacy_names([other, ROW]) == ["gender"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, ROW)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(path, results("trained", 0.8, privacy={"gender": {"gap": math.inf}}))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema: Input should be 1"),
        ({"seconds": "long"}, "seconds: Input should be a valid number"),
        ({"checkpoint": 3}, "checkpoint: Input should be a valid string"),
        ({"benchmarks": {"lfw": 0.99}}, "benchmarks.lfw: Input should be an object"),
        ({"benchmarks": {"lfw": {"accuracy": True}}}, "benchmarks.lfw.accuracy: Input should be a valid number"),
        ({"privacy": {"gender": {"gap": "small"}}}, "privacy.gender.gap: Input should be a valid number"),
        ({"intervals": {"lfw": {"auc": [0.5]}}}, "intervals.lfw.auc.1: Field required"),
        ({"other_rows": "best"}, "other_rows: Input should be a valid array"),
        ({"curves": {"lfw": {"cmc": [0.5, None]}}}, r"curves\.lfw\.cmc\.1: Input should be a valid number"),
        ({"curves": {"lfw": {"roc": [[0, 1], [1]]}}}, "curves.lfw.roc: expected two lists of the same length"),
        ({"curves": {"lfw": {"open_set": [[], []]}}}, "curves.lfw.open_set: expected two lists"),
        (
            {"curves": {"lfw": {"histogram": {"edges": [0, 1], "genuine": [1], "impostor": []}}}},
            "curves.lfw.histogram: expected one edge more",
        ),
        (
            {"curves": {"lfw": {"projection": {"decision": [0.5], "component": [1], "attribute": []}}}},
            "curves.lfw.projection: expected three lists of the same length",
        ),
        (
            {"curves": {"lfw": {"protection": PROTECTION | {"renewal": RENEWAL | {"renewed": [1]}}}}},
            "curves.lfw.protection: expected one edge more than there are counts",
        ),
        (
            {"curves": {"lfw": {"protection": PROTECTION | {"collisions": COLLISIONS | {"code": []}}}}},
            "curves.lfw.protection.collisions: expected lists of the same length",
        ),
        ({"curves": {"lfw": {"false_matches": [{"first": 0}]}}}, r"false_matches\.0\.second: Field required"),
    ],
)
def test_names_the_key_that_is_wrong(tmp_path: Path, change: dict, message: str) -> None:
    path = changed(tmp_path / "results.json", **change)
    with pytest.raises(UserError, match=message) as error:
        read_results(path)
    assert str(path) in str(error.value)
    assert "run eval.py again" in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"schema": 1}', '{"schema": NaN}', '{"schema": 1, "seconds": 1e999}']
)
def test_refuses_what_is_not_results(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"results\.json"):
        read_results(path)


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_results(tmp_path / "results.json")
