"""What hiding an attribute gains in privacy and costs in recognition (Terhörst et al. 2019; Rezgui et al. 2024)."""

from __future__ import annotations

import logging
import math

__all__ = ["TRADE_OFF", "privacy_identity_coefficient", "trade_off"]

log = logging.getLogger(__name__)

TRADE_OFF = ("pic", "pic_regularised", "privacy_gain", "identity_loss", "suppression_rate")
"""Names of the metrics that `trade_off` gives."""

_REGULARISER = 0.01


def privacy_identity_coefficient(pre_eer: float, post_eer: float, pre_bacc: float, post_bacc: float) -> float:
    """What is gained in privacy less what is lost in recognition, both relative; see `trade_off`."""
    return trade_off(pre_eer, post_eer, pre_bacc, post_bacc)["pic"]


def trade_off(pre_eer: float, post_eer: float, pre_bacc: float, post_bacc: float) -> dict[str, float]:
    """What protection gained in privacy and lost in recognition.

    Args:
        pre_eer: Equal error rate of verification before protection.
        post_eer: The same of protected templates.
        pre_bacc: Balanced accuracy of gender attackers before protection.
        post_bacc: The same of attackers on protected templates.

    Returns:
        ``privacy_gain``, relative rise of the attackers' error; ``identity_loss``, relative rise of the equal error
        rate; ``pic``, the gain less the loss; ``pic_regularised``, the same with 0.01 added to both denominators;
        ``suppression_rate``, the share of the attackers' advantage over blind guessing that is gone. A number whose
        denominator is 0 is NaN, and a warning tells.
    """
    pre_error, gained, lost = 1 - pre_bacc, pre_bacc - post_bacc, post_eer - pre_eer
    privacy_gain = _ratio(gained, pre_error, "privacy_gain and pic", "attackers never erred before protection")
    identity_loss = _ratio(lost, pre_eer, "identity_loss and pic", "the equal error rate before protection is 0")
    suppressed = _ratio(gained, pre_bacc - 0.5, "suppression_rate", "attackers were at chance before protection")
    return {
        "pic": privacy_gain - identity_loss,
        "pic_regularised": gained / (pre_error + _REGULARISER) - lost / (pre_eer + _REGULARISER),
        "privacy_gain": privacy_gain,
        "identity_loss": identity_loss,
        "suppression_rate": suppressed,
    }


def _ratio(value: float, reference: float, names: str, reason: str) -> float:
    if reference == 0:
        log.warning("%s: not a number, since %s", names, reason)
        return math.nan
    return value / reference
