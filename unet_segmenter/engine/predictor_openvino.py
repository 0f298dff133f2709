# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs ONNX models with OpenVINO, the fastest runtime on processors."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import JobError, ModelError
from .geometry import Shape2D
from .model_card import ModelCard, ModelFile
from .predictor import (
    FloatArray,
    PredictorOptions,
    as_fed,
    from_runtime_order,
    ran_out_of_memory,
    run_error,
    to_runtime_order,
)
from .stages import Cuts, Part

# Each stream holds its own activations: some 350 MB at the default block size.
_MOST_STREAMS = 4
# Of the image on which strides are measured; and of the smallest layer that has a grid.
_TRIED_SIDE = 1024
_LEAST_SIDE = 2
_USUAL_STRIDE = 32
_LAYERS = ("Convolution", "GroupConvolution", "MaxPool", "AvgPool")


class OpenVinoPredictor:
    """A compiled network with one request a stream.

    On few cores one stream a core is twice as fast as all cores on one window. The
    requests and the views of their memory are made here, by one thread: OpenVINO's bindings
    initialise themselves at their first use and can deadlock when two threads are the first.
    """

    runtime = "openvino"

    def __init__(
        self, compiled: Any, path: Path, file: ModelFile, precision: str, streams: int
    ) -> None:
        self.precision = precision
        self.concurrency = streams
        self._path = path
        self._file = file
        self._free: SimpleQueue[tuple[Any, FloatArray, FloatArray]] = SimpleQueue()
        for _ in range(streams):
            request = compiled.create_infer_request()
            images = request.get_input_tensor(0).data
            self._free.put((request, images, request.get_output_tensor(0).data))

    def predict(self, images: FloatArray) -> FloatArray:
        """Probabilities (N, H, W, K) of scaled images (N, H, W, C)."""
        request, source, target = self._free.get()
        try:
            np.copyto(source, as_fed(to_runtime_order(images, self._file), source.dtype))
            request.start_async()
            request.wait()
            # The request's memory is used again at its next call: hand out a copy.
            return from_runtime_order(target.astype(np.float32), self._file)
        except RuntimeError as error:
            raise run_error(self._path, source.shape, error) from error
        finally:
            self._free.put((request, source, target))


class OpenVinoRequest:
    """Memory for one window of one part of a network; see `staged_network.PartRequest`."""

    def __init__(self, compiled: Any, path: Path) -> None:
        self._path = path
        self._request = compiled.create_infer_request()
        counts = len(compiled.inputs), len(compiled.outputs)
        inputs = [self._request.get_input_tensor(k).data for k in range(counts[0])]
        outputs = [self._request.get_output_tensor(k).data for k in range(counts[1])]
        # Views without the axis of the batch.
        self.inputs: list[NDArray[Any]] = [array[0] for array in inputs]
        self.outputs: list[NDArray[Any]] = [array[0] for array in outputs]

    def infer(self) -> None:
        """Compute the outputs; Python's lock is free meanwhile."""
        try:
            self._request.start_async()
            self._request.wait()
        except RuntimeError as error:
            raise run_error(self._path, self.inputs[0].shape, error) from error


class OpenVinoParts:
    """The compiled parts of a network, with one request a stream; see `staged_network.Parts`."""

    runtime = "openvino"

    def __init__(self, compiled: Sequence[Any], path: Path, precision: str, streams: int) -> None:
        self.precision = precision
        self.streams = streams
        self.dtype = np.dtype(_feature_type(precision))
        self._free: list[SimpleQueue[OpenVinoRequest]] = []
        for part in compiled:
            free: SimpleQueue[OpenVinoRequest] = SimpleQueue()
            for _ in range(streams):
                free.put(OpenVinoRequest(part, path))
            self._free.append(free)

    def take(self, part: int) -> OpenVinoRequest:
        """A request of a part that no other thread uses; it waits for one."""
        return self._free[part].get()

    def give(self, part: int, request: OpenVinoRequest) -> None:
        """Let others use a request again."""
        self._free[part].put(request)


def open_predictor(
    card: ModelCard, file: ModelFile, path: Path, options: PredictorOptions
) -> OpenVinoPredictor:
    """Compile a model for the processor; see `predictor.open_predictor`."""
    core = _core()
    precision = _precision(core, card, options.precision)
    streams = min(options.threads, _MOST_STREAMS)
    try:
        model = core.read_model(path)
        channels = len(card.input.bands)
        sizes = {"n": options.batch, "h": options.window.height, "w": options.window.width}
        sizes["c"] = channels
        model.reshape([sizes[axis] for axis in file.dim_order])
        compiled = core.compile_model(model, "CPU", _settings(precision, streams, options.threads))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        if ran_out_of_memory(error):
            raise MemoryError(reason) from error
        raise ModelError(
            f"OpenVINO cannot run {path} on windows of {options.window.height} x "
            f"{options.window.width} px: {reason}"
        ) from error
    return OpenVinoPredictor(compiled, path, file, precision, streams)


def largest_stride(path: Path, channels: int, side: int | None) -> int:
    """How many pixels the coarsest layer of a network takes for one: what windows start at.

    Parameters
    ----------
    path : Path
        The ONNX file, which takes (N, C, H, W).
    channels, side : int
        Channels of its images, and their side in px; None where it takes any.

    Returns
    -------
    int
        A power of two, 1 for a network without strides. Layers that see the whole image at once
        do not count: they have no grid.

    Notes
    -----
    It is found by trying: the shapes of all layers for an image of `side`, or 1024 px. Where they
    cannot be told, 32 stands for the five levels that networks have as a rule.
    """
    try:
        model = _core().read_model(path)
        length = side or _TRIED_SIDE
        model.reshape([1, channels, length, length])
        shapes = [
            output.get_shape()
            for layer in model.get_ordered_ops()
            for output in layer.outputs()
            if layer.get_type_name() in _LAYERS and output.get_partial_shape().is_static
        ]
    except (RuntimeError, ImportError):
        return _USUAL_STRIDE
    sides = {int(shape[2]) for shape in shapes if len(shape) == 4 and shape[2] == shape[3]}
    coarse = [s for s in sides if _LEAST_SIDE <= s <= length or s == length]
    return 1 << max((round(math.log2(length / s)) for s in coarse), default=0)


def open_parts(
    card: ModelCard,
    path: Path,
    cuts: Cuts,
    windows: Sequence[Shape2D],
    precision: str,
    threads: int,
) -> OpenVinoParts:
    """Cut a network and compile its parts.

    Parameters
    ----------
    card : ModelCard
        The model.
    path : Path
        Its ONNX file.
    cuts : Cuts
        Its parts.
    windows : sequence of Shape2D
        Shape in px of the windows of each part.
    precision : str
        "auto", "f32" or "bf16".
    threads : int
        Processor cores to use.

    Raises
    ------
    ModelError
        If the file is no such network.
    JobError
        If the processor does not have the precision.
    """
    core = _core()
    precision = _precision(core, card, precision)
    streams = min(threads, _MOST_STREAMS)
    settings = _settings(precision, streams, threads)
    # The streams of all parts share the cores, each where there is room.
    settings["ENABLE_CPU_PINNING"] = False
    try:
        compiled = [
            core.compile_model(_cut(core, path, cuts, part, window, precision), "CPU", settings)
            for part, window in zip(cuts.parts, windows, strict=True)
        ]
    except (RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[-1]
        if ran_out_of_memory(error):
            raise MemoryError(reason) from error
        raise ModelError(
            f"OpenVINO cannot run {path} in the parts that its card names: {reason}. Get the "
            'model again, or remove "cuts" from its card.'
        ) from error
    return OpenVinoParts(compiled, path, precision, streams)


def _cut(core: Any, path: Path, cuts: Cuts, part: Part, window: Shape2D, precision: str) -> Any:
    """One part as a model: features come and go as (1, H, W, C), in half precision for bf16."""
    import openvino as ov
    from openvino import opset13 as op

    model = core.read_model(path)
    ports = {name: port for node in model.get_ops() for port in node.outputs()
             for name in port.get_names()}  # fmt: skip
    feature_type = ov.Type(np.dtype(_feature_type(precision)))
    parameters, results = [], []
    for name in part.inputs:
        feature, readers = cuts.feature(name), ports[name].get_target_inputs()
        cells = [window.height // feature.stride, window.width // feature.stride]
        if name == cuts.image.name:
            parameter = op.parameter([1, feature.channels, *cells], ov.Type.f32, name)
            given = parameter
        else:
            parameter = op.parameter([1, *cells, feature.channels], feature_type, name)
            given = op.transpose(op.convert(parameter, ov.Type.f32), np.array([0, 3, 1, 2]))
        for reader in readers:
            reader.replace_source_output(given.output(0))
        parameters.append(parameter)
    for feature in part.outputs:
        found = op.transpose(ports[feature.name], np.array([0, 2, 3, 1]))
        results.append(op.result(op.convert(found, feature_type)))
    return ov.Model(results, parameters, part.outputs[0].name)


def _feature_type(precision: str) -> str:
    """Type in which features are kept: half precision holds all digits of a bf16."""
    return "float16" if precision == "bf16" else "float32"


def _core() -> Any:
    # OpenVINO reports its import to its maker through this package, where it is installed.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino as ov

    return ov.Core()


def _settings(precision: str, streams: int, threads: int) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "THROUGHPUT",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
    }


def resolved_precision(card: ModelCard, wanted: str) -> str:
    """What a precision becomes on this processor; see `predictor.resolved`."""
    return _precision(_core(), card, wanted)


def _precision(core: Any, card: ModelCard, wanted: str) -> str:
    """The precision to run at: bf16 only where the processor and the card stand for it."""
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if wanted == "bf16" and not has_bf16:
        raise JobError("This processor does not compute in bf16; choose precision auto or f32.")
    if wanted == "auto":
        return "bf16" if has_bf16 and card.bf16_verified else "f32"
    return wanted
