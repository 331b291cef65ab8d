"""How metrics are called and written in tables, cards and figures."""

from __future__ import annotations

import math

__all__ = ["DASH", "format_metric", "is_percentage", "lower_is_better", "metric_title", "percent"]

DASH = "—"
"""Of what is not known."""

_PERCENT = (
    *("accuracy", "eer", "val", "val_std", "tar", "vr", "rank", "map", "tpir", "dir"),
    *("bacc", "attack_accuracy", "leakage", "suppression_rate"),
    *("accepted", "accepted_fresh", "genuine_fresh", "renewed_equal", "linear_match", "linear_match_fresh"),
    *("gradient_match", "gradient_match_fresh", "threshold_far", "threshold_eer"),
    *("precision", "recall", "breached"),
)
_PERCENT_OF = ("accuracy_", "eer_", "tar_", "fmr_", "fnmr_", "bacc_")
_FALSE_RATES = ("far", "val_far")
_COUNTS = ("unaligned", "template_bytes")
_FLAGS = ("in_domain", "renewed_passes")
_BITS = ("guess_bits", "guess_bits_entropy", "guess_bits_freedom", "false_accept_bits", "false_accept_bits_eer")
_RELATIVE = ("pic", "pic_folds", "pic_regularised", "privacy_gain", "identity_loss")
_LOWER_IS_BETTER = ("fid", "kid", "ppl")
_FOUR_DIGITS = ("fid", "kid", "is", "is_std", "ppl", "fdr", "decidability")
_NIR = "_NIR"
_TITLES = {
    "tar": "TAR @ FAR",
    "tar_strict": "TAR @ FAR <=",
    "far": "FAR for",
    "vr": "VR @ FAR",
    "tpir": "TPIR @ FPIR",
    "dir": "DIR @ FAR",
    "bacc_cross": "gender guessed by attackers from",
    "accepted": "rebuilt faces accepted @",
    "accepted_fresh": "rebuilt faces accepted elsewhere @",
    "genuine_fresh": "true images accepted elsewhere @",
    "records_cos": "cosine rebuilt by number of codes:",
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
    "dsys_identifier": "linked (D_sys), templates alone",
    "dsys_identifier_relabelled": "linked, templates alone, symbols renamed",
    "dsys_stores": "linked, templates and identifiers",
    "dsys_identifier_reused": "linked, identifier used twice",
    "dsys_projection": "linked, other projection",
    "dsys_projection_relabelled": "linked, other projection, symbols renamed",
    "dsys_permutation": "linked, embeddings permuted",
    "dsys_permutation_relabelled": "linked, embeddings permuted, symbols renamed",
    "dsys_lut_shared": "linked, other table",
    "dsys_lut_shared_relabelled": "linked, other table, symbols renamed",
    "dsys_lut_position": "linked, other table per position",
    "dsys_lut_position_relabelled": "linked, other table per position, symbols renamed",
    "dsys_chance": "linked, by chance alone",
    "renewed_gap": "renewed template: match above impostors'",
    "dsys_renewed": "linked, renewed template",
    "renewed_equal": "scores unchanged by renewal",
    "renewed_passes": "renewal works",
    "linear_cos": "cosine rebuilt, linear",
    "linear_match": "symbols rebuilt, linear",
    "linear_match_fresh": "symbols rebuilt elsewhere, linear",
    "gradient_cos": "cosine rebuilt, gradient",
    "gradient_match": "symbols rebuilt, gradient",
    "gradient_match_fresh": "symbols rebuilt elsewhere, gradient",
    "templates_cos": "cosine rebuilt from templates alone",
    "typical_cos": "cosine of a typical face",
    "threshold_eer": "share of equal symbols accepted at EER",
    "threshold_far": "share of equal symbols accepted at FAR 1e-3",
    "symbol_entropy": "entropy of a symbol, bits",
    "freedom": "degrees of freedom",
    "guess_bits": "bits to guess, ideal",
    "guess_bits_entropy": "bits to guess, by entropy",
    "guess_bits_freedom": "bits to guess, by freedom",
    "false_accept_bits": "bits of other faces at FAR 1e-3",
    "false_accept_bits_eer": "bits of other faces at EER",
    "collision_error": "error of the collision law",
    "template_bytes": "bytes of a template",
    "fid": "FID",
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "is": "Inception score",
    "is_std": "Inception score, deviation",
    "ppl": "perceptual path length",
    "edge_agreement": "agreement of edges",
    "edge_agreement_shuffled": "agreement of edges, shuffled",
    "edge_agreement_real": "agreement of edges, real pairs",
    "edge_agreement_shuffled_real": "agreement of edges, real pairs shuffled",
    "auc": "AUC",
    "eer_threshold": "threshold of the EER",
    "genuine_mean": "cosine of one person's images",
    "genuine_std": "its deviation, one person's images",
    "impostor_mean": "cosine of two people's images",
    "impostor_std": "its deviation, two people's images",
    "fdr": "Fisher's discriminant ratio",
    "decidability": "decidability d'",
    "nearest_training": "cosine to the nearest real person",
    "nearest_training_max": "largest cosine to a real person",
    "nearest_gap": "nearer to training people than to strangers by",
    "breached": "images above that cosine to a real person",
    "membership_auc": "who was trained on, attacker AUC",
    "membership_advantage": "who was trained on, attacker advantage",
}


def metric_title(name: str) -> str:
    """``TAR @ FAR 1e-4`` for ``tar@1e-4``, ``FID, near infrared (demo)`` for ``fid_NIR@demo``."""
    stem, at, rate = name.partition("@")
    if stem == "map":
        return f"mAP{at}{rate}"
    if stem.startswith("rank"):
        return f"rank {stem.removeprefix('rank').replace('_', ' ')}"
    if at and stem in _TITLES:
        return f"{_TITLES[stem]} {rate}"
    plain = stem.removesuffix(_NIR)
    if plain not in _NAMES and plain == stem:
        return name.replace("_", " ")
    title = _NAMES.get(plain, plain.replace("_", " ")) + (", near infrared" if plain != stem else "")
    return f"{title} ({rate})" if at else title


def is_percentage(name: str) -> bool:
    """Whether a metric is written in percent."""
    stem = _stem(name)
    return stem in _PERCENT or (stem.startswith(_PERCENT_OF) and not stem.endswith(("_ratio", "_threshold")))


def lower_is_better(name: str) -> bool:
    """Whether a headline metric is a distance, which is best where it is lowest."""
    return _stem(name) in _LOWER_IS_BETTER


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
    if stem in _FLAGS:
        return "yes" if value else "no"
    if stem.startswith("dsys_") or stem.endswith("_cos"):
        return f"{value:.3f}"
    if stem in _BITS or stem == "freedom":
        return f"{value:.1f}"
    if stem in _FOUR_DIGITS:
        return f"{value:.4g}"
    if stem in _COUNTS:
        return f"{value:.0f}"
    if stem in _RELATIVE:
        return f"{value:.2f}"
    if stem in _FALSE_RATES:
        return "0" if value == 0 else f"{value:.1e}".replace("e-0", "e-")
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _stem(name: str) -> str:
    stem = name.partition("@")[0].removesuffix(_NIR)
    return "rank" if stem.startswith("rank") else stem
