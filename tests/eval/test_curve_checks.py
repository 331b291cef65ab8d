from __future__ import annotations

from dataclasses import replace

import pytest
from support_protection import protection_score
from support_results import gender_score

from src.eval.curve_checks import check_curves
from src.eval.score import ScoreCurves


def test_accepts_what_benchmarks_make() -> None:
    for curves in (ScoreCurves(), protection_score(0.1).curves, gender_score(0.5, 0.7).curves):
        check_curves(curves, "curves.toy")


def test_names_the_list_that_is_too_short() -> None:
    found = protection_score(0.1).curves.protection
    assert found is not None
    short = replace(found, linkability=[replace(found.linkability[0], mated=[1])])
    with pytest.raises(ValueError, match=r"curves\.toy\.protection: expected one edge more than there are counts"):
        check_curves(ScoreCurves(protection=short), "curves.toy")
    with pytest.raises(ValueError, match=r"curves\.toy\.roc: expected two lists of the same length"):
        check_curves(ScoreCurves(roc=([], [])), "curves.toy")
