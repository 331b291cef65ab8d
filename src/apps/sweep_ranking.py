"""Which job of a multirun is the best: the order of its table, ``sweep.json`` and one plot."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from src.eval.figures.sweep import sweep_figure
from src.files import atomic_write

if TYPE_CHECKING:
    from src.apps.sweep_report import Job

__all__ = ["RANKING", "Ranking", "rank", "write_ranking"]

RANKING = "sweep.json"


@dataclass(frozen=True)
class Ranking:
    """The jobs of a multirun, the best first and those without a value at the end.

    Attributes:
        jobs: All of them; in the order of the multirun where they monitor nothing, or different metrics.
        metric: What they monitor, as the config names it; empty if nothing.
        is_better_high: Whether the best has the highest value.
        values: Of each of the jobs; NaN where it was not measured.
    """

    jobs: list[Job]
    metric: str
    is_better_high: bool
    values: list[float]

    @property
    def best(self) -> Job | None:
        """The first of the jobs, if it has a value."""
        return self.jobs[0] if self.values and not math.isnan(self.values[0]) else None


def rank(jobs: Sequence[Job]) -> Ranking:
    """Sort jobs by the metric that their config monitors.

    Metrics of benchmarks, ``val/BENCHMARK/METRIC``, are better high, all others better low, as in the choice of
    ``best.ckpt``.
    """
    monitored = {_monitor(job) for job in jobs}
    metric = monitored.pop() if len(monitored) == 1 else ""
    is_better_high = metric.startswith("val/")
    values = {id(job): _value(job, metric) for job in jobs}

    def place(job: Job) -> tuple[bool, float]:
        value = values[id(job)]
        return (math.isnan(value), 0.0 if math.isnan(value) else -value if is_better_high else value)

    ranked = sorted(jobs, key=place)
    return Ranking(ranked, metric, is_better_high, [values[id(job)] for job in ranked])


def write_ranking(folder: Path, ranking: Ranking) -> Path | None:
    """Write ``sweep.json`` and draw ``figures/sweep.png`` into the folder of a multirun.

    Returns:
        The plot; None if no job has a value.
    """
    best = ranking.best
    contents = {
        "schema": 1,
        "metric": ranking.metric or None,
        "direction": ("maximize" if ranking.is_better_high else "minimize") if ranking.metric else None,
        "best": None if best is None else best.folder.name,
        "jobs": [_entry(job, value) for job, value in zip(ranking.jobs, ranking.values, strict=True)],
    }
    with atomic_write(folder / RANKING, "w") as file:
        json.dump(contents, file, indent=1, allow_nan=False)
        file.write("\n")
    if best is None:
        return None
    measured = [(job, value) for job, value in zip(ranking.jobs, ranking.values, strict=True) if not math.isnan(value)]
    path = folder / "figures" / "sweep.png"
    sweep_figure(path, ranking.metric, [(job.label, job.swept, value) for job, value in measured])
    return path


def _entry(job: Job, value: float) -> dict[str, Any]:
    row = None if job.run is None else job.run.rows[-1]
    metrics = {} if row is None else {name: dict(of) for name, of in row.metrics.items()}
    for name, of in () if row is None else row.privacy.items():
        metrics[name] = metrics.get(name, {}) | dict(of)
    return {
        "job": job.folder.name,
        "settings": job.swept,
        "value": _number(value),
        "failure": job.failure or None,
        "metrics": {name: {metric: _number(value) for metric, value in of.items()} for name, of in metrics.items()},
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _monitor(job: Job) -> str:
    path = job.folder / ".hydra" / "config.yaml"
    return (OmegaConf.select(OmegaConf.load(path), "monitor") or "") if path.is_file() else ""


def _value(job: Job, metric: str) -> float:
    """The monitored metric in the last row of a job: of the benchmark that it names, or of whichever has it."""
    if job.run is None or not metric:
        return math.nan
    *_, benchmark, name = ["", *metric.split("/")]
    row = job.run.rows[-1]
    measured = {key: dict(row.metrics.get(key, {})) | dict(row.privacy.get(key, {})) for key in row.scores}
    candidates = [measured.get(benchmark, {}), *measured.values()]
    return next((float(of[name]) for of in candidates if name in of), math.nan)
