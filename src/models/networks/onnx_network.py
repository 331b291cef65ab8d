"""An ONNX file as a face embedding, run by onnxruntime."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.preprocessing import Preprocessing

__all__ = ["ALPHABET_KEY", "METADATA_KEY", "OnnxNetwork"]

METADATA_KEY = "privface.preprocessing"
"""Entry of an ONNX file's ``metadata_props``: the arguments of `Preprocessing` as JSON."""

ALPHABET_KEY = "privface.alphabet"
"""Entry of an ONNX file of codes: number of symbols q that they are made of."""

log = logging.getLogger(__name__)

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
_ERRORS_ONLY = 3


class OnnxNetwork(nn.Module):
    """Any ONNX graph from images to embeddings.

    The graph has one input, [N, 3, S, S] or, as converters from TensorFlow write it, [N, S, S, 3]; the embeddings
    [N, D] are its first output. A graph of a fixed N is run on that many images at a time. Images on a GPU are embedded
    there if onnxruntime has its CUDA provider (the package onnxruntime-gpu), else on the CPU.

    Args:
        path: The file.
        size: See `Preprocessing`, as the next three; None for what the graph says.
        color: Order of the channels; None for what the file says if it is an export of ours, else ``"rgb"``.
        mean: Of the normalisation; None likewise, else 127.5.
        std: Of the normalisation; None likewise, else 127.5.

    Attributes:
        embedding_size: Length D of an embedding; None if the file does not tell.
        size: Height and width S of the images, in pixels; None if the graph takes any.

    Raises:
        UserError: There is no such file, onnxruntime cannot run it, or it is no graph of that kind, such as one that
            yields codes.
    """

    def __init__(
        self,
        path: Path | str,
        size: int | None = None,
        color: str | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self._sessions: dict[torch.device, onnxruntime.InferenceSession] = {}
        session = self._session(torch.device("cpu"))
        _refuse_codes(session, self.path)
        graph_input = self._only_input(session)
        self._input = graph_input.name
        self._type = _TYPES[graph_input.type]
        batch, *sides = graph_input.shape
        self._is_channels_last = sides[-1] == 3 and sides[0] != 3
        height = sides[0] if self._is_channels_last else sides[1]
        self._batch = batch if isinstance(batch, int) else None
        self._output = session.get_outputs()[0].name
        shape = session.get_outputs()[0].shape
        self.embedding_size = shape[-1] if shape and isinstance(shape[-1], int) else None
        given = {"size": size, "color": color, "mean": mean, "std": std}
        arguments = _read_metadata(session, self.path) | {k: v for k, v in given.items() if v is not None}
        if isinstance(height, int):
            arguments.setdefault("size", height)
        self.preprocessing = Preprocessing(**arguments)
        self.size = self.preprocessing.size

    def forward(self, images: Tensor) -> Tensor:
        """Raw embeddings float32 [B, D] of images [B, 3, S, S] in [-1, 1] RGB, on their device.

        Raises:
            UserError: The images are not S pixels high and wide, or the graph fails on them.
        """
        prepared = self.preprocessing(images.float())
        if self._is_channels_last:
            prepared = prepared.permute(0, 2, 3, 1)
        session = self._session(images.device)
        array = prepared.contiguous().cpu().numpy().astype(self._type, copy=False)
        try:
            embeddings = self._run(session, array)
        except Exception as error:  # the exceptions of onnxruntime have no base class of their own
            raise UserError(f"{self.path}: onnxruntime fails on images {list(array.shape)}: {error}") from error
        if embeddings.ndim != 2 or len(embeddings) != len(images):
            raise UserError(
                f"{self.path}: the first output, {self._output}, is {list(embeddings.shape)} for {len(images)} images; "
                "expected embeddings [N, D]"
            )
        return torch.from_numpy(embeddings.astype(np.float32, copy=False)).to(images.device)

    def fingerprint(self) -> str:
        """SHA-256 of the file and of the files beside it that hold its weights."""
        graph = onnx.load(self.path, load_external_data=False).graph
        entries = (entry for tensor in graph.initializer for entry in tensor.external_data)
        beside = sorted({entry.value for entry in entries if entry.key == "location"})
        digest = hashlib.sha256()
        for file in (self.path, *(self.path.parent / name for name in beside)):
            with open(file, "rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        return digest.hexdigest()

    def extra_repr(self) -> str:
        """What the file holds, by its digest."""
        return f"fingerprint={self.fingerprint()}"

    def __getstate__(self) -> dict[str, Any]:
        """Sessions stay behind; another process opens its own."""
        return {**super().__getstate__(), "_sessions": {}}

    def _run(self, session: onnxruntime.InferenceSession, array: NDArray) -> NDArray:
        if self._batch is None:
            return session.run([self._output], {self._input: array})[0]
        parts = []
        for start in range(0, len(array), self._batch):
            part = array[start : start + self._batch]
            missing = self._batch - len(part)
            whole = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            parts.append(session.run([self._output], {self._input: whole})[0][: len(part)])
        return np.concatenate(parts)

    def _session(self, device: torch.device) -> onnxruntime.InferenceSession:
        if device not in self._sessions:
            self._sessions[device] = self._open(device)
        return self._sessions[device]

    def _open(self, device: torch.device) -> onnxruntime.InferenceSession:
        if not self.path.is_file():
            raise UserError(f"no ONNX file at {self.path}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = _ERRORS_ONLY  # it would warn of output shapes that converters wrote down wrong
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.type == "cuda":
            if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
                providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
            else:
                log.warning("this onnxruntime has no CUDA provider: %s runs on the CPU", self.path)
        try:
            return onnxruntime.InferenceSession(str(self.path), options, providers=providers)
        except Exception as error:
            raise UserError(f"{self.path}: onnxruntime cannot read it as an ONNX file: {error}") from error

    def _only_input(self, session: onnxruntime.InferenceSession) -> onnxruntime.NodeArg:
        inputs = session.get_inputs()
        if len(inputs) == 1 and inputs[0].type in _TYPES and inputs[0].shape and len(inputs[0].shape) == 4:
            _, second, _, last = inputs[0].shape
            if 3 in (second, last) or not isinstance(second, int):
                return inputs[0]
        found = ", ".join(f"{node.name} {node.type} {node.shape}" for node in inputs) or "none"
        raise UserError(
            f"{self.path}: expected one input of floats [N, 3, S, S] or [N, S, S, 3], found {found}. "
            "Cut the graph to the part from images to embeddings"
        )


def _refuse_codes(session: onnxruntime.InferenceSession, path: Path) -> None:
    """Raise UserError if an export of ours yields codes: their cosine means nothing."""
    alphabet = session.get_modelmeta().custom_metadata_map.get(ALPHABET_KEY)
    if alphabet is not None:
        raise UserError(
            f"{path}: yields codes, symbols out of {alphabet}, where embeddings are expected. Evaluate the "
            "checkpoint it was made from, or model.safetensors beside it: eval.py experiment=drh ckpt_path=FILE"
        )


def _read_metadata(session: onnxruntime.InferenceSession, path: Path) -> dict[str, Any]:
    """What an export of ours says of its images; empty for other files."""
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        return {}
    try:
        content = json.loads(text)
        return {name: content[name] for name in ("size", "color", "mean", "std")}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: its metadata {METADATA_KEY} is damaged: {text[:200]!r}") from error
