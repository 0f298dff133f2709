# SPDX-License-Identifier: GPL-2.0-or-later
"""Leave-groups-out cross-validation: every image is predicted by a model that never saw its site.

All images of training and validation are pooled and dealt to folds by group. The scores of the
pooled held-out predictions, per class and per site, say how a recipe does on sites to come. Any
preset works on the same folds, each image being judged at its own resolution.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_segmenter.engine.errors import Cancelled, JobError
from unet_segmenter.engine.metrics import BinaryCounts, BoundaryCounts
from unet_segmenter.engine.progress import Progress
from unet_segmenter.engine.reliability import ScoreHistogram

from .checkpoint import BEST, replace_file
from .dataset import Dataset, Sample
from .errors import DatasetError
from .evaluate import Tally, cell, mean_known, rounded
from .part_progress import PartProgress
from .recipe import Recipe
from .run import build, fit_recipe, keep_settings, settings_of, write_json
from .split import leave_sites_out
from .train_spec import TrainSpec
from .validation import predict, probabilities

if TYPE_CHECKING:
    import keras

    from .calibrate import CalibrationPlan, CalibrationResult

SELECTIONS = ("last", "best")
TALLIES = "tallies.npz"
NAME = "crossvalidation"


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
    """

    train: TrainSpec
    folds: int = 4
    select: str = "last"
    only: tuple[int, ...] = ()
    predictions: bool = False

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
    dataset = Dataset.open(spec.train.dataset)
    changes = {"keep": "last"} if spec.select == "last" else {}
    train_spec = replace(spec.train, **changes)
    recipe = Recipe.of(train_spec, dataset)
    folds = folds_of(recipe.dataset, spec.folds)
    told = settings_of(train_spec, dataset, folds=spec.folds, select=spec.select)
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
    results = results_of(spec, recipe, tallies, fold_of)
    _write_results(spec.folder, results)
    progress.log("info", f"{markdown(results)}\n\nwritten to {spec.folder / f'{NAME}.md'}")
    return results


def folds_of(
    dataset: Dataset, count: int
) -> list[tuple[list[Sample], list[Sample]]]:  # fmt: skip
    """Return (train, held out) of each fold: all images but those of the test split, by group.

    Raises
    ------
    DatasetError
        If there are fewer groups than folds.
    """
    samples = [*dataset.split("train"), *dataset.split("validation")]
    samples.sort(key=lambda sample: sample.name)
    groups = {sample.group for sample in samples}
    if not 2 <= count <= len(groups):
        raise DatasetError(
            f"{dataset.folder}: its {len(samples)} images are of {len(groups)} groups, which makes "
            f"2 to {len(groups)} folds, not {count}"
        )
    return leave_sites_out(samples, count, group_of=lambda sample: sample.group)


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
        tally = Tally.of(found, mask, [0.5] * len(names))
        tallies[sample.group] = tallies.get(sample.group, Tally.zero(len(names))) + tally
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(keep / f"{sample.name}.npz", p=np.rint(found * 254).astype("u1"))
        progress.advance(number, len(samples), "predicting the held-out images")
    return tallies


def results_of(
    spec: CrossSpec, recipe: Recipe, tallies: Mapping[str, Tally], fold_of: Mapping[str, int]
) -> dict[str, Any]:
    """Return all scores: pooled, by site with their spread, and by fold."""
    names = [cls.name for cls in recipe.dataset.classes]
    pooled = sum(tallies.values(), start=Tally.zero(len(names)))
    sites = {
        site: {
            "fold": fold_of[site], "images": tally.images,
            "mean_iou": rounded(tally.counts.mean_iou()),
            "iou": _of_occurring(tally, names),
        }
        for site, tally in sorted(tallies.items())
    }  # fmt: skip
    return {
        "data": recipe.dataset.title, "preset": recipe.preset.name, "folds": spec.folds,
        "select": spec.select, "plan": asdict(recipe.plan), "network": asdict(recipe.network),
        "images": pooled.images, "mean_iou": rounded(pooled.counts.mean_iou()),
        "mean_ece": rounded(mean_known(pooled.scores.ece())),
        "per_class": pooled.per_class(names), "fused": pooled.fused(names),
        "spread": {name: _spread([row["iou"][name] for row in sites.values()]) for name in names},
        "per_site": sites,
        "per_fold": {
            number: rounded(
                sum(
                    (tallies[site] for site in sites if fold_of[site] == number),
                    start=Tally.zero(len(names)),
                ).counts.mean_iou()
            )
            for number in sorted(set(fold_of.values()))
        },
    }  # fmt: skip


def _of_occurring(tally: Tally, names: Sequence[str]) -> dict[str, float | None]:
    """Return the IoU of the classes that occur at a site, None for the others."""
    there = tally.counts.hit + tally.counts.missed > 0
    iou = tally.counts.scores()["iou"]
    return {name: rounded(iou[k]) if there[k] else None for k, name in enumerate(names)}


def _spread(values: Sequence[float | None]) -> dict[str, float | int | None]:
    known = np.array([value for value in values if value is not None])
    if not known.size:
        return {"sites": 0, "mean": None, "std": None, "min": None, "max": None}
    return {
        "sites": int(known.size), "mean": rounded(known.mean()), "std": rounded(known.std()),
        "min": rounded(known.min()), "max": rounded(known.max()),
    }  # fmt: skip


def markdown(results: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    names = list(results["per_class"])
    lines = [
        f"# {results['preset']} on {results['data']}: {results['folds']} folds by group", "",
        f"Pooled predictions of {results['images']} held-out images at threshold 0.5; "
        f"mean IoU {cell(results['mean_iou'])}, mean calibration error "
        f"{cell(results['mean_ece'])}.",
        "Folds: " + ", ".join(f"{n}: {cell(iou)}" for n, iou in results["per_fold"].items()) + ".",
        "", "| class | IoU | Dice | precision | recall | sites | IoU over sites | least | most |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    if results["select"] == "best":
        lines.insert(3, "The held-out images chose the epoch of each fold, which flatters.")
    for name in names:
        row, spread = results["per_class"][name], results["spread"][name]
        scores = [cell(row[key]) for key in ("iou", "dice", "precision", "recall")]
        over = f"{cell(spread['mean'])} ± {cell(spread['std'])}"
        ends = [cell(spread["min"]), cell(spread["max"])]
        lines.append(f"| {name} | {' | '.join([*scores, str(spread['sites']), over, *ends])} |")
    lines += ["", f"| site | fold | images | mean IoU | {' | '.join(names)} |",
              "|---|---|---|---|" + "---|" * len(names)]  # fmt: skip
    for site, row in results["per_site"].items():
        cells = " | ".join(cell(row["iou"][name]) for name in names)
        lines.append(
            f"| {site} | {row['fold']} | {row['images']} | {cell(row['mean_iou'])} | {cells} |"
        )
    return "\n".join(lines)


def _write_results(folder: Path, results: Mapping[str, Any]) -> None:
    write_json(folder / f"{NAME}.json", results)
    (folder / f"{NAME}.md").write_text(markdown(results) + "\n", encoding="utf-8")
    names = list(results["per_class"])
    with (folder / f"{NAME}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["site", "fold", "images", "mean_iou", *names])
        whole = {"fold": "", "images": results["images"], "mean_iou": results["mean_iou"]}
        iou = {name: row["iou"] for name, row in results["per_class"].items()}
        for site, row in {**results["per_site"], "pooled": {**whole, "iou": iou}}.items():
            first = [site, row["fold"], row["images"], row["mean_iou"]]
            writer.writerow([*first, *(row["iou"][name] for name in names)])


_PARTS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "counts": (BinaryCounts, ("hit", "false", "missed")),
    "boundary": (BoundaryCounts, ("claimed", "claimed_near", "true", "true_near")),
    "scores": (ScoreHistogram, ("negatives", "positives", "total")),
}
"""The counts that a `Tally` is made of, and their arrays."""


def write_tallies(path: Path, tallies: Mapping[str, Tally]) -> None:
    """Write the counts of each group as npz."""
    arrays: dict[str, np.ndarray] = {"groups": np.array(list(tallies))}
    for number, tally in enumerate(tallies.values()):
        arrays[f"{number}.images"] = np.array(tally.images)
        arrays[f"{number}.confusion"] = tally.confusion
        for part, (_kind, names) in _PARTS.items():
            for name in names:
                arrays[f"{number}.{part}.{name}"] = getattr(getattr(tally, part), name)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_tallies(path: Path) -> dict[str, Tally]:
    """Return the counts of each group that `write_tallies` wrote."""
    with np.load(path, allow_pickle=False) as saved:
        return {
            str(group): Tally(
                images=int(saved[f"{number}.images"]),
                confusion=saved[f"{number}.confusion"],
                **{
                    part: kind(*(saved[f"{number}.{part}.{name}"] for name in names))
                    for part, (kind, names) in _PARTS.items()
                },
            )
            for number, group in enumerate(saved["groups"])
        }


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
