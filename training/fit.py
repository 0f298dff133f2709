# SPDX-License-Identifier: GPL-2.0-or-later
"""Fit a network: epochs of steps, validation, the best checkpoint, and resume after a kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from unet_segmenter.engine.errors import Cancelled, JobError
from unet_segmenter.engine.progress import Progress

from .budget import Budget
from .checkpoint import BEST, Checkpoint
from .errors import TrainingError
from .fit_plan import FitPlan
from .losses import keras_loss
from .optimizers import (
    averaged_weights,
    make_optimizer,
    rate_now,
    set_epoch_rate,
    set_rate,
)
from .stepping import Stepper, compiles_steps, scope_of
from .validation import Frames, Pair, Verdict, validate

if TYPE_CHECKING:
    import keras

OUT_OF_TIME = "finished: the time is used up"

Batches = Callable[[int], Iterable[Pair]]
"""Epoch, from 0, to its batches: images (B, H, W, C) float32 scaled, labels (B, H, W) uint8."""


@dataclass(frozen=True)
class FitState:
    """Where a fit stands after an epoch.

    Attributes
    ----------
    seconds_left : float
        Estimated from the last epochs; where a time budget ends the training, until the export.
    status : str
        "running", "finished", or why it stopped.
    share : float, optional
        Share of the time budget that is used, 0 to 1; None where epochs are counted.
    """

    plan: FitPlan
    history: Sequence[Mapping[str, float]]
    seconds_left: float
    status: str = "running"
    share: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the plan leaves nothing to do."""
        return self.status.startswith("finished")

    @property
    def done(self) -> float:
        """The share of the training that is done, 0 to 1."""
        return len(self.history) / self.plan.epochs if self.share is None else self.share

    @property
    def of_epochs(self) -> str:
        """ "3 of 28", or "3" where the number of epochs is a matter of time."""
        return f"{len(self.history)}" + ("" if self.plan.open_end else f" of {self.plan.epochs}")

    @property
    def best(self) -> Mapping[str, float]:
        """The history's row whose weights were kept."""
        return max(self.history, key=lambda row: row["score"])


class Watcher(Protocol):
    """Is shown every epoch: writes reports and plots."""

    frames: Collection[int]
    """Numbers of the validation frames whose probabilities it wants."""

    def epoch(self, state: FitState, verdict: Verdict) -> None:
        """An epoch is done."""

    def end(self, state: FitState) -> None:
        """The fit is over, whichever way."""


def fit(
    model: keras.Model,
    batches: Batches,
    frames: Frames,
    plan: FitPlan,
    folder: Path,
    progress: Progress,
    watchers: Sequence[Watcher] = (),
    strategy: Any = None,
    budget: Budget | None = None,
) -> FitState:
    """Train ``model``, which gives logits; the best weights lie in best.weights.h5 after it.

    A checkpoint is written after every epoch; the same call resumes from it.

    Parameters
    ----------
    batches : callable
        The same epoch must give the same batches, so that a resumed one repeats itself.
    frames : Frames
        Decide which weights are the best: by `FitPlan.keep`, by default the highest mean
        one-vs-rest IoU at 0.5 over the classes that occur there.
    strategy : tf.distribute.Strategy, optional
        The one in whose scope the model was built.
    budget : Budget, optional
        Ends the training, within an epoch too, and decides the learning rate by the share of the
        time that is used.

    Raises
    ------
    Cancelled
        If the user asked to stop; what was done is kept, and the message says where.
    TrainingError
        If many steps in a row went wrong, or all of an epoch.
    """
    run = _Run(model, frames, plan, folder, progress, watchers, strategy, budget)
    status = "finished"
    try:
        for epoch in range(len(run.history), plan.epochs):
            if run.waited_in_vain():
                status = f"finished early: no better score in {plan.patience} epochs"
                break
            if run.out_of_time() and run.history:
                status = OUT_OF_TIME
                break
            run.epoch(epoch, batches)
    except Cancelled as error:
        run.end(str(error))
        raise
    except Exception as error:
        run.end(f"failed: {error}")
        raise
    if status != "finished":
        progress.log("info", status)
    return run.end(status)


def compile_for_fit(
    model: keras.Model,
    plan: FitPlan,
    strategy: Any = None,
    answers: np.ndarray | None = None,
    timed: bool = False,
) -> Any:
    """Compile ``model`` by the plan and return its optimizer.

    Parameters
    ----------
    answers : ndarray, shape (256, K) int8, optional
        What each label says; by default none is partial.
    timed : bool
        Whether the learning rate goes by the time.
    """
    weights = plan.class_weights
    classes = model.output_shape[-1] - (plan.head == "softmax")
    if weights and len(weights) != classes:
        raise JobError(f"{len(weights)} class weights were given for {classes} classes")
    with scope_of(strategy):
        optimizer = make_optimizer(plan, timed)
        model.compile(
            optimizer=optimizer, loss=keras_loss(plan.loss, weights, answers),
            jit_compile=compiles_steps(), auto_scale_loss=False,
        )  # fmt: skip
        optimizer.build(model.trainable_variables)
    return optimizer


class _Run:
    """A fit under way."""

    def __init__(
        self,
        model: keras.Model,
        frames: Frames,
        plan: FitPlan,
        folder: Path,
        progress: Progress,
        watchers: Sequence[Watcher],
        strategy: Any,
        budget: Budget | None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.model, self.frames, self.plan, self.folder = model, frames, plan, folder
        self.progress, self.watchers, self.budget = progress, watchers, budget
        self.clock = time.monotonic if budget is None else budget.clock
        timed = budget is not None
        self.optimizer = compile_for_fit(model, plan, strategy, frames.answers, timed)
        self.loss = keras_loss(plan.loss, plan.class_weights, frames.answers)
        self.checkpoint = Checkpoint(folder, model, self.optimizer)
        self.best, self.history = self.checkpoint.load()
        self.step = Stepper(model, strategy)
        self.shown = {number for watcher in watchers for number in watcher.frames}
        self.session: list[float] = []
        if budget is not None:
            budget.take_up(self.history)
        if self.history:
            progress.log("info", f"resumed after epoch {self.state('').of_epochs}")

    def epoch(self, epoch: int, batches: Batches) -> None:
        """Train, validate, and save what came of it."""
        began, skipped = self.clock(), self.step.skipped
        set_epoch_rate(self.optimizer, self.plan, self.history)
        loss = self._train(epoch, batches(epoch), began)
        trained = self.clock()
        with averaged_weights(self.model, self.optimizer):
            verdict = self._validate()
            score = self._score(verdict, epoch)
            # A score that is no number, of frames without any class, is better than no weights.
            if score > self.best or not (self.folder / BEST).is_file():
                self.best = score
                self.checkpoint.save_best()
        row = {
            "epoch": epoch + 1, "loss": loss, "val_loss": verdict.loss, "score": score,
            "rate": rate_now(self.optimizer), "mean_iou": verdict.counts.mean_iou(),
            **{f"iou_{n + 1}": v for n, v in enumerate(verdict.counts.scores()["iou"])},
            "skipped": self.step.skipped - skipped,
            "train_s": trained - began, "validation_s": self.clock() - trained,
        }  # fmt: skip
        self.history = [*self.history, row]
        self.session.append(self.clock() - began)
        if self.budget is not None:
            self.budget.validation = row["validation_s"]
        self.checkpoint.save(self.best, self.history)
        self._tell(row)
        for watcher in self.watchers:
            watcher.epoch(self.state("running"), verdict)

    def _train(self, epoch: int, batches: Iterable[Pair], began: float) -> float:
        plan, losses, budget = self.plan, [], self.budget
        since = self.clock()
        for number, (images, labels) in enumerate(batches, start=1):
            self._check()
            if budget:
                set_rate(self.optimizer, plan, self._share(epoch, number - 1))
            losses.append(self.step(images, labels))
            if number == 1 and not self.session:
                began = since = self.clock()  # the first step takes long, as the network is traced
            left = self._seconds_left(epoch, (number - 1) / plan.steps, self.clock() - began)
            self._advance(epoch, number, left)
            if budget and budget.epoch_is_over(since, first=epoch == 0):
                break
        counted = [loss for loss in losses if np.isfinite(loss)]
        if not counted:
            raise TrainingError(
                f"no step of epoch {epoch + 1} had a loss and a gradient that are numbers: lower "
                "the learning rate, use precision float32, or look for NaN in the images"
            )
        return float(np.mean(counted))

    def _share(self, epoch: int, steps: int) -> float:
        """The share of the training that is done: of its time, or of its steps if that is more."""
        counted = (epoch * self.plan.steps + steps) / (self.plan.epochs * self.plan.steps)
        return max(self.budget.share, 0.0 if self.plan.open_end else counted)

    def _advance(self, epoch: int, number: int, left: float) -> None:
        plan = self.plan
        done, total = epoch * plan.steps + number, plan.epochs * plan.steps
        if plan.open_end:
            done, total = round(1000 * self.budget.share), 1000
        self.progress.advance(
            done, total,
            f"epoch {epoch + 1}" + ("" if plan.open_end else f" of {plan.epochs}")
            + (f", {in_words(left)} left" if np.isfinite(left) else ""),
        )  # fmt: skip

    def out_of_time(self) -> bool:
        """Whether the time budget is used up."""
        return self.budget is not None and self.budget.used_up

    def _validate(self) -> Verdict:
        plan = self.plan
        batch = plan.batch if plan.keep == "val_loss" else 1
        return validate(
            self.model, self.frames, plan.head, self.loss, batch, self.shown, self._check
        )

    def _score(self, verdict: Verdict, epoch: int) -> float:
        return {
            "mean_iou": verdict.counts.mean_iou(), "val_loss": -verdict.loss, "last": float(epoch),
        }[self.plan.keep]  # fmt: skip

    def _check(self) -> None:
        if not self.progress.cancelled():
            return
        if not self.history:
            raise Cancelled("Training was cancelled before its first epoch was done.")
        row = self.state("").best
        raise Cancelled(
            f"Training was cancelled in epoch {len(self.history) + 1}. The best weights so far, of "
            f"epoch {int(row['epoch'])} (mean IoU {row['mean_iou']:.3f}), are kept in "
            f"{self.folder / BEST}; the same command goes on from there."
        )

    def _tell(self, row: Mapping[str, float]) -> None:
        each = " ".join(f"{v:.3f}" for key, v in row.items() if key.startswith("iou_"))
        best = self.state("").best
        of = "" if self.plan.open_end else f"/{self.plan.epochs}"
        self.progress.log(
            "info",
            f"epoch {int(row['epoch'])}{of}  loss {row['loss']:.4f}  validation "
            f"{row['val_loss']:.4f}  mean IoU {row['mean_iou']:.4f} (best {best['mean_iou']:.4f} "
            f"in epoch {int(best['epoch'])})  [{each}]  {row['train_s']:.0f}+"
            f"{row['validation_s']:.0f} s",
        )
        if row["skipped"]:
            self.progress.log(
                "warning",
                f"{int(row['skipped'])} steps of epoch {int(row['epoch'])} were left out: their "
                "loss or gradient was no number",
            )

    def waited_in_vain(self) -> bool:
        """Whether the score has not got better for as long as the plan's patience."""
        if not self.plan.patience or not self.history:
            return False
        return len(self.history) - self.state("").best["epoch"] >= self.plan.patience

    def state(self, status: str) -> FitState:
        """Return where the fit stands."""
        left = self._seconds_left(len(self.history), 0.0, 0.0) if status == "running" else 0.0
        share = self.budget.share if self.budget is not None else None
        return FitState(self.plan, self.history, left, status, share)

    def end(self, status: str) -> FitState:
        """Show the end to all watchers."""
        state = self.state(status)
        for watcher in self.watchers:
            watcher.end(state)
        return state

    def _seconds_left(self, epoch: int, part: float, seconds: float) -> float:
        """Estimate from this session's last epochs, or from the part of the first; NaN at first."""
        if self.budget is not None and self.plan.open_end:
            return self.budget.seconds_left
        if not self.session and not part:
            return float("nan")
        an_epoch = np.mean(self.session[-5:]) if self.session else seconds / part
        left = float(an_epoch * max(self.plan.epochs - epoch - part, 0.0))
        return left if self.budget is None else min(left, self.budget.seconds_left)


def in_words(seconds: float) -> str:
    """Return a time as "40 s", "12 min" or "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
