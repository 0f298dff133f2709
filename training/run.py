# SPDX-License-Identifier: GPL-2.0-or-later
"""A fit in a folder: first weights, checkpoints, live report; the same call goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_segmenter.engine.errors import JobError, OutputError
from unet_segmenter.engine.progress import Progress

from .checkpoint import BEST, LAST
from .dataset import Sample
from .fit import FitState, Watcher, fit
from .presets import Network, freeze, preset_of
from .recipe import Recipe, check_classes, load_encoder
from .stepping import in_precision, scope_of, strategy_over

if TYPE_CHECKING:
    import keras

NETWORK = "network.json"
SPEC = "spec.json"


def fit_recipe(
    recipe: Recipe,
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    folder: Path,
    progress: Progress,
    title: str = "",
    until: float | None = None,
) -> FitState:
    """Fit by a recipe in a folder; a fit begun there before goes on.

    Parameters
    ----------
    train, held_out : sequence of Sample
        To learn from, and to validate on after each epoch.
    title : str
        Of the live report.
    until : float, optional
        Unix time at which no further epoch begins.

    Raises
    ------
    DatasetError, WeightsError, JobError
        If something does not fit; nothing was trained then.
    Cancelled
        If the user stopped; the same call goes on.
    """
    import keras

    from .graph import divisor_of

    check_classes(recipe.dataset, train, held_out, progress)
    weights = recipe.class_weights(train)
    recipe = replace(recipe, plan=replace(recipe.plan, class_weights=weights))
    plan, spec = recipe.plan, recipe.spec
    keras.utils.set_random_seed(plan.seed)
    strategy = strategy_over()
    with ExitStack() as stack:
        stack.enter_context(in_precision(plan.precision))
        stack.enter_context(scope_of(strategy))
        model = recipe.preset.network(recipe.network)
    divisor = divisor_of(model)
    recipe.check_size(divisor)
    _begin(folder, recipe)
    if not (folder / LAST).is_file():
        _first_weights(model, recipe, progress)
    frozen = freeze(model, recipe.preset, spec.freeze)
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    progress.log(
        "info",
        f"{recipe.preset.name}: {model.count_params():,} weights, {trainable:,} of them learn"
        + (f" ({frozen} layers frozen)" if frozen else "")
        + f"; {len(train)} training images, {len(held_out)} for validation"
        + (f"; {strategy.num_replicas_in_sync} GPUs" if strategy is not None else ""),
    )
    if weights:
        names = [cls.name for cls in recipe.dataset.classes]
        told = ", ".join(f"{n} {w:g}" for n, w in zip(names, weights, strict=True))
        progress.log("info", f"class weights: {told}")
    frames = recipe.frames(held_out, divisor)
    watchers = _watchers(recipe, frames, held_out, folder, title, progress)
    return fit(
        model, recipe.batches(train), frames, plan, folder, progress, watchers, strategy, until
    )


def build(told: Mapping[str, Any], **changes: Any) -> keras.Model:
    """Build the network of a run's network.json, in float32, with fresh weights."""
    network = replace(Network(**told["network"]), **changes)
    with in_precision("float32"):
        return preset_of(told["preset"]).network(network)


def best_network(recipe: Recipe, folder: Path) -> keras.Model:
    """Return the network with the best weights of a run, as it is to be shipped.

    Without dropout, in float32, and at half resolution by itself if it worked so.
    """
    weights = folder / BEST
    if not weights.is_file():
        raise JobError(f"{folder}: holds no weights yet; train at least one epoch")
    half = recipe.framing.kind == "half"
    trained = build(recipe.told(), dropout=0.0)
    trained.load_weights(weights)
    if not half:
        return trained
    shipped = build(recipe.told(), dropout=0.0, reduction=2)
    for layer in trained.layers:
        if layer.weights:
            shipped.get_layer(layer.name).set_weights(layer.get_weights())
    return shipped


def seconds_from_now(minutes: float | None) -> float | None:
    """Return the Unix time so many minutes from now; None for none."""
    return None if minutes is None else time.time() + 60 * minutes


def _begin(folder: Path, recipe: Recipe) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NETWORK).write_text(json.dumps(recipe.told(), indent=1), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error


def _first_weights(model: keras.Model, recipe: Recipe, progress: Progress) -> None:
    from .transfer import hot_start, read_source

    def log(line: str) -> None:
        progress.log("info", line)

    spec = recipe.spec
    if spec.encoder:
        load_encoder(model, recipe, log)
    elif recipe.preset.pretrained and not spec.start:
        progress.log(
            "warning",
            f"the preset {recipe.preset.name!r} begins without ImageNet's weights: name the file "
            "of its encoder, or expect far less",
        )
    if spec.start:
        classes = [cls.name for cls in recipe.dataset.classes]
        source = read_source(spec.start)
        hot_start(model, source, recipe.dataset.bands, classes, recipe.network.head, log)


def _watchers(
    recipe: Recipe,
    frames: Any,
    held_out: Sequence[Sample],
    folder: Path,
    title: str,
    progress: Progress,
) -> list[Watcher]:
    from .live_report import LiveReport
    from .tensorboard import TensorBoardLog

    names = [sample.name for sample in held_out]
    watchers: list[Watcher] = [LiveReport(recipe, frames, names, folder, title, progress)]
    if recipe.spec.tensorboard:
        watchers.append(TensorBoardLog(recipe, folder))
    return watchers
