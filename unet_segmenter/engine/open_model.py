# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens a model by name or path: one of ours, or an ONNX file made for the Deepness plugin."""

from __future__ import annotations

import json
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

# Deepness names no divisor: it runs a network on one window size only.
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
        class_names, resolution (cm a pixel), tiles_overlap (%), standardization_mean and
        standardization_std (of values divided by 255), seg_thresh.

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
    _, channels, height, width = description.input_shape
    outputs = description.output_shape[1] or 1
    if height != width or channels is None:
        raise ModelError(f"{path} takes windows that are not square, which is not supported.")
    mean = _per_channel(items.get("standardization_mean"), 0.0, channels)
    stddev = _per_channel(items.get("standardization_std"), 1.0, channels)
    resolution = items.get("resolution")
    size = height or 512
    overlap = float(str(items.get("tiles_overlap", 15)))
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
            gsd_range=_around(resolution),
        ),
        activation="sigmoid" if outputs == 1 else "softmax",
        classes=_classes(items.get("class_names"), outputs, items.get("seg_thresh")),
        divisor=32,
        halo=ceil_to(int(size * overlap / 200), 32),
        theoretical_halo=size // 2,
        files=(ModelFile(path.name, "onnx", "nchw", sha256_of(path), path.stat().st_size),),
        fixed_size=height,
    )


def _files_of(card: Path) -> list[str]:
    return [file.name for file in ModelCard.load(card).files]


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _per_channel(value: object, default: float, channels: int) -> list[float]:
    numbers = value if isinstance(value, list) else [default if value is None else value]
    floats = [float(str(n)) for n in numbers]
    return floats if len(floats) == channels else floats[:1] * channels


def _around(resolution: object) -> tuple[float, float] | None:
    """Half to double of Deepness's centimetres a pixel, in metres."""
    if not isinstance(resolution, (int, float)) or resolution <= 0:
        return None
    return resolution / 200, resolution / 50


def _classes(names: object, outputs: int, threshold: object) -> tuple[ModelClass, ...]:
    """Deepness numbers classes by output channel; a single channel is class 1 against 0."""
    named = {int(k): str(v) for k, v in names.items()} if isinstance(names, dict) else {}
    limit = float(threshold) if isinstance(threshold, (int, float)) else 0.5
    if outputs == 1:
        name = named.get(1) or named.get(0) or "class 1"
        return (ModelClass(1, name, _PALETTE[1], 0, limit),)
    return tuple(
        ModelClass(i, named.get(i, f"class {i}"), _PALETTE[i % len(_PALETTE)], i, limit)
        for i in range(outputs)
    )
