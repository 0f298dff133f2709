# SPDX-License-Identifier: GPL-2.0-or-later
"""Is another model's knowledge worth having? Cold, warm and hot starts on one figure.

Cold: from nothing. Warm: from a model that learned other data for a few epochs only. Hot: from a
model that learned them long. All three are trained equally long.
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
from .train_spec import BALANCED, NO_ENCODER, TrainSpec

STARTS = ("cold", "warm", "hot")
BRIEF = "brief"
"""Folder of the run that makes the model of the warm start."""
NAME = "comparison"
History = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class CompareSpec:
    """Starts to compare.

    Attributes
    ----------
    train : TrainSpec
        Its ``start`` is the model that learned long, its ``output`` the folder to write to. An
        ``encoder`` that is named gives its weights to the cold start, too.
    warm_start : str
        The model that learned briefly, as ``start``.
    source : str
        Prepared data set on which to train that model instead, by the same recipe.
    warm_epochs : int
        Epochs of that training.
    """

    train: TrainSpec
    warm_start: str = ""
    source: str = ""
    warm_epochs: int = 5

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not self.train.start:
            raise JobError("a comparison needs a model to start from")
        if bool(self.warm_start) == bool(self.source):
            raise JobError(
                "a comparison needs a model that learned briefly: name one (--warm-from), or the "
                "data set on which to train it (--source), and not both"
            )
        if self.warm_epochs < 1:
            raise JobError(f"the warm start's model needs 1 epoch or more, not {self.warm_epochs}")

    @property
    def folder(self) -> Path:
        """Where all is written."""
        return Path(self.train.output)


def compare(spec: CompareSpec, progress: Progress) -> dict[str, History]:
    """Train all three starts equally long and draw them; return the history of each.

    Each is a run in a folder of its own, which goes on where it stopped.

    Returns
    -------
    dict of str to rows of history.csv
        Also written as comparison.png, comparison.csv and comparison.md.
    """
    from .transfer import read_source

    train = spec.train
    if not train.names_encoder:
        train = replace(train, encoder=NO_ENCODER)
    dataset = Recipe.of(train).dataset
    for start in filter(None, (train.start, spec.warm_start)):
        read_source(start)  # what cannot be read is told before the cold start
    asked = {name: getattr(spec, name) for name in ("warm_start", "source", "warm_epochs")}
    keep_settings(settings_of(train, dataset, **asked), spec.folder)
    specs = {
        "cold": replace(train, start=""),
        "warm": replace(train, start=spec.warm_start or str(spec.folder / BRIEF)),
        "hot": train,
    }
    if spec.source:
        specs = {BRIEF: _brief(train, spec), **specs}
    histories: dict[str, History] = {}
    for place, (name, one) in enumerate(specs.items()):
        what = f"{name} start" if name in STARTS else "model of the warm start"
        recipe = Recipe.of(one)
        progress.log("info", f"{what}: {recipe.plan.epochs} epochs")
        histories[name] = fit_recipe(
            recipe, recipe.dataset.split("train"), recipe.dataset.split("validation"),
            spec.folder / name, PartProgress(progress, place, len(specs), what), what.capitalize(),
        ).history  # fmt: skip
    curves = {name: histories[name] for name in STARTS}
    title = f"{dataset.title}, starting from {Path(spec.train.start).name}"
    save_comparison(curves, title, spec.folder / f"{NAME}.png")
    _write_csv(curves, spec.folder / f"{NAME}.csv")
    text = markdown(curves, {cls.value: cls.name for cls in dataset.classes})
    (spec.folder / f"{NAME}.md").write_text(text + "\n", encoding="utf-8")
    progress.log("info", f"{text}\n\nthe figure is {spec.folder / f'{NAME}.png'}")
    return curves


def _brief(train: TrainSpec, spec: CompareSpec) -> TrainSpec:
    """Return the spec of the model of the warm start: all classes of the source, few epochs."""
    return replace(
        train, dataset=spec.source, start="", freeze="none", epochs=spec.warm_epochs, classes=(),
        class_weights=tuple(one for one in train.class_weights if one == BALANCED), mix=(),
    )  # fmt: skip


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
