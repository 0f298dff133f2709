# SPDX-License-Identifier: GPL-2.0-or-later
"""Metadata that let the Deepness plugin run an exported ONNX file as it is.

References
----------
Deepness documentation, "Adding metadata to ONNX model",
https://qgis-plugin-deepness.readthedocs.io
"""

from __future__ import annotations

import json
import math

from unet_segmenter.engine.geometry import ceil_to
from unet_segmenter.engine.model_card import ModelCard

SMALLEST_TILE = 512


def metadata(card: ModelCard, channels: int) -> dict[str, str]:
    """Return the keys and values, each value as JSON.

    Deepness divides pixels by 255, then takes the mean and divides by the standard deviation that
    the file names, so both are given as shares of 255. It knows neither calibration nor a
    threshold a class: a file of one class gets the threshold that its raw probability must reach,
    others 0.5. Its tiles overlap by two halos, and are as large as that needs.
    """
    tile = SMALLEST_TILE
    while tile < 4 * card.halo:
        tile += 256
    tile = ceil_to(tile, card.divisor)
    # Deepness and our reader take half of the overlap as context on each side.
    overlap = math.ceil(200 * card.halo / tile)
    values: dict[str, object] = {
        "model_type": "Segmentor",
        "class_names": _names(card, channels),
        "tile_size": tile,
        "tiles_size": tile,  # its name in Deepness before 0.5
        "tiles_overlap": overlap,
        "standardization_mean": [mean / 255 for mean in card.input.mean],
        "standardization_std": [stddev / 255 for stddev in card.input.stddev],
        "divisor": card.divisor,  # ours; Deepness leaves it aside
        "seg_thresh": _raw_threshold(card) if channels == 1 else 0.5,
    }
    if card.input.gsd_range is not None:
        low, high = card.input.gsd_range
        values["resolution"] = round(100 * math.sqrt(low * high), 4)
    return {key: json.dumps(value) for key, value in values.items()}


def _names(card: ModelCard, channels: int) -> dict[int, str]:
    """Names by channel; of one channel "not" the class, and the class."""
    named = {cls.channel: cls.name for cls in card.classes}
    if channels == 1:
        only = card.classes[0].name
        return {0: f"not {only}", 1: only}
    return {channel: named.get(channel, "other") for channel in range(channels)}


def _raw_threshold(card: ModelCard) -> float:
    """The raw probability that calibration takes to the threshold."""
    only = card.classes[0]
    inside = min(max(only.threshold, 1e-6), 1 - 1e-6)
    calibration = only.calibration
    logit = (math.log(inside / (1 - inside)) - calibration.offset) / calibration.scale
    return round(1 / (1 + math.exp(-logit)), 4)
