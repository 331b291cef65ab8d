from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from src.errors import UserError
from src.eval.benchmark import BenchmarkScore
from src.eval.results import Results, read_results, write_results

RESULTS = Results(
    experiment="arcface",
    label="trained",
    checkpoint="checkpoints/best.ckpt",
    seconds=12.5,
    environment={"python": "3.11", "commit": None},
    scores={"lfw": BenchmarkScore({"accuracy": 0.9985, "tar@1e-3": math.nan})},
    privacy={"gender": {"attack_accuracy": 0.5}},
)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "run" / "results.json"
    write_results(path, RESULTS)
    again = read_results(path, "trained")
    assert again.metrics["lfw"]["accuracy"] == 0.9985
    assert math.isnan(again.metrics["lfw"]["tar@1e-3"])
    assert again.privacy == RESULTS.privacy
    assert (again.experiment, again.label, again.checkpoint) == ("arcface", "trained", "checkpoints/best.ckpt")
    assert (again.seconds, again.environment) == (12.5, RESULTS.environment)


def test_file_follows_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, RESULTS)
    content = json.loads(path.read_text())
    assert list(content) == [
        "schema",
        "experiment",
        "checkpoint",
        "seconds",
        "environment",
        "benchmarks",
        "privacy",
    ]
    assert content["schema"] == 1
    assert content["benchmarks"] == {"lfw": {"accuracy": 0.9985, "tar@1e-3": None}}


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, RESULTS)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(path, replace(RESULTS, privacy={"gender": {"gap": math.inf}}))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 2, this version reads 1"),
        ({"seconds": "long"}, "key 'seconds': expected int or float, found str"),
        ({"checkpoint": 3}, "key 'checkpoint': expected str or null, found int"),
        ({"benchmarks": {"lfw": 0.99}}, "benchmarks.lfw: expected numbers or null"),
        ({"privacy": {"gender": {"gap": "small"}}}, "privacy.gender: expected numbers or null"),
        ({"benchmarks": {"lfw": {"accuracy": True}}}, "benchmarks.lfw"),
    ],
)
def test_names_the_key_that_is_wrong(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "results.json"
    write_results(path, RESULTS)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message) as error:
        read_results(path, "trained")
    assert str(path) in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 1}'])
def test_refuses_what_is_not_results(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"results\.json"):
        read_results(path, "trained")


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_results(tmp_path / "results.json", "trained")
