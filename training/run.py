# SPDX-License-Identifier: GPL-2.0-or-later
"""A fit in a folder: first weights, checkpoints, live report; the same call goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_segmenter.engine.errors import JobError, OutputError
from unet_segmenter.engine.progress import Progress

from .budget import Budget
from .checkpoint import BEST, LAST, replace_file
from .dataset import Dataset, Sample
from .first_weights import encoder_file, set_first_weights
from .fit import FitState, Watcher, fit
from .picked_samples import check_classes
from .presets import Network, freeze, preset_of
from .recipe import Recipe
from .stepping import in_precision, scope_of, strategy_over
from .train_spec import RUN, TrainSpec

if TYPE_CHECKING:
    import keras

NETWORK = "network.json"
SPEC = "spec.json"
VALIDATED_PX_A_MINUTE = 1.5e6
"""Of a time budget: more would take too large a share of it after each epoch, on two cores."""
FEWEST_FRAMES = 6
EXPORTED_A_MINUTE, FEWEST_EXPORTED = 8, 40
"""Images of each held-out side that calibrate and judge a model made in a time budget."""
FIRST_WEIGHTS = "first_weights.json"


def fit_recipe(
    recipe: Recipe,
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    folder: Path,
    progress: Progress,
    title: str = "",
    budget: Budget | None = None,
) -> FitState:
    """Fit by a recipe in a folder; a fit begun there before goes on.

    Parameters
    ----------
    train, held_out : sequence of Sample
        To learn from, and to validate on after each epoch.
    title : str
        Of the live report.
    budget : Budget, optional
        Ends the training in time for the export.

    Raises
    ------
    DatasetError, WeightsError, JobError
        If something does not fit; nothing was trained then.
    Cancelled
        If the user stopped; the same call goes on.
    """
    import keras

    from .graph import divisor_of

    held_out = evenly(held_out, recipe.spec.frames or _frames_in(recipe, held_out))
    if not (recipe.dataset.folder / "cache").is_dir():
        progress.log("info", "decoding the images, once and for all trainings on this data set")
    check_classes(recipe.dataset, train, held_out, progress, recipe.plan.keep != "last")
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
    write_json(folder / NETWORK, recipe.told())
    if not (folder / LAST).is_file():
        encoder = set_first_weights(model, recipe, progress)
        write_json(folder / FIRST_WEIGHTS, {"encoder": encoder and encoder.name})
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
    if budget is not None:
        budget.exported = _exported(recipe) / len(held_out)
    watchers = _watchers(recipe, frames, held_out, folder, title, progress)
    return fit(
        model, recipe.batches(train), frames, plan, folder, progress, watchers, strategy, budget
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


def most_exported(spec: TrainSpec) -> int | None:
    """Return how many images of each held-out side calibrate and judge; None for all."""
    if spec.minutes is None or spec.epochs is not None:
        return None
    return max(int(EXPORTED_A_MINUTE * spec.minutes), FEWEST_EXPORTED)


def _exported(recipe: Recipe) -> int:
    most = most_exported(recipe.spec)
    counts = [len(recipe.dataset.split(side)) for side in ("validation", "test")]
    return sum(count if most is None else min(count, most) for count in counts)


def _frames_in(recipe: Recipe, held_out: Sequence[Sample]) -> int | None:
    """Return how many images to validate on after an epoch, where a time is all that is given."""
    if not recipe.plan.open_end or not held_out:
        return None
    pixels = np.mean([sample.height * sample.width for sample in held_out])
    return max(int(VALIDATED_PX_A_MINUTE * recipe.spec.minutes / pixels), FEWEST_FRAMES)


def encoder_of(recipe: Recipe, folder: Path) -> str:
    """Return the name of the file of ImageNet's weights that a run began with, or "".

    Of a run that is not begun, the one with which it would.
    """
    begun = read_json(folder / FIRST_WEIGHTS)
    if begun is None:
        found = encoder_file(recipe.spec, recipe.preset)
        return found.name if found else ""
    return str(begun.get("encoder") or "")


def evenly(samples: Sequence[Sample], count: int | None) -> Sequence[Sample]:
    """Return so many of them, evenly spread; all for None."""
    if count is None or count >= len(samples):
        return samples
    return [samples[int((n + 0.5) * len(samples) / count)] for n in range(count)]


def settings_of(spec: TrainSpec, dataset: Dataset, **more: Any) -> dict[str, Any]:
    """Return what makes a run this one, as JSON values: settings, and the data's fingerprint."""
    values = spec.to_json()
    values["dataset"] = str(Path(spec.dataset).absolute())
    values["start"] = str(Path(spec.start).absolute()) if spec.start else ""
    told = {
        "settings": {**{name: values[name] for name in RUN}, **more},
        "fingerprint": dataset.fingerprint(),
    }
    return json.loads(json.dumps(told))


def keep_settings(told: dict[str, Any], folder: Path) -> None:
    """Write spec.json, or compare with the one there.

    Raises
    ------
    JobError
        If the run in the folder was begun with other settings or data.
    """
    path = folder / SPEC
    before = read_json(path)
    if before is None or not any(folder.rglob(LAST)):  # nothing was learned yet
        write_json(path, told)
        return
    was, now = before.get("settings", {}), told["settings"]
    if others := [name for name in now if was.get(name) != now[name]]:
        changed = ", ".join(f"{name} was {was.get(name)!r}, now {now[name]!r}" for name in others)
        raise JobError(
            f"the run in {folder} was begun with other settings ({changed}); repeat those, name "
            "another folder, or remove this one"
        )
    if before.get("fingerprint") != told["fingerprint"]:
        raise JobError(
            f"the data set {now['dataset']} is not the one with which the run in {folder} was "
            "begun; name another folder, or remove this one"
        )


def read_json(path: Path, mend: str = "remove the run's folder") -> dict[str, Any] | None:
    """Return the object in a file, None where there is no such file.

    Parameters
    ----------
    mend : str
        What to do about a damaged one, for the error's message.

    Raises
    ------
    JobError
        If it cannot be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise JobError(f"{path}: damaged ({error}); {mend}") from error
    return found if isinstance(found, dict) else None


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write an object; the file is whole or not there.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    text = json.dumps(values, indent=1, default=str)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


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
