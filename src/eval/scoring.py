"""Scoring of all benchmarks of an evaluation: first each by itself, then what needs the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rich.console import Console

from src.errors import UserError
from src.eval.benchmark import VerificationBenchmark
from src.eval.collector import Collected
from src.eval.matching import Matcher
from src.eval.score import BenchmarkScore
from src.ops.hashing import RankHash

if TYPE_CHECKING:
    from src.datamodules.face_datamodule import Benchmark

__all__ = ["Evaluated", "PrivacyBenchmark", "score_benchmarks"]


@dataclass(frozen=True)
class Evaluated:
    """One set of embeddings and what the benchmarks made of it.

    Attributes:
        collected: Embeddings by name of benchmark.
        scores: Scores by name of benchmark.
        rank_hash: What made codes of the backbone's embeddings, where ``collected`` holds codes.
    """

    collected: Mapping[str, Collected]
    scores: Mapping[str, BenchmarkScore]
    rank_hash: RankHash | None = None


@runtime_checkable
class PrivacyBenchmark(Protocol):
    """A benchmark that also measures what embeddings give away."""

    def privacy(
        self,
        name: str,
        benchmarks: Mapping[str, Any],
        evaluated: Evaluated,
        *,
        unprotected: Evaluated | None = None,
        resamples: int = 0,
        on_progress: Callable[[str], None] | None = None,
    ) -> BenchmarkScore:
        """Attack the embeddings.

        Args:
            name: Of this benchmark among ``benchmarks``.
            benchmarks: All that are evaluated, by name.
            evaluated: Embeddings and scores of all ``benchmarks``.
            unprotected: What was evaluated before protection, attacked like this.
            resamples: Number of bootstrap resamples; 0 for no intervals.
            on_progress: Told what is under way.

        Returns:
            This benchmark's score, completed by ``privacy`` metrics.
        """


def score_benchmarks(
    benchmarks: Mapping[str, Benchmark],
    collected: Mapping[str, Collected],
    resamples: int = 0,
    *,
    unprotected: Evaluated | None = None,
    matcher: Matcher | None = None,
    rank_hash: RankHash | None = None,
    show_progress: bool = True,
) -> dict[str, BenchmarkScore]:
    """Score every benchmark.

    Args:
        benchmarks: By name.
        collected: Embeddings or codes by name of benchmark.
        resamples: Number of bootstrap resamples; 0 for no intervals.
        unprotected: What came of the embeddings that ``collected`` protects, scored by this function too.
        matcher: Forms templates and compares them; by default embeddings by their cosine.
        rank_hash: What made codes of the embeddings in ``unprotected``, where ``collected`` holds codes.
        show_progress: Whether to show what is under way on the standard error stream.

    Returns:
        Scores by name, with privacy metrics of the benchmarks that measure it.

    Raises:
        UserError: A benchmark searches and the matcher compares pairs only, embeddings do not fit a benchmark, or its
            people are too few.
    """
    options = {} if matcher is None else {"matcher": matcher}
    scores: dict[str, BenchmarkScore] = {}
    with Console(stderr=True, quiet=not show_progress).status("") as status:
        for name, benchmark in benchmarks.items():
            status.update(f"scoring {name}")
            if matcher is not None and matcher.pairs_only and not isinstance(benchmark, VerificationBenchmark):
                raise UserError(
                    f"benchmark {name} compares whole galleries of templates, this method only two of them by its own "
                    "rule; evaluate it on sets of pairs"
                )
            scores[name] = benchmark.score(collected[name], resamples, **options)
        evaluated = Evaluated(collected, scores, rank_hash)
        attacked = {
            name: benchmark.privacy(
                name,
                benchmarks,
                evaluated,
                unprotected=unprotected,
                resamples=resamples,
                on_progress=status.update,
            )
            for name, benchmark in benchmarks.items()
            if isinstance(benchmark, PrivacyBenchmark)
        }
    return scores | attacked
