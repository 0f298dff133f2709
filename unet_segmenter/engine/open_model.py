# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens a model by name or path: one of ours, or an ONNX file made for the Deepness plugin."""

from __future__ import annotations

import json
import math
from pathlib import Path

from . import predictor_onnx
from .errors import ModelError
from .geometry import ceil_to
from .model_card import (
    CARD_NAME,
    ModelCard,
    ModelClass,
    ModelFile,
    ModelInput,
    sha256_of,
)
from .model_library import ModelLibrary

_PALETTE = ("#bdbdbd", "#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#e6ab02", "#a6761d")


def open_model(name_or_path: str, library: ModelLibrary) -> ModelCard:
    """Card of the model of that name in the library, or at that path.

    Raises
    ------
    ModelError
        If there is none, or it is broken.
    """
    path = Path(name_or_path)
    if path.suffix.lower() == ".onnx" and path.is_file():
        card = path.parent / CARD_NAME
        if not (card.is_file() and path.name in _files_of(card)):
            return deepness_card(path)
    return library.load(name_or_path)


def deepness_card(path: Path) -> ModelCard:
    """Card of an ONNX segmentation model with Deepness's metadata keys.

    Parameters
    ----------
    path : Path
        The ONNX file. The keys are those of Deepness's documentation: model_type,
        class_names, resolution (cm a pixel), tile_size, tiles_overlap (%), standardization_mean
        and standardization_std (of values divided by 255), seg_thresh. Our own exports add
        divisor.

    Raises
    ------
    ModelError
        If the file is no such model.
    """
    description = predictor_onnx.describe(path)
    items = {key: _value(text) for key, text in description.metadata.items()}
    if items.get("model_type") != "Segmentor":
        raise ModelError(
            f"{path} has neither a {CARD_NAME} beside it nor the metadata of a Deepness "
            "segmentation model; give a folder with a card."
        )
    if not _takes_square_images(description):
        raise ModelError(
            f"{path} takes an input of the shape {description.input_shape}; it must take square "
            "images (N, C, H, W) with a known number of channels."
        )
    try:
        return _card_from(path, items, description)
    except ModelError as error:
        raise ModelError(f"The Deepness metadata of {path} are broken: {error}.") from error


def _takes_square_images(description: predictor_onnx.OnnxDescription) -> bool:
    if len(description.input_shape) != 4 or len(description.output_shape) != 4:
        return False
    _, channels, height, width = description.input_shape
    return channels is not None and height == width


def _card_from(
    path: Path, items: dict[str, object], description: predictor_onnx.OnnxDescription
) -> ModelCard:
    channels, size = description.input_shape[1] or 1, description.input_shape[2]
    outputs = description.output_shape[1] or 1
    divisor = _whole(items, "divisor", _divisor(size)) if size is None else _divisor(size)
    tile = size or _whole(items, "tile_size", 512)
    overlap = _number(items, "tiles_overlap", 15.0) / 100
    mean = _per_channel(items, "standardization_mean", 0.0, channels)
    stddev = _per_channel(items, "standardization_std", 1.0, channels)
    return ModelCard(
        folder=path.parent,
        name=path.stem,
        version="",
        title=path.stem,
        description="An ONNX model made for the Deepness plugin.",
        license="unknown",
        citation="",
        input=ModelInput(
            bands=tuple(f"band {i + 1}" for i in range(channels)),
            data_type=("uint8",),
            value_range=(0.0, 255.0),
            mean=tuple(255 * m for m in mean),
            stddev=tuple(255 * s for s in stddev),
            gsd_range=_around(items.get("resolution")),
        ),
        activation="sigmoid" if outputs == 1 else "softmax",
        classes=_classes(items, outputs),
        divisor=divisor,
        halo=ceil_to(math.ceil(tile * overlap / 2), divisor),
        theoretical_halo=tile // 2,
        files=(ModelFile(path.name, "onnx", "nchw", sha256_of(path), path.stat().st_size),),
        fixed_size=size,
    )


def _files_of(card: Path) -> list[str]:
    return [file.name for file in ModelCard.load(card).files]


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _number(items: dict[str, object], key: str, default: float) -> float:
    value = items.get(key, default)
    try:
        return float(str(value))
    except ValueError as error:
        raise ModelError(f"{key} is {value!r}, which is no number") from error


def _whole(items: dict[str, object], key: str, default: int) -> int:
    value = _number(items, key, default)
    if value < 1 or value != int(value):
        raise ModelError(f"{key} is {value:g}, which is no whole number above 0")
    return int(value)


def _per_channel(items: dict[str, object], key: str, default: float, channels: int) -> list[float]:
    """One number a channel; Deepness lets one stand for all."""
    value = items.get(key, default)
    numbers = value if isinstance(value, list) else [value]
    try:
        floats = [float(str(number)) for number in numbers]
    except ValueError as error:
        raise ModelError(f"{key} is {value!r}, which are no numbers") from error
    if len(floats) not in (1, channels):
        raise ModelError(f"{key} has {len(floats)} numbers for {channels} channels")
    return floats if len(floats) == channels else floats * channels


def _divisor(size: int | None) -> int:
    """A grid for windows, as Deepness names none: the coarsest that a small window can spare.

    Networks that take any size have five levels at most as a rule, hence 32.
    """
    if size is None:
        return 32
    return next(d for d in (32, 16, 8, 4, 2, 1) if size % d == 0 and (8 * d <= size or d == 1))


def _around(resolution: object) -> tuple[float, float] | None:
    """Half to double of Deepness's centimetres a pixel, in metres."""
    if not isinstance(resolution, (int, float)) or resolution <= 0:
        return None
    return resolution / 200, resolution / 50


def _classes(items: dict[str, object], outputs: int) -> tuple[ModelClass, ...]:
    """Deepness numbers classes by output channel; a single channel is class 1 against 0."""
    names = items.get("class_names", {})
    if not isinstance(names, dict) or not all(str(key).isdecimal() for key in names):
        raise ModelError(f"class_names is {names!r}, which are no names by channel")
    named = {int(key): str(name) for key, name in names.items()}
    limit = _number(items, "seg_thresh", 0.5)
    if outputs == 1:
        name = named.get(1) or named.get(0) or "class 1"
        return (ModelClass(1, name, _PALETTE[1], 0, limit),)
    return tuple(
        ModelClass(i, named.get(i, f"class {i}"), _PALETTE[i % len(_PALETTE)], i, limit)
        for i in range(outputs)
    )
