"""``results.json``: what one evaluation measured, its curves, and the circumstances it was made under."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from src.errors import UserError
from src.eval.curve_checks import check_curves
from src.eval.score import BenchmarkScore, ScoreCurves
from src.files import atomic_write

__all__ = [
    "RESULTS",
    "SCHEMA",
    "Results",
    "benchmark_names",
    "privacy_names",
    "read_results",
    "read_run_results",
    "results_file",
    "safe_name",
    "write_results",
    "write_run_results",
]

SCHEMA: Literal[1] = 1
RESULTS = "results.json"
"""File of a run's result in its folder; other rows lie beside it, see `results_file`."""

Metrics = dict[str, dict[str, float]]
_Written = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Results:
    """Results of one set of weights.

    Attributes:
        experiment: Name of the experiment.
        label: Name of the row in tables and figures, e.g. ``"untrained"``.
        checkpoint: Where the weights come from; None for an untrained network.
        seconds: Wall-clock time of the evaluation.
        environment: As `src.eval.environment.collect_environment` describes it.
        scores: Score by benchmark.
    """

    experiment: str
    label: str
    checkpoint: str | None
    seconds: float
    environment: dict[str, Any]
    scores: dict[str, BenchmarkScore]

    @property
    def metrics(self) -> Metrics:
        """Metrics by benchmark; one that measures nothing but privacy is left out."""
        return {name: score.metrics for name, score in self.scores.items() if score.metrics or not score.privacy}

    @property
    def privacy(self) -> Metrics:
        """Privacy metrics by benchmark, of those that measure it."""
        return {name: score.privacy for name, score in self.scores.items() if score.privacy}


@dataclass(frozen=True)
class _File:
    """The keys of a results file; NaN is None. Files of older runs lack those with a default."""

    __pydantic_config__: ClassVar = ConfigDict(strict=True, allow_inf_nan=False)

    schema: Literal[1]
    experiment: str
    checkpoint: str | None
    seconds: float
    environment: dict[str, Any]
    benchmarks: _Written
    privacy: _Written
    label: str | None = None
    other_rows: list[str] = field(default_factory=list)
    intervals: dict[str, dict[str, tuple[float | None, float | None]]] = field(default_factory=dict)
    curves: dict[str, ScoreCurves] = field(default_factory=dict)


_FILE = TypeAdapter(_File)


def write_results(path: Path | str, results: Results, other_rows: Sequence[str] = ()) -> None:
    """Write ``results`` as JSON; NaN becomes null.

    Args:
        path: Replaced as a whole or, on failure, not at all.
        results: Every number is finite or NaN.
        other_rows: Labels of the rows of the same run that lie in files beside this one.

    Raises:
        ValueError: A number is infinite.
    """
    content = _File(
        schema=SCHEMA,
        experiment=results.experiment,
        checkpoint=results.checkpoint,
        seconds=results.seconds,
        environment=results.environment,
        benchmarks=_nan_to_none(results.metrics),
        privacy=_nan_to_none(results.privacy),
        label=results.label,
        other_rows=list(other_rows),
        intervals={
            name: {metric: (_none(low), _none(high)) for metric, (low, high) in score.intervals.items()}
            for name, score in _with_metrics(results).items()
        },
        curves={
            name: score.curves
            for name, score in results.scores.items()
            if name in results.metrics or score.curves != ScoreCurves()
        },
    )
    text = _to_text(asdict(content))
    with atomic_write(path, "w") as file:
        file.write(text)


def read_results(path: Path | str) -> Results:
    """Read what `write_results` wrote; null becomes NaN.

    A file without a label, as older versions wrote it, is labelled by its name or, if that is ``results.json``, by its
    folder's.

    Args:
        path: The file.

    Raises:
        UserError: The file is missing, is not JSON, or a key is missing or of the wrong kind.
    """
    return _to_results(_read(Path(path)), Path(path))


def write_run_results(folder: Path | str, rows: Sequence[Results]) -> None:
    """Write all rows of a run: the last one is its result, ``results.json``; the others lie beside it.

    Args:
        folder: Folder of the run.
        rows: At least one.
    """
    *others, result = rows
    labels = [row.label for row in others]
    for row, name in zip(others, _row_files(labels), strict=True):
        write_results(Path(folder) / name, row)
    write_results(Path(folder) / RESULTS, result, labels)


def read_run_results(folder: Path | str) -> list[Results]:
    """Read all rows that `write_run_results` wrote, in their order.

    Raises:
        UserError: There is no ``results.json``, or a file is not what it should be.
    """
    path = Path(folder) / RESULTS
    content = _read(path)
    others = [read_results(path.with_name(name)) for name in _row_files(content.other_rows)]
    return [*others, _to_results(content, path)]


def benchmark_names(results: Sequence[Results]) -> list[str]:
    """Names of the benchmarks of any of the ``results``, those of the last one first.

    One that measures nothing but privacy is left out, also where a row has no privacy that it could measure.
    """
    names = dict.fromkeys(name for row in reversed(results) for name in row.metrics)
    privacy = set(privacy_names(results))
    return [name for name in names if name not in privacy or any(row.metrics.get(name) for row in results)]


def privacy_names(results: Sequence[Results]) -> list[str]:
    """Names of the benchmarks that measure privacy of any of the ``results``, those of the last one first."""
    return list(dict.fromkeys(name for row in reversed(results) for name in row.privacy))


def results_file(label: str) -> str:
    """Name of the file that holds the row ``label`` beside ``results.json``."""
    return f"results_{safe_name(label)}.json"


def safe_name(label: str) -> str:
    """``label`` without what a file name cannot hold."""
    return re.sub(r"[^\w.+-]+", "_", label)


def _with_metrics(results: Results) -> dict[str, BenchmarkScore]:
    return {name: results.scores[name] for name in results.metrics}


def _row_files(labels: Iterable[str]) -> list[str]:
    """One file per row; rows whose labels are the same in a file name are numbered."""
    names: list[str] = []
    for label in labels:
        name, number = results_file(label), 2
        while name in names:
            name, number = results_file(f"{label}-{number}"), number + 1
        names.append(name)
    return names


def _read(path: Path) -> _File:
    try:
        file = _FILE.validate_json(path.read_bytes())
        for name, curves in file.curves.items():
            check_curves(curves, f"curves.{name}")
    except OSError as error:
        raise UserError(f"{path}: cannot be read as results of an evaluation ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the whole"
        raise UserError(f"{path}: {key}: {first['msg']}; run eval.py again to write it") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}; run eval.py again to write it") from error
    return file


def _to_results(file: _File, path: Path) -> Results:
    metrics, privacy = _none_to_nan(file.benchmarks), _none_to_nan(file.privacy)
    return Results(
        experiment=file.experiment,
        label=_label_of(path) if file.label is None else file.label,
        checkpoint=file.checkpoint,
        seconds=file.seconds,
        environment=file.environment,
        scores={
            name: BenchmarkScore(
                metrics.get(name, {}),
                {metric: (_nan(low), _nan(high)) for metric, (low, high) in file.intervals.get(name, {}).items()},
                file.curves.get(name, ScoreCurves()),
                privacy.get(name, {}),
            )
            for name in metrics | privacy
        },
    )


def _label_of(path: Path) -> str:
    if path.name == RESULTS:
        return path.resolve().parent.name
    return path.stem.removeprefix("results_").replace("_", " ")


def _to_text(content: dict[str, Any]) -> str:
    """Indented JSON, but with the curves of a benchmark in one line: they are for programs to read."""
    curves = content.pop("curves")
    head = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    lines = [f"    {_line(name)}: {_line(curve)}" for name, curve in curves.items()]
    return f'{head},\n  "curves": {{\n' + ",\n".join(lines) + "\n  }\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _nan_to_none(metrics: Mapping[str, Mapping[str, float]]) -> _Written:
    return {name: {metric: _none(value) for metric, value in values.items()} for name, values in metrics.items()}


def _none_to_nan(metrics: _Written) -> Metrics:
    return {name: {metric: _nan(value) for metric, value in values.items()} for name, values in metrics.items()}


def _none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
