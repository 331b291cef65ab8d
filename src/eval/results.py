"""``results.json``: the numbers of one evaluation and the circumstances they were obtained under."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.errors import UserError
from src.eval.benchmark import BenchmarkScore
from src.files import atomic_write

__all__ = ["SCHEMA", "Results", "read_results", "write_results"]

SCHEMA = 1

Metrics = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Results:
    """Results of one set of weights.

    Attributes:
        experiment: Name of the experiment.
        label: Name of the row in tables and figures, e.g. ``"trained"``; not part of the file.
        checkpoint: Where the weights come from; None for an untrained network.
        seconds: Wall-clock time of the evaluation.
        environment: As `src.eval.environment.collect_environment` describes it.
        scores: Score by benchmark.
        privacy: Metrics by privacy evaluation.
    """

    experiment: str
    label: str
    checkpoint: str | None
    seconds: float
    environment: dict[str, Any]
    scores: dict[str, BenchmarkScore]
    privacy: Metrics = field(default_factory=dict)

    @property
    def metrics(self) -> Metrics:
        """Metrics by benchmark."""
        return {name: score.metrics for name, score in self.scores.items()}


def write_results(path: Path | str, results: Results) -> None:
    """Write ``results`` as JSON; NaN becomes null.

    Args:
        path: Replaced as a whole or, on failure, not at all.
        results: Every metric is finite or NaN.

    Raises:
        ValueError: A metric is infinite.
    """
    content = {
        "schema": SCHEMA,
        "experiment": results.experiment,
        "checkpoint": results.checkpoint,
        "seconds": results.seconds,
        "environment": results.environment,
        "benchmarks": _nan_to_none(results.metrics),
        "privacy": _nan_to_none(results.privacy),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path, "w") as file:
        file.write(text + "\n")


def read_results(path: Path | str, label: str) -> Results:
    """Read what `write_results` wrote; null becomes NaN, curves are not kept.

    Args:
        path: The file.
        label: Name of the row in tables and figures.

    Raises:
        UserError: The file is missing, is not JSON, or a key is missing or of the wrong kind.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: cannot be read as results of an evaluation ({error})") from error
    _check(content, path)
    return Results(
        experiment=content["experiment"],
        label=label,
        checkpoint=content["checkpoint"],
        seconds=content["seconds"],
        environment=content["environment"],
        scores={name: BenchmarkScore(m) for name, m in _none_to_nan(content["benchmarks"]).items()},
        privacy=_none_to_nan(content["privacy"]),
    )


_KINDS: dict[str, tuple[type, ...]] = {
    "schema": (int,),
    "experiment": (str,),
    "checkpoint": (str, type(None)),
    "seconds": (int, float),
    "environment": (dict,),
    "benchmarks": (dict,),
    "privacy": (dict,),
}


def _check(content: Any, path: Path | str) -> None:
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(content).__name__}")
    for key, kinds in _KINDS.items():
        if key not in content or not isinstance(content[key], kinds):
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            found = type(content[key]).__name__ if key in content else "nothing"
            raise UserError(f"{path}: key {key!r}: expected {expected}, found {found}; run eval.py again to write it")
    if content["schema"] != SCHEMA:
        raise UserError(
            f"{path}: schema {content['schema']}, this version reads {SCHEMA}; run eval.py again to write it"
        )
    for section in ("benchmarks", "privacy"):
        for name, metrics in content[section].items():
            if not isinstance(metrics, dict) or not all(_is_number(value) for value in metrics.values()):
                raise UserError(f"{path}: {section}.{name}: expected numbers or null by metric name")


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _nan_to_none(metrics: Metrics) -> dict[str, dict[str, float | None]]:
    return {
        name: {metric: None if math.isnan(value) else value for metric, value in values.items()}
        for name, values in metrics.items()
    }


def _none_to_nan(metrics: dict[str, dict[str, float | None]]) -> Metrics:
    return {
        name: {metric: math.nan if value is None else value for metric, value in values.items()}
        for name, values in metrics.items()
    }
