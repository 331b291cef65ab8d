"""Peers and measurements of ``benchmarks/data.py``."""
