"""Figures of an evaluation as PNG files, all drawn from `src.eval.score.ScoreCurves`.

Each PNG carries its title and its alternative text, so a report can be made anew from a run's folder.
"""
