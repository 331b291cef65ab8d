"""What an exported network comes with: ``model.yaml`` for programs and ``README.md`` for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from src.apps.checkpoint import TrainedCheckpoint
from src.models.export import PREPROCESSING

__all__ = ["describe_model", "find_results", "render_card"]

_HEADLINES = ("accuracy", "accuracy_std", "eer", "tar@1e-4", "tar@1e-3", "rank1", "dir@1e-2", "tpir@1e-2")
_ATTACKS = ("linear_cos", "gradient_cos", "dsys_identifier", "dsys_stores", "dsys_chance")
_REFERENCE = "backbone"
"""What the labels of rows begin with that are about another network than the run's, as in `src.apps.result_rows`."""


def describe_model(
    checkpoint: TrainedCheckpoint,
    *,
    embedding_size: int,
    parameters: int,
    sha256: str,
    difference: float,
    alphabet: int | None = None,
) -> dict[str, Any]:
    """Facts about an exported network; plain values.

    Args:
        checkpoint: Where it comes from.
        embedding_size: Length of its embeddings, or symbols of its codes.
        parameters: Number of its weights.
        sha256: Hex digest of ``model.safetensors``.
        difference: See `src.models.export.largest_difference` or, of codes, `src.models.export.unequal_symbols`.
        alphabet: Of codes, the number of symbols q; None for embeddings.
    """
    config, results = checkpoint.config, find_results(checkpoint.path)
    model = config["model"]
    return {
        "backbone": checkpoint.backbone,
        "input": {"size": checkpoint.size, **PREPROCESSING},
        "embedding_size": embedding_size,
        "code": None if alphabet is None else {"m": embedding_size, "q": alphabet, "dtype": "uint8"},
        "parameters": parameters,
        "experiment": config.get("name"),
        "training": {
            "method": _last_name(model),
            "data": _describe_data(config["datamodule"]),
            "loss": _describe_call(model.get("head") or model.get("loss")),
            "epochs": checkpoint.epochs,
            "steps": checkpoint.steps,
            "initial_weights": config.get("init_from") and Path(config["init_from"]).name,
        },
        "commit": results.get("environment", {}).get("commit"),
        "benchmarks": {
            name: {"files": _place(config.get("benchmark", {}).get(name)), "metrics": _finite(metrics, _HEADLINES)}
            for name, metrics in results.get("benchmarks", {}).items()
        },
        "attacks": _finite(results.get("privacy", {}).get("protection", {}), _ATTACKS),
        "sha256": {"model.safetensors": sha256},
        "onnx_difference": difference,
    }


def find_results(checkpoint: Path) -> dict[str, Any]:
    """Content of the results file of a run that is about this very checkpoint; empty if there is none."""
    for path in sorted(checkpoint.resolve().parent.parent.glob("results*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if Path(content["checkpoint"]).name == checkpoint.name and not _is_of_reference(content):
                return content
        except (OSError, ValueError, KeyError, TypeError):  # not ours, or of an untrained network
            continue
    return {}


def render_card(facts: Mapping[str, Any]) -> str:
    """The model card, Markdown, from what `describe_model` returns."""
    environment = Environment(
        loader=PackageLoader("src.apps"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("model_card.md.j2").render(facts, backbone_name=_network_name(facts["backbone"]))


def _network_name(network: Mapping[str, Any]) -> str:
    """Such as ``MiniFaceNet``, or ``RankHashLayer behind MiniFaceNet``."""
    if "layer" not in network:
        return _last_name(network)
    return f"{_last_name(network['layer'])} behind {_last_name(network['backbone'])}"


def _is_of_reference(results: Mapping[str, Any]) -> bool:
    return str(results.get("label", "")).startswith(_REFERENCE)


def _finite(metrics: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    values = {name: metrics.get(name) for name in names}
    return {name: value for name, value in values.items() if isinstance(value, int | float) and math.isfinite(value)}


def _describe_data(datamodule: Mapping[str, Any]) -> str:
    opened = datamodule.get("source") or datamodule
    return " by ".join(filter(None, (_place(opened), _last_name(opened))))


def _place(node: Any) -> str | None:
    """End of the path that a config node reads from; the rest is the business of that machine."""
    path = (node.get("path") or node.get("root")) if isinstance(node, Mapping) else None
    return "/".join(Path(str(path)).parts[-2:]) if path else None


def _describe_call(node: Any) -> str | None:
    """``Name(argument=value, ...)`` of a config node."""
    if not isinstance(node, Mapping):
        return None
    arguments = ", ".join(f"{name}={value}" for name, value in node.items() if not name.startswith("_"))
    return f"{_last_name(node)}({arguments})"


def _last_name(node: Mapping[str, Any]) -> str:
    return str(node.get("_target_", "")).rpartition(".")[2]
