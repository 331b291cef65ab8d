"""How metrics are called and written in tables, cards and figures."""

from __future__ import annotations

import math

__all__ = ["DASH", "format_metric", "is_percentage", "metric_title", "percent"]

DASH = "—"
"""Of what is not known."""

_PERCENT = (
    *("accuracy", "eer", "val", "val_std", "tar", "vr", "rank", "map", "tpir", "dir"),
    *("bacc", "attack_accuracy", "leakage", "suppression_rate"),
)
_PERCENT_OF = ("accuracy_", "eer_", "tar_", "fmr_", "fnmr_", "bacc_")
_FALSE_RATES = ("far", "val_far")
_COUNTS = ("unaligned",)
_RELATIVE = ("pic", "pic_folds", "pic_regularised", "privacy_gain", "identity_loss")
_TITLES = {
    "tar": "TAR @ FAR",
    "tar_strict": "TAR @ FAR <=",
    "far": "FAR for",
    "vr": "VR @ FAR",
    "tpir": "TPIR @ FPIR",
    "dir": "DIR @ FAR",
    "bacc_cross": "gender guessed by attackers from",
}
_NAMES = {
    "eer": "EER",
    "eer_folds": "EER over folds",
    "bacc": "gender guessed",
    "bacc_logreg": "gender guessed by logistic regression",
    "bacc_svm": "gender guessed by linear SVM",
    "bacc_rbf": "gender guessed by RBF SVM",
    "bacc_mlp": "gender guessed by MLP",
    "bacc_knn": "gender guessed by nearest neighbours",
    "bacc_boosting": "gender guessed by boosting",
    "bacc_naive": "gender guessed by attackers who know unprotected templates",
    "attack_accuracy": "attack accuracy, not balanced",
    "attacker_auc": "attacker AUC",
    "v_information": "V-information, nats",
    "in_domain": "trained on this set",
    "pic": "PIC",
    "pic_folds": "PIC by EER over folds",
    "pic_regularised": "PIC, regularised",
    "suppression_rate": "suppression",
}


def metric_title(name: str) -> str:
    """``TAR @ FAR 1e-4`` for ``tar@1e-4``."""
    stem, at, rate = name.partition("@")
    if stem == "map":
        return f"mAP{at}{rate}"
    if stem.startswith("rank"):
        return f"rank {stem.removeprefix('rank').replace('_', ' ')}"
    return f"{_TITLES[stem]} {rate}" if at and stem in _TITLES else _NAMES.get(name, name.replace("_", " "))


def is_percentage(name: str) -> bool:
    """Whether a metric is written in percent."""
    stem = _stem(name)
    return stem in _PERCENT or (stem.startswith(_PERCENT_OF) and not stem.endswith("_ratio"))


def format_metric(name: str, value: float, interval: tuple[float, float] | None = None) -> str:
    """A metric with its confidence interval: ``98.71 [98.30, 99.10]``; rates in percent, NaN as a dash.

    Args:
        name: Name of the metric, which tells how it is written.
        value: The metric.
        interval: Its low and high end.
    """
    if math.isnan(value):
        return DASH
    text = _written(name, value)
    if interval is None or any(math.isnan(end) for end in interval):
        return text
    return f"{text} [{_written(name, interval[0])}, {_written(name, interval[1])}]"


def percent(value: float) -> str:
    """``98.71`` for 0.9871; NaN as a dash."""
    return DASH if math.isnan(value) else f"{100 * value:.2f}"


def _written(name: str, value: float) -> str:
    stem = _stem(name)
    if is_percentage(name):
        return percent(value)
    if stem == "in_domain":
        return "yes" if value else "no"
    if stem in _COUNTS:
        return f"{value:.0f}"
    if stem in _RELATIVE:
        return f"{value:.2f}"
    if stem in _FALSE_RATES:
        return "0" if value == 0 else f"{value:.1e}".replace("e-0", "e-")
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _stem(name: str) -> str:
    stem = name.partition("@")[0]
    return "rank" if stem.startswith("rank") else stem
