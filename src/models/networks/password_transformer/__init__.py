"""The networks of the password transformer (Gu, Luo, Ryoo and Lee 2020, ECCV, arXiv 1911.11759)."""

from __future__ import annotations

from src.models.networks.password_transformer.discriminators import Discriminators
from src.models.networks.password_transformer.predictor import PasswordPredictor
from src.models.networks.password_transformer.recogniser import AlignedRecogniser
from src.models.networks.password_transformer.sphere20 import SphereFace20
from src.models.networks.password_transformer.transformer import PasswordTransformer

__all__ = ["AlignedRecogniser", "Discriminators", "PasswordPredictor", "PasswordTransformer", "SphereFace20"]
