# SPDX-License-Identifier: GPL-2.0-or-later
"""Leave-groups-out cross-validation: every image is predicted by a model that never saw its site.

All images of training and validation are pooled and dealt to folds by group. The scores of the
pooled held-out predictions, per class and per site, say how a recipe does on sites to come. Any
preset works on the same folds, each image being judged at its own resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_segmenter.engine.errors import Cancelled, JobError
from unet_segmenter.engine.progress import Progress

from .checkpoint import BEST, replace_file
from .crossvalidation_results import (
    NAME,
    markdown,
    read_tallies,
    results_of,
    write_results,
    write_tallies,
)
from .dataset import Dataset, Sample
from .errors import DatasetError
from .evaluate import Tally
from .part_progress import PartProgress
from .recipe import Recipe
from .run import build, fit_recipe, keep_settings, settings_of
from .split import leave_sites_out
from .train_spec import TrainSpec
from .validation import predict, probabilities

if TYPE_CHECKING:
    import keras

    from .calibrate import CalibrationPlan, CalibrationResult

SELECTIONS = ("last", "best")
TALLIES = "tallies.npz"


@dataclass(frozen=True)
class CrossSpec:
    """A recipe to cross-validate.

    Attributes
    ----------
    train : TrainSpec
        Its ``output`` is the folder to write to: a folder a fold, and the results.
    folds : int
        Number of folds; at most the number of groups.
    select : str
        "last": each fold is judged by its last weights, so that the held-out images decide
        nothing. "best": by the weights that did best on them, as the course judges its models;
        this flatters, and the report says so.
    only : tuple of int
        Do these folds alone, from 1; the results are written when all are done.
    predictions : bool
        Keep each image's probabilities (H, W, K) as uint8, p * 254, in an npz file.
    together : tuple of tuple of str
        Groups that never part, as they show the same place.
    """

    train: TrainSpec
    folds: int = 4
    select: str = "last"
    only: tuple[int, ...] = ()
    predictions: bool = False
    together: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.select not in SELECTIONS:
            raise JobError(f"select {self.select!r} is unknown; there are {', '.join(SELECTIONS)}")
        if wrong := [fold for fold in self.only if not 1 <= fold <= self.folds]:
            raise JobError(f"there is no fold {wrong[0]} of {self.folds}")

    @property
    def folder(self) -> Path:
        """Where all is written."""
        return Path(self.train.output)


def crossvalidate(spec: CrossSpec, progress: Progress) -> dict[str, Any] | None:
    """Fit and judge all folds; return the results, None while folds are left out.

    A fold that was done is not done again, and one that was begun goes on.

    Raises
    ------
    DatasetError
        If there are fewer groups than folds.
    Cancelled
        If the user stopped; the same call goes on.
    """
    changes = {"keep": "last"} if spec.select == "last" else {}
    train_spec = replace(spec.train, **changes)
    recipe = Recipe.of(train_spec)
    folds = folds_of(recipe.dataset, spec.folds, spec.together)
    told = settings_of(
        train_spec, recipe.dataset, folds=spec.folds, select=spec.select, together=spec.together
    )
    keep_settings(told, spec.folder)
    wanted = spec.only or range(1, spec.folds + 1)
    for place, number in enumerate(wanted):
        part = PartProgress(progress, place, len(wanted), f"fold {number} of {spec.folds}")
        _do_fold(spec, recipe, folds[number - 1], number, part)
    tallies: dict[str, Tally] = {}
    fold_of: dict[str, int] = {}
    for number in range(1, spec.folds + 1):
        path = fold_folder(spec.folder, number) / TALLIES
        if not path.is_file():
            progress.log("info", f"fold {number} is not done yet: the results wait for it")
            return None
        found = read_tallies(path)
        tallies |= found
        fold_of |= dict.fromkeys(found, number)
    names = [cls.name for cls in recipe.dataset.classes]
    results = {
        "data": recipe.dataset.title, "preset": recipe.preset.name, "folds": spec.folds,
        "select": spec.select, "together": spec.together,
        "plan": asdict(recipe.plan), "network": asdict(recipe.network),
        **results_of(names, tallies, fold_of),
    }  # fmt: skip
    write_results(spec.folder, results)
    progress.log("info", f"{markdown(results)}\n\nwritten to {spec.folder / f'{NAME}.md'}")
    return results


def folds_of(
    dataset: Dataset, count: int, together: Sequence[Sequence[str]] = ()
) -> list[tuple[list[Sample], list[Sample]]]:
    """Return (train, held out) of each fold: all images but those of the test split, by group.

    Parameters
    ----------
    together : sequence of sequence of str
        Groups that count as one, as they show the same place.

    Raises
    ------
    DatasetError
        If there are fewer groups than folds, or none of a name in ``together``.
    """
    samples = [*dataset.split("train"), *dataset.split("validation")]
    samples.sort(key=lambda sample: sample.name)
    place_of = {sample.group: sample.group for sample in samples}
    for groups in together:
        for group in groups:
            if group not in place_of:
                raise DatasetError(
                    f"{dataset.folder}: there is no group {group!r} to keep together with others; "
                    f"there are {', '.join(place_of)}"
                )
        joined = {place_of[group] for group in groups}
        first = min(joined)
        place_of = {name: first if place in joined else place for name, place in place_of.items()}
    places = set(place_of.values())
    if not 2 <= count <= len(places):
        raise DatasetError(
            f"{dataset.folder}: its {len(samples)} images are of {len(places)} groups, which makes "
            f"2 to {len(places)} folds, not {count}"
        )
    return leave_sites_out(samples, count, group_of=lambda sample: place_of[sample.group])


def fold_folder(folder: Path, number: int) -> Path:
    """Return the folder of a fold, from 1."""
    return folder / f"fold_{number}"


def _do_fold(
    spec: CrossSpec,
    recipe: Recipe,
    sides: tuple[list[Sample], list[Sample]],
    number: int,
    progress: Progress,
) -> None:
    folder = fold_folder(spec.folder, number)
    if (folder / TALLIES).is_file():
        progress.log("info", f"fold {number}: done before")
        return
    train, held_out = sides
    groups = ", ".join(sorted({sample.group for sample in held_out}))
    progress.log("info", f"fold {number}: {len(held_out)} images held out ({_shortened(groups)})")
    fit_recipe(recipe, train, held_out, folder, progress, f"Fold {number} of {spec.folds}")
    model = build(recipe.told(), dropout=0.0)
    model.load_weights(folder / BEST)
    kept = folder / "predictions" if spec.predictions else None
    tallies = judge(model, recipe, held_out, progress, kept)
    replace_file(folder / TALLIES, lambda path: write_tallies(path, tallies))


def judge(
    model: keras.Model,
    recipe: Recipe,
    samples: Sequence[Sample],
    progress: Progress,
    keep: Path | None = None,
) -> dict[str, Tally]:
    """Predict images and count by group, at 0.5, at each image's own resolution.

    Parameters
    ----------
    model : keras.Model
        Gives logits, at the working resolution of the recipe.
    keep : Path, optional
        Folder for the probabilities.
    """
    from .graph import divisor_of

    names = [cls.name for cls in recipe.dataset.classes]
    frames = recipe.frames(samples, divisor_of(model))
    tallies: dict[str, Tally] = {}
    for number, (sample, (image, _mask)) in enumerate(zip(samples, frames, strict=True), start=1):
        if progress.cancelled():
            raise Cancelled("Cancelled while predicting; the same command goes on.")
        pixels, mask = frames.samples[number - 1]
        seen = recipe.framing.see(pixels, mask)[1].shape
        found = probabilities(predict(model, image), recipe.network.head)[: seen[0], : seen[1]]
        found = recipe.framing.restore(np.float32(found), mask.shape)
        tally = Tally.of(found, mask, [0.5] * len(names), answers=recipe.dataset.answers)
        tallies[sample.group] = tallies.get(sample.group, Tally.zero(len(names))) + tally
        if keep is not None:
            path = keep / f"{sample.name}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, p=np.rint(found * 254).astype("u1"))
        progress.advance(number, len(samples), "predicting the held-out images")
    return tallies


def calibration_from(folder: Path, dataset: Dataset, plan: CalibrationPlan) -> CalibrationResult:
    """Fit calibration and thresholds on the held-out predictions of a cross-validation.

    Raises
    ------
    JobError
        If the folder holds none, or one of other classes.
    """
    from .calibrate import calibrate

    paths = sorted(folder.glob(f"fold_*/{TALLIES}"))
    groups = {g: t.scores for path in paths for g, t in read_tallies(path).items()}
    names = [cls.name for cls in dataset.classes]
    if not groups:
        raise JobError(f"{folder}: holds no cross-validation; run 'crossvalidate' first")
    if len(next(iter(groups.values())).negatives) != len(names):
        raise JobError(f"{folder}: was made with other classes than {', '.join(names)}")
    return calibrate(groups, names, plan)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
