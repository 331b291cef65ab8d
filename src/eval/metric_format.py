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
    *("q_acc", "q_bit_acc", "leak_bits_pair", "leak_bits_anon", "adaptive_chance", "reid_anon_chance"),
    *("detect_rate_anon", "detect_rate_rec", "detect_rate_wrong", "accepted_guesses"),
)
_PERCENT_ENDS = ("_success", "_rank1", "_rank5", "_accuracy", "_tar")
_PERCENT_OF = ("accuracy_", "eer_", "tar_", "fmr_", "fnmr_", "bacc_")
_FALSE_RATES = ("far", "val_far")
_COUNTS = ("unaligned", "template_bytes", "guesses", "key_bits", "worst_bit")
_FLAGS = ("in_domain", "renewed_passes")
_BITS = (
    *("guess_bits", "guess_bits_entropy", "guess_bits_freedom", "false_accept_bits", "false_accept_bits_eer"),
    *("effective_key_bits", "brute_rank_known", "brute_rank_detector", "brute_rank_sharpness"),
)
_RELATIVE = ("pic", "pic_folds", "pic_regularised", "privacy_gain", "identity_loss")
_LOWER_IS_BETTER = ("fid", "kid", "ppl")
_FOUR_DIGITS = (
    *("fid", "kid", "is", "is_std", "ppl", "fdr", "decidability", "fid_like_anon", "fid_like_wrong"),
    *("effective_key_space", "pass_flop", "pass_seconds", "brute_flop", "brute_seconds"),
)
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
    "rec_success": "recovered, recognised, threshold",
    "anon_success": "anonymised, not recognised, threshold",
    "wrong_success": "wrong password, not recognised, threshold",
    "wrong_anon_success": "wrong password, not the anonymised face, threshold",
    "accepted_guesses": "wrong passwords that recover the identity, threshold",
    "effective_key_space": "guesses for each accepted one, threshold",
    "effective_key_bits": "effective bits of the password, threshold",
    "worst_bit_success": "recognised without the bit that matters least, threshold",
    "bitflip_cos": "cosine recovered, wrong bits:",
    "bitflip_l1": "difference of pixels recovered, wrong bits:",
    "bitflip_success": "recovered and recognised, wrong bits:",
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
    "diversity_anon": "1 - cosine of a face under two passwords",
    "diversity_wrong": "1 - cosine of a face by two wrong passwords",
    "rec_l1": "recovered, difference of pixels",
    "rec_psnr": "recovered, PSNR, dB",
    "rec_ssim": "recovered, SSIM",
    "rec_lpips": "recovered, LPIPS",
    "bg_l1": "anonymised, difference of background pixels",
    "lmk_dist": "landmarks moved, by the distance of the eyes",
    "q_acc": "predictor: groups of four bits told",
    "q_bit_acc": "predictor: bits told",
    "fid_like_anon": "Fréchet distance of anonymised faces",
    "fid_like_wrong": "Fréchet distance of wrongly recovered faces",
    "trained_with_anon_cos": "cosine by the recogniser trained with, anonymised",
    "trained_with_rec_cos": "cosine by the recogniser trained with, recovered",
    "trained_with_wrong_cos": "cosine by the recogniser trained with, wrong password",
    "guesses": "passwords tried",
    "key_bits": "bits of the password",
    "brute_rank_known": "rank of the right password, original known",
    "brute_rank_detector": "rank of the right password by the detector",
    "brute_rank_sharpness": "rank of the right password by sharpness",
    "gallery_attack_rank1": "person found in a gallery by trying passwords",
    "worst_bit": "bit that matters least",
    "worst_bit_cos": "cosine recovered without it",
    "leak_bits_pair": "bits told by a linear probe, original known",
    "leak_bits_anon": "bits told by a linear probe of anonymised faces",
    "adaptive_rank1": "people told by who trained on anonymised faces",
    "naive_rank1": "people told by who trained on clean faces",
    "adaptive_chance": "people told by chance",
    "reid_anon_chance": "anonymised, found in a gallery by chance",
    "pass_flop": "operations for a face",
    "pass_seconds": "seconds for a face",
    "brute_flop": "operations for all passwords",
    "brute_seconds": "seconds for all passwords",
}
_CHANGED = {"orig": "untouched", "anon": "anonymised", "rec": "recovered", "wrong": "wrong password"}
for _kind, _who in _CHANGED.items():
    _NAMES[f"verif_{_kind}_accuracy"] = f"{_who}, pairs verified"
    _NAMES[f"verif_{_kind}_auc"] = f"{_who}, pairs verified, AUC"
    _TITLES[f"verif_{_kind}_tar"] = f"{_who}, pairs verified, TAR @ FAR"
    _NAMES[f"reid_{_kind}_rank1"] = f"{_who}, found in a gallery of clean faces"
    _NAMES[f"reid_{_kind}_rank5"] = f"{_who}, among the first five of it"
    _NAMES[f"detect_rate_{_kind}"] = f"{_who}, still found as faces"
for _storage, _how in {"png8": "8 bits", "jpeg95": "JPEG 95", "jpeg75": "JPEG 75"}.items():
    for _metric in ("rec_l1", "rec_psnr", "rec_ssim"):
        _NAMES[f"compress_{_storage}_{_metric}"] = f"{_NAMES[_metric]}, stored as {_how}"
    _TITLES[f"compress_{_storage}_rec_success"] = f"recovered, stored as {_how}, recognised, threshold"


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
    of_percent = stem.startswith(_PERCENT_OF) and not stem.endswith(("_ratio", "_threshold"))
    return stem in _PERCENT or stem.endswith(_PERCENT_ENDS) or of_percent


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
