# SPDX-License-Identifier: GPL-2.0-or-later
"""Fit with warm-up and cosine decay, averaged weights, best checkpoint and resume."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .augment import Augmentation
from .batches import Sample, ahead, epoch_batches, scaled, site_weights
from .metrics import BinaryCounts

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class FitPlan:
    """Everything that decides what a fit comes to, given data and first weights.

    Attributes
    ----------
    warm_up : float
        Share of the steps over which the rate rises from zero.
    encoder_rate : float
        The encoder's learning rate, as a share of the decoder's.
    averaging : float
        Momentum of the exponential moving average of the weights, which is what is validated
        and kept.
    """

    epochs: int = 28
    steps: int = 100
    batch: int = 8
    rate: float = 1.5e-3
    encoder_rate: float = 0.3
    warm_up: float = 0.04
    weight_decay: float = 1e-3
    averaging: float = 0.99
    clip_norm: float = 5.0
    loss: str = "dice+bce"
    seed: int = 2026
    augmentation: Augmentation = field(default_factory=Augmentation)


def fit(
    model: keras.Model,
    train: tuple[Sequence[str], Sequence[Sample]],
    validation: Sequence[Sample],
    plan: FitPlan,
    folder: Path,
    report: Callable[[str], None] = print,
    until: float | None = None,
) -> Path:
    """Train ``model``, which gives logits, and return the path of the best weights.

    A checkpoint is written after every epoch; the same call takes up where it stands. Best is the
    highest mean one-vs-rest IoU on ``validation`` at threshold 0.5, over the classes there.

    Parameters
    ----------
    train : (stems, samples)
        Samples are frames (H, W, 3) and masks (H, W), uint8.
    until : float, optional
        Unix time at which no further epoch begins.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stems, samples = train
    optimizer = compile_for_fit(model, plan)
    state = _Checkpoint(folder, model, optimizer)
    best, first = state.load()
    weights = site_weights(stems)
    for epoch in range(first, plan.epochs):
        if until is not None and time.time() >= until:
            report(f"stopped before epoch {epoch + 1}: out of time")
            break
        began = time.time()
        batches = epoch_batches(
            samples, weights, plan.steps, plan.batch, plan.augmentation, (plan.seed, epoch)
        )
        loss = float(np.mean([float(model.train_on_batch(*pair)) for pair in ahead(batches)]))
        if not np.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} in epoch {epoch + 1}: lower the rate")
        trained = time.time()
        with averaged_weights(model, optimizer):
            counts = validate(model, validation)
            score = counts.mean_iou()
            if score > best:
                best = score
                _replace(folder / "best.weights.h5", model.save_weights)
        iou = counts.scores()["iou"]
        row = {
            "epoch": epoch + 1, "loss": loss, "rate": float(optimizer.learning_rate),
            "mean_iou": score, **{f"iou_{n + 1}": value for n, value in enumerate(iou)},
            "train_s": trained - began, "validation_s": time.time() - trained,
        }  # fmt: skip
        state.save(best, row)
        report(
            f"epoch {epoch + 1}/{plan.epochs}  loss {loss:.4f}  mean IoU {score:.4f}  best "
            f"{best:.4f}  [{' '.join(f'{value:.3f}' for value in iou)}]  "
            f"{row['train_s']:.0f}+{row['validation_s']:.0f} s"
        )
    return folder / "best.weights.h5"


def compile_for_fit(model: keras.Model, plan: FitPlan) -> Any:
    """Compile ``model`` by the plan and return its optimizer."""
    import keras

    from .losses import LOSSES

    class TwoRates(keras.optimizers.AdamW):
        """AdamW whose encoder variables learn at a share of the rate."""

        def update_step(self, gradient, variable, learning_rate):
            # TensorFlow hands over its own variable, which does not know Keras's path.
            kept = self._trainable_variables[self._get_variable_index(variable)]
            slow = kept.path.startswith("encoder_")
            rate = learning_rate * (plan.encoder_rate if slow else 1.0)
            super().update_step(gradient, variable, rate)

    total = plan.epochs * plan.steps
    warm_up = int(total * plan.warm_up)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, total - warm_up, alpha=0.01, warmup_target=plan.rate, warmup_steps=warm_up
    )
    optimizer = TwoRates(
        schedule, weight_decay=plan.weight_decay, global_clipnorm=plan.clip_norm,
        use_ema=True, ema_momentum=plan.averaging,
    )  # fmt: skip
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    model.compile(optimizer=optimizer, loss=LOSSES[plan.loss], jit_compile=False)
    optimizer.build(model.trainable_variables)
    return optimizer


class averaged_weights:  # noqa: N801 - reads as a function in a with statement
    """Put the moving average in place of the weights, for the time of a with block."""

    def __init__(self, model: keras.Model, optimizer: Any) -> None:
        self.variables = model.trainable_variables
        self.averages = optimizer._model_variables_moving_average

    def __enter__(self) -> None:
        self.kept = [variable.numpy() for variable in self.variables]
        for variable, average in zip(self.variables, self.averages, strict=True):
            variable.assign(average)

    def __exit__(self, *_error: object) -> None:
        for variable, kept in zip(self.variables, self.kept, strict=True):
            variable.assign(kept)


def validate(model: keras.Model, samples: Sequence[Sample], threshold: float = 0.5) -> BinaryCounts:
    """Count one-vs-rest hits of whole frames, padded to multiples of 16."""
    classes = model.output_shape[-1]
    level = np.log(threshold / (1 - threshold))
    counts = BinaryCounts.zero(classes)
    for image, labels in samples:
        counts += BinaryCounts.of(whole_logits(model, image) > level, labels)
    return counts


def whole_logits(model: keras.Model, image: np.ndarray, divisor: int = 16) -> np.ndarray:
    """Return the logits (H, W, K) float32 of a whole frame (H, W, 3) uint8.

    What is added below and to the right is 0 after scaling, as the engine does it.
    """
    height, width = image.shape[:2]
    pad = ((0, -height % divisor), (0, -width % divisor), (0, 0))
    batch = np.pad(scaled(image), pad)[None]
    return np.asarray(model.predict_on_batch(batch))[0, :height, :width]


class _Checkpoint:
    """State after the last whole epoch: weights, optimizer, best score, history.csv."""

    def __init__(self, folder: Path, model: keras.Model, optimizer: Any) -> None:
        self.path = folder / "last.npz"
        self.history = folder / "history.csv"
        self.variables = [*model.variables, *optimizer.variables]

    def load(self) -> tuple[float, int]:
        """Restore what was saved; return the best score and the number of epochs done."""
        if not self.path.is_file():
            return -1.0, 0
        with np.load(self.path, allow_pickle=False) as saved:
            for number, variable in enumerate(self.variables):
                variable.assign(saved[f"v{number}"])
            return float(saved["best"]), int(saved["epoch"])

    def save(self, best: float, row: dict[str, float]) -> None:
        arrays = {f"v{n}": np.asarray(variable) for n, variable in enumerate(self.variables)}
        extra = {"best": best, "epoch": row["epoch"]}
        rows = []
        if row["epoch"] > 1 and self.history.is_file():
            with self.history.open(newline="") as file:
                rows = list(csv.DictReader(file))[: int(row["epoch"]) - 1]
        temporary = self.history.with_suffix(".tmp")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows([*rows, row])
        temporary.replace(self.history)
        # Last, so that a kill in between repeats the epoch instead of losing its row.
        _replace(self.path, lambda path: np.savez(path, **arrays, **extra))


def read_history(folder: Path) -> list[dict[str, float]]:
    """Return the rows of history.csv, one an epoch."""
    with (folder / "history.csv").open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    temporary = path.with_name(f"tmp.{path.name}")
    write(temporary)
    temporary.replace(path)


def save_plan(plan: FitPlan, folder: Path, **more: Any) -> None:
    """Write plan.json beside the checkpoints: what export tells in the card."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps({**asdict(plan), **more}, indent=1))
