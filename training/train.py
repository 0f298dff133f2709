# SPDX-License-Identifier: GPL-2.0-or-later
"""Train a model: from a prepared data set to a folder of the library, with card and report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from unet_segmenter.engine.errors import Cancelled, JobError, OutputError
from unet_segmenter.engine.model_card import CARD_NAME
from unet_segmenter.engine.progress import Progress

from .budget import Budget, Clock
from .checkpoint import BEST, read_history
from .crossvalidation_results import NAME
from .fit import OUT_OF_TIME
from .leak_across import places_shared, warning_of
from .own_image import FOLDER, with_dataset
from .recipe import Recipe
from .run import (
    SPEC,
    best_network,
    encoder_of,
    fit_recipe,
    keep_settings,
    most_exported,
    read_json,
    settings_of,
    write_json,
)
from .starts import card_of, told_start, with_start
from .train_spec import EXPORT, TrainSpec
from .waiting_page import begin_page, close_page, tell_result

__all__ = ["TrainResult", "TrainSpec", "train"]

RESULT = "result.json"
REPORT = "report.html"


@dataclass(frozen=True)
class TrainResult:
    """What training made.

    Attributes
    ----------
    model_folder : str
        The model, as the library reads it.
    report : str
        The page with curves and pictures.
    metrics : dict
        Those of the card, on the validation split.
    """

    model_folder: str
    report: str
    metrics: dict[str, Any] = field(default_factory=dict)


def train(spec: TrainSpec, progress: Progress, clock: Clock = time.monotonic) -> TrainResult:
    """Train, calibrate and export the model that ``spec`` asks for.

    The run's folder holds checkpoints, curves and a live report, and the prepared data set where
    the spec names an image; the same call goes on where an earlier one stopped, and a finished
    run says so.

    Parameters
    ----------
    clock : callable
        Tells the time of a time budget, s.

    Raises
    ------
    SegmenterError
        If something does not fit together, cannot be read or cannot be written.
    Cancelled
        If the user stopped; the best weights are kept, and the message says where.
    """
    spec = with_start(spec)
    budget = None if spec.minutes is None else Budget(spec.minutes, clock)
    folder = spec.run_folder
    _refuse_to_overwrite(spec, folder)
    try:
        if spec.image:
            _begin(spec, folder, progress)
            return _train(with_dataset(spec, progress), budget, folder, progress)
        return _train(spec, budget, folder, progress)
    except BaseException as error:
        cancelled = isinstance(error, (Cancelled, KeyboardInterrupt))
        close_page(folder / REPORT, f"{'cancelled' if cancelled else 'failed'}: {error}")
        raise


def _begin(spec: TrainSpec, folder: Path, progress: Progress) -> None:
    """Write the page to watch, and tell where it is."""
    if (folder / RESULT).is_file():
        return
    try:
        begin_page(folder / REPORT, f"Training {Path(spec.output).name}")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error
    progress.log("info", f"Watch it in a browser: {(folder / REPORT).absolute()}")


def _train(spec: TrainSpec, budget: Budget | None, folder: Path, progress: Progress) -> TrainResult:
    recipe = Recipe.of(spec)
    if spec.start:
        progress.log("info", f"starting from the model in {spec.start}")
    told = settings_of(spec, recipe.dataset)
    shipped = json.loads(json.dumps({name: spec.to_json()[name] for name in EXPORT}))
    if done := _finished(spec, {**told, "export": shipped}, folder):
        progress.log("info", f"finished before: {done.model_folder}; nothing to do")
        return done
    # What cannot be in the end is better told now.
    _identity(recipe)
    calibration = _calibration(recipe)
    keep_settings(told, folder)
    if folder / FOLDER != Path(spec.dataset):
        _begin(spec, folder, progress)
    training, held_out = (recipe.dataset.split(side) for side in ("train", "validation"))
    ended, minutes = False, None
    if not spec.finish:
        title = f"Training {Path(spec.output).name}"
        _warn_of_squashing(recipe, progress)
        if shared := warning_of(places_shared(recipe.dataset, progress)):
            progress.log("warning", shared)
        state = fit_recipe(recipe, training, held_out, folder, progress, title, budget)
        ended, minutes = state.ended, spec.minutes if state.status == OUT_OF_TIME else None
    if progress.cancelled():
        raise Cancelled(f"Cancelled before the export; the best weights are in {folder / BEST}.")
    result = _export(recipe, calibration, folder, progress)
    epochs = len(read_history(folder))
    done = {
        "export": shipped, "ended": ended, "minutes": minutes, "epochs": epochs,
        "result": _values(result),
    }  # fmt: skip
    write_json(folder / RESULT, {**told, **done})
    tell_result(folder / REPORT, result.metrics)
    progress.log("info", f"the model is in {spec.output}, the report in {folder / REPORT}")
    return result


def _warn_of_squashing(recipe: Recipe, progress: Progress) -> None:
    side = recipe.framing.size
    samples = recipe.dataset.samples
    if recipe.framing.kind == "squash" and any(
        (sample.height, sample.width) != (side, side) for sample in samples
    ):
        progress.log(
            "warning",
            f"the preset {recipe.preset.name!r} learns images squashed to {side}x{side} px, but a "
            "map is made of the raster as it is: prepare the data set in that size, and give it "
            "rasters of the same scale",
        )


def _export(recipe: Recipe, calibration: Any, folder: Path, progress: Progress) -> TrainResult:
    from .export import ExportPlan, export

    spec, history = recipe.spec, read_history(folder)
    best = max(history, key=lambda row: row["score"])
    progress.advance(1, 1, "export: calibrating and measuring")
    plan = ExportPlan(
        _identity(recipe), recipe.scaling, recipe.network.head, calibration,
        {**_told_training(recipe, len(history)), "best_epoch": int(best["epoch"])},
        _unseen(recipe), **_effort(spec),
    )  # fmt: skip
    model = best_network(recipe, folder)
    result = export(
        model, recipe.dataset, Path(spec.output), plan, lambda line: progress.log("info", line)
    )
    for doubt in result.doubts:
        progress.log("warning", doubt)
    return TrainResult(
        str(Path(spec.output).absolute()), str((folder / REPORT).absolute()),
        dict(result.card.details.get("metrics", {})),
    )  # fmt: skip


def _calibration(recipe: Recipe) -> Any:
    from .calibrate import CalibrationPlan

    spec = recipe.spec
    plan = CalibrationPlan(spec.calibration, spec.threshold)
    if not spec.calibrate_from:
        return plan
    from .crossvalidate import calibration_from

    return calibration_from(Path(spec.calibrate_from), recipe.dataset, plan)


def _effort(spec: TrainSpec) -> dict[str, int]:
    """Return how many images the export is measured on at most, where the time is limited."""
    images = most_exported(spec)
    if images is None:
        return {}
    return {"most_images": images, "halo_images": 6, "proof_images": 3, "bf16_images": 12}


def _unseen(recipe: Recipe) -> dict[str, Any] | None:
    """Return a cross-validation's scores, for a model that learned from the validation images."""
    spec = recipe.spec
    if not (spec.all_samples and spec.calibrate_from):
        return None
    results = read_json(Path(spec.calibrate_from) / f"{NAME}.json")
    if results is None:
        return None
    sites, steps = len(results["per_site"]), results["plan"]["epochs"] * results["plan"]["steps"]
    told = (
        f"{results['data']}: {results['images']} images of {sites} groups, each predicted by one "
        f"of {results['folds']} networks of the preset {results['preset']} that never saw its "
        f"group, after {steps} steps, at 0.5"
    )
    return {"split": told, **results}


def _identity(recipe: Recipe) -> Any:
    from .identity import Identity

    spec = recipe.spec
    told = ("title", "description", "license", "citation", "version")
    changes: dict[str, Any] = {name: getattr(spec, name) or None for name in told}
    changes["gsd_range"] = spec.gsd_range or None
    if not changes["description"]:
        changes["description"] = f"{recipe.preset.title}."
    identity = Identity.of(recipe.dataset, Path(spec.output).name, **changes)
    others = [one for one in _first_sources(recipe) if one not in identity.sources]
    return replace(identity, sources=(*identity.sources, *others))


def _first_sources(recipe: Recipe) -> tuple[dict[str, str], ...]:
    """Return where the first weights come from, as a card tells its sources."""
    from .encoder_lite import SOURCE

    spec = recipe.spec
    encoder = encoder_of(recipe, spec.run_folder)
    found: list[dict[str, str]] = [SOURCE] if encoder else []
    if spec.start and (card := card_of(Path(spec.start))) is not None:
        told = {key: str(card.get(key) or "") for key in ("title", "license", "citation")}
        found.append({**told, "title": f"first weights: {_name_of(card)}, {told['title']}"})
        found += [one for one in card.get("sources", ()) if one not in found]
    return tuple(found)


def _name_of(card: Mapping[str, Any]) -> str:
    return f"{card.get('name')} {card.get('version')}"


def _told_training(recipe: Recipe, epochs: int) -> dict[str, Any]:
    """Return what the card records on the training."""
    spec = recipe.spec
    told: dict[str, Any] = {
        "preset": recipe.preset.name, "network": asdict(recipe.network),
        "plan": recipe.plan.told(), "framing": asdict(recipe.framing), "epochs_done": epochs,
        "samples": "training and validation" if spec.all_samples else "training",
    }  # fmt: skip
    if spec.minutes is not None:
        told["minutes"] = spec.minutes
    if encoder := encoder_of(recipe, spec.run_folder):
        told["encoder"] = encoder
    told |= told_start(spec, recipe.dataset)
    if spec.freeze != "none":
        told["frozen"] = spec.freeze
    return told


def _finished(spec: TrainSpec, told: Mapping[str, Any], folder: Path) -> TrainResult | None:
    """Return the result of this very run if nothing is left to do, and its model is there."""
    before = read_json(folder / RESULT)
    if before is None or not (Path(spec.output) / CARD_NAME).is_file():
        return None
    if any(before.get(key) != told[key] for key in told):
        return None
    if spec.finish and before.get("epochs") != len(read_history(folder)):
        return None
    if not (spec.finish or before.get("ended")):
        return None
    if (used := before.get("minutes")) is not None and spec.minutes != used:
        return None
    return TrainResult(**before["result"])


def _refuse_to_overwrite(spec: TrainSpec, folder: Path) -> None:
    output = Path(spec.output)
    if (output / CARD_NAME).is_file() and not (folder / SPEC).is_file():
        raise JobError(f"{output} holds a model already; name another output, or remove it")
    if output.is_file() or (
        output.is_dir() and any(output.iterdir()) and not (folder / SPEC).is_file()
    ):
        raise JobError(f"{output} is there already and is no model; name another output")
    if spec.finish and not (folder / BEST).is_file():
        raise JobError(f"{folder}: holds no weights yet, so there is nothing to finish")


def _values(result: TrainResult) -> Mapping[str, Any]:
    return {name: getattr(result, name) for name in ("model_folder", "report", "metrics")}
