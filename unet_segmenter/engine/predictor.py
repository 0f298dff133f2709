# SPDX-License-Identifier: GPL-2.0-or-later
"""What the engine asks of a runtime, and the table of runtimes."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import JobError, ModelError, RuntimeMissingError
from .geometry import PixelWindow, Shape2D
from .model_card import ModelCard, ModelFile
from .remedies import set_up
from .stage_tiles import plan_tiles
from .staged_network import Reader, StagedNetwork

FloatArray = NDArray[np.float32]

# How runtimes say that memory ran out.
_MEMORY = re.compile(
    r"bad.?alloc|out of memory|allocate (memory|\d+ bytes)|not enough memory", re.IGNORECASE
)


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


# One window holds such a raster, and one graph is sooner ready than several.
_ONE_PASS_PIXELS = 1024 * 1024


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


def resolved(card: ModelCard, runtime: str, precision: str) -> tuple[str, str]:
    """What "auto" becomes for a model on this machine: runtime and precision.

    What cannot be had stays as it is: `open_predictor` tells why.
    """
    for name, entry in RUNTIMES.items():
        if runtime not in ("auto", name) or not _has_precision(entry, precision):
            continue
        if card.file(*entry.formats) and importlib.util.find_spec(entry.package):
            module = importlib.import_module(f".{entry.module}", __package__)
            return name, module.resolved_precision(card, precision)
    return runtime, precision


def file_of(card: ModelCard, runtime: str) -> ModelFile | None:
    """The file of a model that a runtime runs, or None where there is none for it."""
    return card.file(*RUNTIMES[runtime].formats)


def runs_in_parts(
    card: ModelCard, runtime: str, shape: Shape2D, *, halo: int | None, flips: bool
) -> bool:
    """Whether a run takes a network in parts, each with its own context.

    Parameters
    ----------
    card : ModelCard
        The model: its network must be cut.
    runtime : str
        A key of `RUNTIMES`, or "auto"; OpenVINO can cut a network.
    shape : Shape2D
        Shape of the raster in px. A small one takes one pass, which is sooner ready.
    halo : int, optional
        Context in px that the user asks for, which then one pass gets.
    flips : bool
        Test-time augmentation, which takes whole windows.
    """
    return (
        card.cuts is not None
        and halo is None
        and not flips
        and card.file("onnx") is not None
        and runtime in ("auto", "openvino")
        and importlib.util.find_spec("openvino") is not None
        and shape.height * shape.width > _ONE_PASS_PIXELS
    )


def open_staged(
    card: ModelCard,
    precision: str,
    shape: Shape2D,
    region: PixelWindow,
    read: Reader,
    side: int | None = None,
) -> StagedNetwork:
    """Make a network ready that is cut at its own scales, for the blocks of one run.

    Ask `runs_in_parts` before.

    Parameters
    ----------
    card : ModelCard
        The model.
    precision : str
        As for `open_predictor`.
    shape : Shape2D
        Shape of the raster in px.
    region : PixelWindow
        What is mapped of it.
    read : callable
        Reads a window: pixels (H, W, C) and validity (H, W); called by several threads.
    side : int, optional
        Side in px of all tiles; by default as large as memory and cache suggest.

    Raises
    ------
    SegmenterError
        As `open_predictor` does.
    """
    file = card.file("onnx")
    assert card.cuts is not None
    assert file is not None
    path = card.checked_path(file)
    tiles = plan_tiles(card.cuts, shape, region, card.divisor, side)
    windows = [part.window for part in tiles]
    module = importlib.import_module(".predictor_openvino", __package__)
    parts = module.open_parts(card, path, card.cuts, windows, precision, available_cores())
    return StagedNetwork(card, parts, tiles, read)


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
    if probabilities.ndim == 3:  # (N, H, W): one class
        return probabilities[..., np.newaxis]
    return probabilities.transpose(0, 2, 3, 1) if file.dim_order == "nchw" else probabilities


def as_fed(images: FloatArray, data_type: np.dtype[Any]) -> NDArray[Any]:
    """Images of the type that a network takes; whole numbers are rounded and kept in range."""
    if np.issubdtype(data_type, np.integer):
        limits = np.iinfo(data_type)
        return np.clip(np.rint(images), limits.min, limits.max).astype(data_type)
    return images.astype(data_type, copy=False)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether a runtime says in its words that there was no memory."""
    return isinstance(error, MemoryError) or _MEMORY.search(str(error)) is not None


def run_error(path: Path, shape: tuple[int, ...], error: Exception) -> Exception:
    """What to raise where a runtime fails in the middle of a run.

    Parameters
    ----------
    path : Path
        The model's file.
    shape : tuple of int
        Of the images that it was given.
    error : Exception
        The runtime's.

    Returns
    -------
    Exception
        `MemoryError` where memory ran out, which is not the model's fault; else `ModelError`.
    """
    reason = " ".join(str(error).split())
    if ran_out_of_memory(error):
        return MemoryError(reason)
    return ModelError(
        f"{path} opens, but fails when it is run on images of the shape {shape}: {reason}. Try "
        "another runtime, or export the model again."
    )


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
            f"{set_up(training=name == 'tensorflow')} Or choose another runtime."
        ) from error
    return predictor
