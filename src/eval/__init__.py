"""Evaluation: benchmarks, metrics, results and reports."""
