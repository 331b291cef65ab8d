"""Sets, definitions in plain loops and measurements of ``benchmarks/evaluation.py``."""
