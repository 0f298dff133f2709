# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs ONNX models with ONNX Runtime, and reads what an ONNX file says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .model_card import ModelCard, ModelFile
from .predictor import (
    FloatArray,
    PredictorOptions,
    as_fed,
    from_runtime_order,
    run_error,
    to_runtime_order,
)


class OnnxPredictor:
    """A session that uses all threads for one window after the other."""

    runtime = "onnxruntime"
    precision = "f32"
    concurrency = 1

    def __init__(self, session: Any, path: Path, file: ModelFile) -> None:
        self._session = session
        self._path = path
        self._file = file
        first = session.get_inputs()[0]
        self._input, self._type = first.name, np.dtype(_type(first))
        # Some files are made for so many images at once, and for no other number.
        self._batch = first.shape[0] if isinstance(first.shape[0], int) else None
        self._output = session.get_outputs()[0].name

    def predict(self, images: FloatArray) -> FloatArray:
        """Probabilities (N, H, W, K) of scaled images (N, H, W, C)."""
        ordered = as_fed(to_runtime_order(images, self._file), self._type)
        batch = self._batch or len(ordered)
        parts = [self._run(ordered[n : n + batch], batch) for n in range(0, len(ordered), batch)]
        probabilities = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return from_runtime_order(probabilities[: len(images)], self._file)

    def _run(self, images: NDArray[Any], batch: int) -> FloatArray:
        """Scores of at most `batch` images, filled up by repeating the last one."""
        missing = batch - len(images)
        if missing:
            images = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        try:
            scores = self._session.run([self._output], {self._input: np.ascontiguousarray(images)})
        except Exception as error:
            raise run_error(self._path, images.shape, error) from error
        found: FloatArray = scores[0].astype(np.float32, copy=False)
        return found


def open_predictor(
    card: ModelCard, file: ModelFile, path: Path, options: PredictorOptions
) -> OnnxPredictor:
    """Open a session; see `predictor.open_predictor`."""
    return OnnxPredictor(_session(path, options.threads), path, file)


@dataclass(frozen=True)
class OnnxTensor:
    """An input or output: its name, its type as NumPy calls it, its sizes (None: any)."""

    name: str
    type: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class OnnxDescription:
    """What an ONNX file says of itself.

    Parameters
    ----------
    metadata : dict
        Its metadata_props.
    inputs, outputs : tuple of OnnxTensor
        What it takes and gives.
    """

    metadata: dict[str, str]
    inputs: tuple[OnnxTensor, ...]
    outputs: tuple[OnnxTensor, ...]


def describe(path: Path) -> OnnxDescription:
    """Read the metadata and shapes of an ONNX file; `ModelError` if it is none."""
    session = _session(path, threads=1)
    try:
        metadata = dict(session.get_modelmeta().custom_metadata_map)
    except UnicodeDecodeError as error:
        raise ModelError(
            f"{path} has metadata that are not UTF-8 ({error.reason}). Write them again, for "
            "instance by onnx.helper.set_model_props, or get the model again."
        ) from error
    return OnnxDescription(
        metadata,
        tuple(map(_tensor, session.get_inputs())),
        tuple(map(_tensor, session.get_outputs())),
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


def _tensor(argument: Any) -> OnnxTensor:
    sizes = tuple(size if isinstance(size, int) else None for size in argument.shape or ())
    return OnnxTensor(argument.name, _type(argument), sizes)


def _type(argument: Any) -> str:
    """NumPy's name of a type that ONNX Runtime calls "tensor(float)"."""
    name = str(argument.type).removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)


def resolved_precision(_card: ModelCard, _wanted: str) -> str:
    """What a precision becomes; see `predictor.resolved`."""
    return "f32"
