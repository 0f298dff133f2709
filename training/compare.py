# SPDX-License-Identifier: GPL-2.0-or-later
"""Is another model's knowledge worth having? Cold, warm and hot starts on one figure.

Cold: from scratch, or from ImageNet's weights alone. Warm: from the other model's weights, trained
for a few epochs only. Hot: from the same weights, trained as long as the cold start.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.progress import Progress

from .part_progress import PartProgress
from .plots import save_comparison
from .recipe import Recipe
from .run import fit_recipe, keep_settings, settings_of
from .train_spec import TrainSpec

STARTS = ("cold", "warm", "hot")
NAME = "comparison"
History = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class CompareSpec:
    """Starts to compare.

    Attributes
    ----------
    train : TrainSpec
        Its ``start`` is the other model, its ``output`` the folder to write to.
    warm_epochs : int
        Epochs of the warm start.
    """

    train: TrainSpec
    warm_epochs: int = 5

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not self.train.start:
            raise JobError("a comparison needs a model to start from")
        if self.warm_epochs < 1:
            raise JobError(f"the warm start needs 1 epoch or more, not {self.warm_epochs}")

    @property
    def folder(self) -> Path:
        """Where all is written."""
        return Path(self.train.output)


def compare(spec: CompareSpec, progress: Progress) -> dict[str, History]:
    """Train all three starts and draw them; return the history of each.

    Each is a run in a folder of its own, which goes on where it stopped.

    Returns
    -------
    dict of str to rows of history.csv
        Also written as comparison.png, comparison.csv and comparison.md.
    """
    from .transfer import read_source

    dataset = Recipe.of(spec.train).dataset
    read_source(spec.train.start)  # what cannot be read is told before the cold start
    keep_settings(settings_of(spec.train, dataset, warm_epochs=spec.warm_epochs), spec.folder)
    specs = {
        "cold": replace(spec.train, start=""),
        "warm": replace(spec.train, epochs=spec.warm_epochs),
        "hot": spec.train,
    }
    curves: dict[str, History] = {}
    for place, name in enumerate(STARTS):
        recipe = Recipe.of(specs[name])
        part = PartProgress(progress, place, len(STARTS), f"{name} start")
        progress.log("info", f"{name} start: {recipe.plan.epochs} epochs")
        curves[name] = fit_recipe(
            recipe, recipe.dataset.split("train"), recipe.dataset.split("validation"),
            spec.folder / name, part, f"{name.capitalize()} start",
        ).history  # fmt: skip
    title = f"{dataset.title}, starting from {Path(spec.train.start).name}"
    save_comparison(curves, title, spec.folder / f"{NAME}.png")
    _write_csv(curves, spec.folder / f"{NAME}.csv")
    text = markdown(curves, {cls.value: cls.name for cls in recipe.dataset.classes})
    (spec.folder / f"{NAME}.md").write_text(text + "\n", encoding="utf-8")
    progress.log("info", f"{text}\n\nthe figure is {spec.folder / f'{NAME}.png'}")
    return curves


def markdown(curves: Mapping[str, History], classes: Mapping[int, str]) -> str:
    """Return the best epoch of each start as a Markdown table."""
    names = " | ".join(classes.values())
    lines = [
        f"| start | epochs | best epoch | mean IoU | after epoch 1 | {names} |",
        "|---|---|---|---|---|" + "---|" * len(classes),
    ]
    for start, history in curves.items():
        best = max(history, key=lambda row: row["score"])
        each = " | ".join(f"{best[f'iou_{value}']:.3f}" for value in classes)
        lines.append(
            f"| {start} | {len(history)} | {int(best['epoch'])} | {best['mean_iou']:.3f} | "
            f"{history[0]['mean_iou']:.3f} | {each} |"
        )
    return "\n".join(lines)


def _write_csv(curves: Mapping[str, History], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = list(curves["cold"][0])
        writer.writerow(["start", *columns])
        for start, history in curves.items():
            writer.writerows([start, *(row[name] for name in columns)] for row in history)
