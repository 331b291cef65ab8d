"""Methods that drop the variables by which a random forest tells gender."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from sklearn.decomposition import PCA, FastICA
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from src.errors import UserError, check_choice
from src.models.suppression.suppressor import Suppressor

__all__ = ["Domain", "Ive", "MultiIve"]

Domain = Literal["pca", "ica", "none"]


class Ive(Suppressor):
    """Incremental variable elimination (Terhörst et al. 2019): templates lack the values that tell gender best.

    Templates are what is left of the standardised embeddings.

    Args:
        steps: Number of forests, each trained on what is left.
        per_step: Values dropped after each of them.
        of: Length of the embeddings that ``per_step`` is meant for. Of embeddings of another length D the same share
            is dropped in as many steps, ``steps * per_step * D / of`` values; None: ``per_step`` of any.
        trees: Of a forest.
        seed: Of the forests.

    Raises:
        UserError: A number is less than 1.
    """

    blocked = 0
    """Variables, the first ones, that are never eliminated."""

    def __init__(
        self, steps: int = 20, per_step: int = 5, of: int | None = 512, trees: int = 30, seed: int = 0
    ) -> None:
        if min(steps, per_step, trees, of or 1) < 1:
            raise UserError(
                f"{type(self).__name__}: expected numbers of at least 1; found {steps=}, {per_step=}, {trees=}"
            )
        self.steps = steps
        self.per_step = per_step
        self.of = of
        self.trees = trees
        self.seed = seed
        self.kept: NDArray[np.int64] = np.empty(0, np.int64)

    def check(self, count: int, size: int) -> None:
        """See `Suppressor.check`."""
        self.eliminated_per_step(size)

    def fit(self, embeddings: Tensor, attributes: Tensor, labels: Tensor) -> None:
        """See `Suppressor.fit`."""
        self._scaler = StandardScaler().fit(embeddings.double().numpy())
        values = self._scaler.transform(embeddings.double().numpy())
        self.kept = self._eliminate(values, attributes.numpy())
        self.parameters = 2 * len(self.kept)

    def transform(self, embeddings: Tensor) -> Tensor:
        """See `Suppressor.transform`."""
        values = self._scaler.transform(embeddings.double().numpy())
        return torch.from_numpy(values[:, self.kept]).float()

    def _eliminate(self, values: NDArray[np.float64], attributes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers, ascending, of the variables of ``values`` [N, D] that are left."""
        size = values.shape[1]
        counts = self.eliminated_per_step(size)
        kept = np.arange(size)
        for step in track(range(len(counts)), type(self).__name__, console=Console(stderr=True), transient=True):
            forest = RandomForestClassifier(self.trees, random_state=self.seed + step, n_jobs=-1)
            importances = forest.fit(values[:, kept], attributes).feature_importances_
            candidates = np.flatnonzero(kept >= self.blocked)
            order = np.argsort(-importances[candidates], kind="stable")
            kept = np.delete(kept, candidates[order[: counts[step]]])
        return kept

    def eliminated_per_step(self, size: int) -> NDArray[np.int64]:
        """How many of ``size`` variables each step eliminates; steps without any are left out.

        Raises:
            UserError: They eliminate all.
        """
        total = round(self.steps * self.per_step * size / (self.of or size))
        if total >= size - self.blocked:
            raise UserError(
                f"{type(self).__name__}: {self.steps} steps of {self.per_step} eliminate {total} of {size} variables, "
                f"of which {self.blocked} are blocked, and leave nothing; lower steps or per_step"
            )
        eliminated = np.linspace(0, total, self.steps + 1).round()
        counts = np.diff(eliminated).astype(np.int64)
        return counts[counts > 0]


class MultiIve(Ive):
    """IVE among the principal components of the standardised embeddings (Melzi et al. 2023, "Multi-IVE").

    Eliminated components become 0 and the others are mapped back, so that templates are as long as embeddings. Its
    scores were minus Euclidean distances, which order templates of unit length as cosines do.

    Args:
        steps: Number of forests.
        per_step: Components eliminated after each of them.
        of: As of `Ive`.
        trees: Of a forest.
        domain: Variables to choose from: ``"pca"``, ``"ica"`` (independent components) or ``"none"`` (the values
            themselves).
        blocked: Components, the first ones, that are never eliminated; the authors use 0, 3 and 5.
        seed: Of the forests and of the independent components.

    Raises:
        UserError: A value is out of its range.
    """

    def __init__(
        self,
        steps: int = 40,
        per_step: int = 3,
        of: int | None = 512,
        trees: int = 30,
        domain: Domain = "pca",
        blocked: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(steps, per_step, of, trees, seed)
        check_choice("MultiIve: domain", domain, get_args(Domain))
        if blocked < 0:
            raise UserError(f"MultiIve: blocked={blocked}: expected 0 or more components")
        self.domain = domain
        self.blocked = blocked

    def fit(self, embeddings: Tensor, attributes: Tensor, labels: Tensor) -> None:
        """See `Suppressor.fit`."""
        self._scaler = StandardScaler()
        scaled = self._scaler.fit_transform(embeddings.double().numpy())
        self._components = self._make_components().fit(scaled) if self.domain != "none" else None
        variables = self._components.transform(scaled) if self._components else scaled
        self.kept = self._eliminate(variables, attributes.numpy())
        size = embeddings.shape[1]
        self.parameters = 2 * size + (size * len(self.kept) if self._components else 0)

    def transform(self, embeddings: Tensor) -> Tensor:
        """See `Suppressor.transform`."""
        scaled = self._scaler.transform(embeddings.double().numpy())
        variables = self._components.transform(scaled) if self._components else scaled
        left = np.zeros_like(variables)
        left[:, self.kept] = variables[:, self.kept]
        return torch.from_numpy(self._components.inverse_transform(left) if self._components else left).float()

    def _make_components(self) -> Any:
        if self.domain == "pca":
            return PCA(svd_solver="full")
        return FastICA(whiten="unit-variance", random_state=self.seed)
