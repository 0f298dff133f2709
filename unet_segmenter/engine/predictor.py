# SPDX-License-Identifier: GPL-2.0-or-later
"""What the engine asks of a runtime, and the table of runtimes."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import JobError, ModelError, RuntimeMissingError
from .geometry import Shape2D
from .model_card import ModelCard, ModelFile

FloatArray = NDArray[np.float32]


class Predictor(Protocol):
    """A network made ready for windows of one shape.

    `predict` may be called from as many threads at once as `concurrency` says.
    """

    runtime: str
    precision: str
    concurrency: int

    def predict(self, images: FloatArray) -> FloatArray:
        """Probabilities (N, H, W, K), 0-1, of scaled images (N, H, W, C)."""
        ...


@dataclass(frozen=True)
class Runtime:
    """One way to run a network: where its predictor is, what it reads, what it needs."""

    module: str
    package: str
    formats: tuple[str, ...]
    precisions: tuple[str, ...]


# In the order in which "auto" tries them; `make bench` tells their speed.
RUNTIMES: dict[str, Runtime] = {
    "openvino": Runtime("predictor_openvino", "openvino", ("onnx",), ("f32", "bf16")),
    "onnxruntime": Runtime("predictor_onnx", "onnxruntime", ("onnx",), ("f32",)),
    "tensorflow": Runtime("predictor_keras", "tensorflow", ("keras",), ("f32",)),
}


@dataclass(frozen=True)
class PredictorOptions:
    """How a network is made ready.

    Parameters
    ----------
    precision : str
        "auto", "f32" or "bf16".
    window : Shape2D
        Shape in px of every window.
    batch : int
        Windows a call.
    threads : int
        Processor cores to use.
    """

    precision: str
    window: Shape2D
    batch: int
    threads: int


def open_predictor(card: ModelCard, runtime: str, options: PredictorOptions) -> Predictor:
    """Make a model ready on a runtime.

    Parameters
    ----------
    card : ModelCard
        The model.
    runtime : str
        A key of `RUNTIMES`, or "auto": the first that is installed and reads the model.
    options : PredictorOptions
        Precision and shapes.

    Raises
    ------
    RuntimeMissingError
        If the runtime is not installed.
    ModelError
        If the model has no file for it, or the file is damaged.
    JobError
        If the runtime does not have the precision.
    """
    if runtime != "auto":
        return _open(runtime, card, options)
    missing: RuntimeMissingError | None = None
    for name, entry in RUNTIMES.items():
        if card.file(*entry.formats) is None or not _has_precision(entry, options.precision):
            continue
        try:
            return _open(name, card, options)
        except RuntimeMissingError as error:
            missing = missing or error
    if missing is not None:
        raise missing
    raise ModelError(
        f"The model {card.name} has no file that a runtime here can run"
        f"{'' if options.precision == 'auto' else ' at precision ' + options.precision}. "
        f"Its card names {', '.join(f.name for f in card.files)}; get the model again."
    )


def file_of(card: ModelCard, runtime: str) -> ModelFile | None:
    """The file of a model that a runtime runs, or None where there is none for it."""
    return card.file(*RUNTIMES[runtime].formats)


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def to_runtime_order(images: FloatArray, file: ModelFile) -> FloatArray:
    """Images (N, H, W, C) in the axis order of the file, as a view."""
    return images.transpose(0, 3, 1, 2) if file.dim_order == "nchw" else images


def from_runtime_order(probabilities: FloatArray, file: ModelFile) -> FloatArray:
    """Probabilities in the axis order of the file, as a (N, H, W, K) view."""
    return probabilities.transpose(0, 2, 3, 1) if file.dim_order == "nchw" else probabilities


def _has_precision(entry: Runtime, precision: str) -> bool:
    return precision == "auto" or precision in entry.precisions


def _open(name: str, card: ModelCard, options: PredictorOptions) -> Predictor:
    entry = RUNTIMES[name]
    if not _has_precision(entry, options.precision):
        raise JobError(
            f"The runtime {name} does not run at precision {options.precision}; "
            f"it has {', '.join(entry.precisions)}."
        )
    file = card.file(*entry.formats)
    if file is None:
        raise ModelError(
            f"The model {card.name} has no {' or '.join(entry.formats)} file, which the runtime "
            f"{name} needs, in {card.folder}. Choose another runtime, or add the file."
        )
    path = card.checked_path(file)
    module = importlib.import_module(f".{entry.module}", __package__)
    try:
        predictor: Predictor = module.open_predictor(card, file, path, options)
    except ImportError as error:
        raise RuntimeMissingError(
            f"The runtime {name} is not installed in the engine's environment ({error}). "
            f"Run 'Set up environment', or choose another runtime."
        ) from error
    return predictor
