"""Counter-based random numbers that are addressed by name and index.

A draw is a pure function of ``(seed, name, indices)``: it depends on no earlier draw, on no generator state
and on no library version. Any image of the data set can therefore be made alone, in any order and on any
worker, and a new parameter never changes the old ones.

The mixer is the finaliser of SplitMix64 (Steele et al. 2014, "Fast splittable pseudorandom number
generators", fig. 16); names are hashed with 64-bit FNV-1a (Fowler, Noll and Vo).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["NORMAL_LIMIT", "Stream", "bits", "fnv1a64", "normal", "uniform"]

NORMAL_LIMIT = 2.6
"""Normal draws are clipped to this many standard deviations, so that no factor leaves its drawable range."""

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_MASK = 0xFFFFFFFFFFFFFFFF


def fnv1a64(name: str) -> int:
    """Return the 64-bit FNV-1a hash of the UTF-8 bytes of ``name``."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & _MASK
    return value


def _mix64(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))


@np.errstate(over="ignore")
def bits(seed: int, name: str, *indices: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    """Return 64 hashed bits for every element of the broadcast indices.

    Args:
        seed: Seed of the data set, any integer.
        name: Name of the parameter.
        *indices: Integer arrays that broadcast together, for instance identities and samples.

    Returns:
        uint64 array of the broadcast shape.
    """
    state = _mix64(np.asarray(seed & _MASK, dtype=np.uint64) + _GOLDEN_GAMMA)
    state = _mix64(state ^ np.uint64(fnv1a64(name)))
    for index in indices:
        counter = np.asarray(index).astype(np.int64).astype(np.uint64)
        state = _mix64((state + _GOLDEN_GAMMA) ^ _mix64(counter + _GOLDEN_GAMMA))
    return np.asarray(state)


def uniform(seed: int, name: str, *indices: npt.ArrayLike, size: int | None = None) -> npt.NDArray[np.float64]:
    """Return draws from the open interval (0, 1).

    Args:
        seed: Seed of the data set.
        name: Name of the parameter.
        *indices: Integer arrays that broadcast together.
        size: Number of components of a vector parameter; appended as the last axis.

    Returns:
        float64 array of the broadcast shape, with a last axis of length ``size`` where that is given.
    """
    if size is not None:
        indices = (*(np.asarray(index)[..., None] for index in indices), np.arange(size))
    hashed = bits(seed, name, *indices)
    return ((hashed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(seed: int, name: str, *indices: npt.ArrayLike, size: int | None = None) -> npt.NDArray[np.float64]:
    """Return standard normal draws (Box and Muller 1958), clipped to ``±NORMAL_LIMIT``; see :func:`uniform`."""
    radius = np.sqrt(-2 * np.log(uniform(seed, name + "/a", *indices, size=size)))
    angle = 2 * np.pi * uniform(seed, name + "/b", *indices, size=size)
    return np.clip(radius * np.cos(angle), -NORMAL_LIMIT, NORMAL_LIMIT)


@dataclass(frozen=True)
class Stream:
    """The draws of one kind of thing: a seed, a prefix of the names and the indices, bound together.

    Attributes:
        seed: Seed of the data set.
        prefix: Put before every name, for instance ``"nu/"``.
        indices: Integer arrays that address the draws.
    """

    seed: int
    prefix: str
    indices: tuple[npt.ArrayLike, ...]

    def uniform(self, name: str, size: int | None = None) -> npt.NDArray[np.float64]:
        """Return :func:`uniform` draws of the parameter ``name``."""
        return uniform(self.seed, self.prefix + name, *self.indices, size=size)

    def normal(self, name: str, size: int | None = None) -> npt.NDArray[np.float64]:
        """Return :func:`normal` draws of the parameter ``name``."""
        return normal(self.seed, self.prefix + name, *self.indices, size=size)
