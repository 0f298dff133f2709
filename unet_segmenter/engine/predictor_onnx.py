# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs ONNX models with ONNX Runtime, and reads what an ONNX file says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ModelError
from .model_card import ModelCard, ModelFile
from .predictor import FloatArray, PredictorOptions, from_runtime_order, to_runtime_order


class OnnxPredictor:
    """A session that uses all threads for one window after the other."""

    runtime = "onnxruntime"
    precision = "f32"
    concurrency = 1

    def __init__(self, session: Any, file: ModelFile) -> None:
        self._session = session
        self._file = file
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[0].name

    def predict(self, images: FloatArray) -> FloatArray:
        """Probabilities (N, H, W, K) of scaled images (N, H, W, C)."""
        feed = {self._input: np.ascontiguousarray(to_runtime_order(images, self._file))}
        probabilities = self._session.run([self._output], feed)[0]
        return from_runtime_order(probabilities.astype(np.float32, copy=False), self._file)


def open_predictor(
    card: ModelCard, file: ModelFile, path: Path, options: PredictorOptions
) -> OnnxPredictor:
    """Open a session; see `predictor.open_predictor`."""
    return OnnxPredictor(_session(path, options.threads), file)


@dataclass(frozen=True)
class OnnxDescription:
    """What an ONNX file says of itself.

    Parameters
    ----------
    metadata : dict
        Its metadata_props.
    input_shape, output_shape : tuple
        Sizes of the first input and output; a free axis is None.
    """

    metadata: dict[str, str]
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]


def describe(path: Path) -> OnnxDescription:
    """Read the metadata and shapes of an ONNX file; `ModelError` if it is none."""
    session = _session(path, threads=1)
    return OnnxDescription(
        dict(session.get_modelmeta().custom_metadata_map),
        _sizes(session.get_inputs()[0].shape),
        _sizes(session.get_outputs()[0].shape),
    )


def _session(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path} is not an ONNX model that can be run: {reason}") from error


def _sizes(shape: list[Any]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape)
