"""Checks of curves that were read from a file."""

from __future__ import annotations

from src.eval.score import ProtectionCurves, ScoreCurves

__all__ = ["check_curves"]


def check_curves(curves: ScoreCurves, where: str) -> None:
    """Refuse lists of lengths that do not belong together.

    Args:
        curves: Read from a file.
        where: Key of the file that holds them.

    Raises:
        ValueError: Names the key and says what was expected.
    """
    for name in ("roc", "open_set"):
        line = getattr(curves, name)
        if line is not None and not 0 < len(line[0]) == len(line[1]):
            raise ValueError(f"{where}.{name}: expected two lists of the same length, which is not 0")
    if curves.projection is not None and len({len(values) for values in vars(curves.projection).values()}) > 1:
        raise ValueError(f"{where}.projection: expected three lists of the same length")
    if curves.protection is not None:
        _check_protection(curves.protection, f"{where}.protection")
    for name in ("histogram", "membership"):
        histogram = getattr(curves, name)
        if histogram is not None:
            counts = {len(histogram.edges) - 1, len(histogram.genuine), len(histogram.impostor)}
            if len(counts) > 1 or 0 in counts:
                raise ValueError(f"{where}.{name}: expected one edge more than genuine and impostor have entries")


def _check_protection(curves: ProtectionCurves, where: str) -> None:
    binned = [(found.edges, found.mated, found.non_mated) for found in curves.linkability]
    renewal = curves.renewal
    for edges, *counts in (*binned, (renewal.edges, renewal.genuine, renewal.impostor, renewal.renewed)):
        if {len(values) for values in counts} != {max(len(edges) - 1, 1)}:
            raise ValueError(f"{where}: expected one edge more than there are counts of each kind")
    found = curves.collisions
    if len(found.law[0]) != len(found.law[1]) or len({len(found.cosine), len(found.projection), len(found.code)}) > 1:
        raise ValueError(f"{where}.collisions: expected lists of the same length")
