"""What codes must have in common to be compared in one gallery."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from src.errors import UserError, check_choice
from src.ops.code_bits import pack_planes, plane_words
from src.ops.hamming import Metric
from src.ops.lookup_table import LookupTable

__all__ = ["LutScope", "Parameters"]

_BLOCK = 4096

LutScope = Literal["per_position", "shared"]


@dataclass(frozen=True)
class Parameters:
    """What the codes of a gallery are, and how they become bits; holds no secret.

    Attributes:
        network: Fingerprint of the network that computes the codes.
        m: Symbols of an enrolled code; where those of the mirrored image are put behind, both count.
        q: Alphabet size, a power of two from 2 to 256.
        bits: Bits per symbol after the lookup table; fewer than log2 q lose information.
        flip: Whether a code holds the symbols of the mirrored image too.
        lut_scope: Whether each position of a code has its own lookup table.
        threshold: Share of equal symbols from which on a probe is taken for a person of the gallery, from 0 to 1. Of
            bits other codes share more, half of them by chance, so that it says nothing about those.
        layout: How the bits lie in a template; see :mod:`src.ops.code_bits`.

    Raises:
        UserError: A value is not one of those allowed.
    """

    __pydantic_config__: ClassVar = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    network: str
    m: int
    q: int
    bits: int
    flip: bool = False
    lut_scope: LutScope = "per_position"
    threshold: float = 0.0
    layout: Literal["planes"] = "planes"

    def __post_init__(self) -> None:
        LookupTable.random(self.q, self.bits, seed=b"")  # refuses what no table can have
        check_choice("lut_scope", self.lut_scope, ("per_position", "shared"))
        if not 1 <= self.m <= 1 << 16:
            raise UserError(f"m={self.m}: expected 1 to {1 << 16} symbols")
        if not 0 <= self.threshold <= 1:
            raise UserError(f"threshold={self.threshold}: expected a score from 0 to 1")

    @property
    def words(self) -> int:
        """Words of 64 bits that a template takes."""
        return plane_words(self.m, self.bits)

    @property
    def used_bits(self) -> NDArray[np.int64]:
        """int64 [W], ones where a template has a bit."""
        return pack_planes(torch.ones(self.m, self.bits, dtype=torch.uint8)).numpy()

    def least_score(self, metric: Metric, threshold: float | None) -> float:
        """The score from which on a probe is taken for a person, where ``threshold`` may say another one.

        Raises:
            UserError: It does not, bits are compared, and the gallery has a threshold, which is one for symbols.
        """
        if threshold is not None:
            return threshold
        if metric == "bits" and self.threshold:
            raise UserError(
                f"metric=bits: the gallery's threshold, {self.threshold}, is a share of equal symbols; give the "
                "threshold for metric=bits too"
            )
        return self.threshold

    def to_words(self, codes: Tensor | NDArray[np.uint8], table: LookupTable) -> NDArray[np.int64]:
        """Bits of codes.

        Args:
            codes: uint8 [n, m], values 0..q-1.
            table: The gallery's.

        Returns:
            int64 [n, W].

        Raises:
            UserError: Codes are not those of this gallery.
        """
        values = np.asarray(codes)
        if values.ndim != 2 or values.shape[1] != self.m:
            raise UserError(f"expected codes uint8 [n, {self.m}], found {values.dtype} {list(values.shape)}")
        words = np.empty((len(values), self.words), np.int64)
        for start in range(0, len(values), _BLOCK):
            words[start : start + _BLOCK] = pack_planes(table.encode(values[start : start + _BLOCK]))
        return words

    def lookup_table(self, seed: bytes) -> LookupTable:
        """The gallery's lookup table."""
        return LookupTable.random(self.q, self.bits, m=self.m if self.lut_scope == "per_position" else None, seed=seed)

    def to_json(self) -> bytes:
        """As `read` reads them."""
        return _FILE.dump_json(self, indent=2) + b"\n"

    @classmethod
    def read(cls, path: Path) -> Parameters:
        """Read what `to_json` wrote.

        Raises:
            UserError: The file is missing, or a key is missing, unknown or of the wrong kind.
        """
        try:
            return _FILE.validate_json(path.read_bytes())
        except OSError as error:
            raise UserError(f"{path}: cannot be read as parameters of a gallery ({error})") from error
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "the whole"
            raise UserError(f"{path}: {key}: {first['msg']}; restore it from a copy") from error
        except UserError as error:
            raise UserError(f"{path}: {error}; restore it from a copy") from error


_FILE = TypeAdapter(Parameters)
