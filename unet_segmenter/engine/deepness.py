# SPDX-License-Identifier: GPL-2.0-or-later
"""ONNX segmentation models made for the Deepness plugin, read as cards.

References
----------
Deepness documentation, "Adding metadata to ONNX model",
https://qgis-plugin-deepness.readthedocs.io, and its `model_base.py` and `segmentor.py`.
"""

from __future__ import annotations

import ast
import contextlib
import json
import math
from pathlib import Path

from . import predictor_onnx, predictor_openvino
from .card_schema import check_card
from .errors import ModelError
from .geometry import ceil_to
from .model_card import CARD_NAME, ModelCard, ModelClass, ModelFile, ModelInput, sha256_of
from .onnx_files import external_files

Items = dict[str, object]

_PALETTE = ("#bdbdbd", "#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#e6ab02", "#a6761d")
_NAME_KEYS = ("class_names", "names")
_INPUT_TYPES = ("float32", "float16", "uint8")
_OUTPUT_TYPES = ("float32", "float16", "float64")
# Networks that take any size have five levels at most as a rule.
_LEAST_DIVISOR = 32


def deepness_card(path: Path) -> ModelCard:
    """Card of an ONNX segmentation model with Deepness's metadata keys.

    Deepness numbers classes by output channel, from 0. In our maps 0 is "unknown", so the class
    of channel k has the value k + 1: a pixel where no class reaches its threshold is unknown, and
    never the first class. Without a threshold in a file of several classes the most probable one
    is taken, whatever its probability.

    Parameters
    ----------
    path : Path
        The ONNX file. The keys are those of Deepness's documentation: model_type,
        class_names (or names), resolution (cm a pixel), tile_size, tiles_overlap (%),
        standardization_mean and standardization_std (of values divided by 255), seg_thresh. Our
        own exports add divisor. Networks that take bytes are given pixels as they are.

    Raises
    ------
    ModelError
        If the file is no such model, or is fed or answers in a way that is not supported.
    """
    description = predictor_onnx.describe(path)
    items = {key: _value(text) for key, text in description.metadata.items()}
    if str(items.get("model_type")).capitalize() != "Segmentor":
        raise ModelError(
            f"{path} has neither a {CARD_NAME} beside it nor the metadata of a Deepness "
            "segmentation model; give a folder with a card."
        )
    _check_network(path, description)
    try:
        card = _card_from(path, items, description)
        check_card(card.to_json())
        return card
    except ModelError as error:
        raise ModelError(f"The Deepness metadata of {path} are broken: {error}.") from error


def _check_network(path: Path, description: predictor_onnx.OnnxDescription) -> None:
    """Refuse networks whose maps would lack or misread something."""
    if len(description.inputs) != 1:
        raise ModelError(
            f"{path} has {len(description.inputs)} inputs ({_names_of(description.inputs)}); "
            "models of one input are supported. Export it again with the image alone."
        )
    if len(description.outputs) != 1:
        command = "python -c \"import onnx; m = onnx.load('IN'); del m.graph.output[1:]; "
        raise ModelError(
            f"{path} has {len(description.outputs)} outputs ({_names_of(description.outputs)}); "
            "models of one output are supported. To keep the first one: "
            f"{command}onnx.save(m, 'OUT')\""
        )
    (given,), (made,) = description.inputs, description.outputs
    if given.type not in _INPUT_TYPES or made.type not in _OUTPUT_TYPES:
        raise ModelError(
            f"{path} takes {given.type} and gives {made.type}; it must take one of "
            f"{', '.join(_INPUT_TYPES)} and give probabilities as one of "
            f"{', '.join(_OUTPUT_TYPES)}. Export it again without what comes after its sigmoid or "
            "softmax."
        )
    shape = given.shape
    if len(shape) != 4 or shape[1] is None or shape[2] != shape[3]:
        raise ModelError(
            f"{path} takes an input of the shape {_told(shape)}; it must take square images "
            "(N, C, H, W) with a known number of channels."
        )
    if len(made.shape) not in (3, 4) or (len(made.shape) == 4 and made.shape[1] is None):
        raise ModelError(
            f"{path} gives an output of the shape {_told(made.shape)}; it must give (N, K, H, W) "
            "with a known number of classes, or (N, H, W), for square images."
        )
    sides = [size for size in made.shape[-2:] if size is not None and shape[2] is not None]
    if any(size != shape[2] for size in sides):
        raise ModelError(
            f"{path} gives an output of the shape {_told(made.shape)} for images of "
            f"{shape[2]} x {shape[2]} px; it must give a value for each pixel."
        )


def _card_from(path: Path, items: Items, description: predictor_onnx.OnnxDescription) -> ModelCard:
    (given,), (made,) = description.inputs, description.outputs
    channels, size = given.shape[1] or 1, given.shape[2]
    outputs = (made.shape[1] or 1) if len(made.shape) == 4 else 1
    tile = size or _whole(items, "tile_size", 512)
    context = math.ceil(tile * _number(items, "tiles_overlap", 15.0) / 200)
    stride = predictor_openvino.largest_stride(path, channels, size)
    divisor = _whole(items, "divisor", stride if size else max(stride, _LEAST_DIVISOR))
    divisor = _that_fits(size, context, divisor) if size else divisor
    return ModelCard(
        folder=path.parent,
        name=path.stem,
        version="",
        title=path.stem,
        description="An ONNX model made for the Deepness plugin.",
        license="unknown",
        citation="",
        input=_input(items, channels, given.type),
        activation="sigmoid" if outputs == 1 else "softmax",
        classes=_classes(items, outputs),
        divisor=divisor,
        halo=ceil_to(context, divisor),
        theoretical_halo=ceil_to(max(context, tile // 2), divisor),
        files=_files(path),
        fixed_size=size,
    )


def _input(items: Items, channels: int, data_type: str) -> ModelInput:
    mean = _per_channel(items, "standardization_mean", 0.0, channels)
    stddev = _per_channel(items, "standardization_std", 1.0, channels)
    if data_type == "uint8":
        if set(mean) != {0.0} or set(stddev) != {1.0}:
            raise ModelError(
                "it takes bytes, which cannot be standardised; export it without "
                "standardization_mean and standardization_std"
            )
        factor = 1.0
    else:
        factor = 255.0
    return ModelInput(
        bands=tuple(f"band {i + 1}" for i in range(channels)),
        data_type=("uint8",),
        value_range=(0.0, 255.0),
        mean=tuple(factor * m for m in mean),
        stddev=tuple(factor * s for s in stddev),
        gsd_range=_around(items.get("resolution")),
    )


def _files(path: Path) -> tuple[ModelFile, ...]:
    """The file, and those in which it keeps weights: a run with others is another run."""
    files = [ModelFile(path.name, "onnx", "nchw", sha256_of(path), path.stat().st_size)]
    for name in external_files(path):
        beside = path.parent / name
        if not beside.is_file():
            raise ModelError(f"it keeps weights in {beside}, which is not there")
        files.append(ModelFile(name, "onnx-data", "nchw", sha256_of(beside), beside.stat().st_size))
    return tuple(files)


def _that_fits(size: int, context: int, divisor: int) -> int:
    """The largest of a divisor and its halves that leaves something of a window of one size."""
    while divisor > 1 and (size % divisor or size < 2 * ceil_to(context, divisor) + divisor):
        divisor = divisor // 2 if divisor % 2 == 0 else 1
    return divisor


def _value(text: str) -> object:
    """A value as Deepness reads it: JSON, else a literal of Python, else the text."""
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text)
    with contextlib.suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return ast.literal_eval(text)
    return text


def _number(items: Items, key: str, default: float) -> float:
    value = items.get(key, default)
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ModelError(f"{key} is {value!r}, which is no number")
    return number


def _whole(items: Items, key: str, default: int) -> int:
    value = _number(items, key, default)
    if value < 1 or value != int(value):
        raise ModelError(f"{key} is {value:g}, which is no whole number above 0")
    return int(value)


def _per_channel(items: Items, key: str, default: float, channels: int) -> list[float]:
    """One number a channel; Deepness lets one stand for all."""
    value = items.get(key, default)
    numbers = value if isinstance(value, (list, tuple)) else [value]
    try:
        floats = [float(str(number)) for number in numbers]
    except ValueError as error:
        raise ModelError(f"{key} is {value!r}, which are no numbers") from error
    if len(floats) not in (1, channels):
        raise ModelError(f"{key} has {len(floats)} numbers for {channels} channels")
    return floats if len(floats) == channels else floats * channels


def _around(resolution: object) -> tuple[float, float] | None:
    """Half to double of Deepness's centimetres a pixel, in metres."""
    if not isinstance(resolution, (int, float)) or not 0 < resolution < math.inf:
        return None
    return resolution / 200, resolution / 50


def _classes(items: Items, outputs: int) -> tuple[ModelClass, ...]:
    """Classes with the values of their channels plus 1; a single channel is one class."""
    named = _names(items)
    if outputs == 1:
        limit = _number(items, "seg_thresh", 0.5)
        if any(number > 1 for number in named):
            raise ModelError(f"it names {len(named)} classes, but gives one channel")
        name = named.get(1) or named.get(0) or "class 1"
        return (ModelClass(1, name, _PALETTE[1], 0, limit),)
    if any(number >= outputs for number in named):
        raise ModelError(f"it names a class {max(named)}, but its channels are 0 to {outputs - 1}")
    limit = _number(items, "seg_thresh", 0.0)
    return tuple(
        ModelClass(i + 1, named.get(i, f"class {i}"), _PALETTE[i % len(_PALETTE)], i, limit)
        for i in range(outputs)
    )


def _names(items: Items) -> dict[int, str]:
    """Names by channel: of a mapping, of a list in order, or of a list of one mapping."""
    key = next((key for key in _NAME_KEYS if key in items), None)
    if key is None:
        return {}
    names = items[key]
    if isinstance(names, (list, tuple)):
        if len(names) == 1 and isinstance(names[0], dict):
            names = names[0]
        elif all(isinstance(name, str) for name in names):
            names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(str(number).isdecimal() for number in names):
        raise ModelError(f"{key} is {names!r}, which are no names by channel")
    return {int(number): str(name) for number, name in names.items()}


def _names_of(tensors: tuple[predictor_onnx.OnnxTensor, ...]) -> str:
    return ", ".join(tensor.name for tensor in tensors)


def _told(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"
