"""What stands for female and male in files, and in memory: 0 female, 1 male, `sample.UNKNOWN` neither."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src.errors import UserError

__all__ = ["GENDERS", "check_codes"]

GENDERS = ("female", "male")
"""Names by attribute."""


def check_codes(codes: Mapping[Any, int]) -> dict[str, int]:
    """Check what a file's genders stand for.

    Args:
        codes: What the file holds -> 0 (female) or 1 (male).

    Returns:
        The same with texts as keys, for YAML and the command line read the keys 0 and 1 as numbers.

    Raises:
        UserError: A value is neither 0 nor 1.
    """
    texts = {str(text): code for text, code in codes.items()}
    if wrong := {text: code for text, code in texts.items() if code not in (0, 1)}:
        raise UserError(f"gender_codes: expected 0 (female) or 1 (male) for each text, found {wrong}")
    return texts
