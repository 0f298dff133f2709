# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs Keras models with TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ModelError
from .model_card import ModelCard, ModelFile
from .predictor import FloatArray, PredictorOptions


class KerasPredictor:
    """A Keras model traced once for the windows' shape."""

    runtime = "tensorflow"
    precision = "f32"
    concurrency = 1

    def __init__(self, call: Any) -> None:
        self._call = call

    def predict(self, images: FloatArray) -> FloatArray:
        """Probabilities (N, H, W, K) of scaled images (N, H, W, C)."""
        return np.asarray(self._call(images), dtype=np.float32)


def open_predictor(
    card: ModelCard, file: ModelFile, path: Path, options: PredictorOptions
) -> KerasPredictor:
    """Load a model in Keras's safe mode; see `predictor.open_predictor`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    try:
        model = tf.keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path} is not a Keras model that can be run: {reason}") from error

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def call(images: Any) -> Any:
        return model(images, training=False)

    return KerasPredictor(call)


def resolved_precision(_card: ModelCard, _wanted: str) -> str:
    """What a precision becomes; see `predictor.resolved`."""
    return "f32"
