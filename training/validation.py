# SPDX-License-Identifier: GPL-2.0-or-later
"""What a network is worth during training: counts and loss on whole images as it sees them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_segmenter.engine.metrics import BinaryCounts

from .answers import OPEN, YES, plain_answers
from .dataset import IGNORE
from .framing import Framing

if TYPE_CHECKING:
    import keras

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Frames:
    """Whole images with their masks, ready for the network one by one.

    Attributes
    ----------
    samples : sequence of (image, mask)
        Images (H, W, B) in their own type, masks (H, W) uint8; read when asked for.
    framing : Framing
        The working resolution.
    scale : callable
        Image to what the network is fed, float32.
    divisor : int
        Sides are padded to multiples of it, with 0 after scaling and "ignore" in the mask, as the
        engine does it.
    answers : ndarray, shape (256, K) int8, optional
        What each value of the masks says of each class; by default none is a partial label.
    """

    samples: Sequence[Pair]
    framing: Framing
    scale: Callable[[np.ndarray], np.ndarray]
    divisor: int
    answers: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> Pair:
        """Return image (H', W', B) float32, scaled and padded, and mask (H', W') uint8."""
        image, mask = self.framing.see(*self.samples[number])
        pads = [(0, -side % self.divisor) for side in mask.shape]
        scaled = np.pad(self.scale(image), (*pads, (0, 0)))
        return scaled, np.pad(mask, pads, constant_values=IGNORE)

    def __iter__(self) -> Iterator[Pair]:
        return (self[number] for number in range(len(self)))


@dataclass
class Verdict:
    """Counts and loss of one pass over the validation frames.

    Attributes
    ----------
    counts : BinaryCounts
        One-vs-rest at 0.5, or of the most probable class for a softmax head.
    loss : float
        Mean over batches; NaN if none was asked for.
    shown : dict
        Probabilities (H', W', K) of the frames that were to be kept, by number.
    """

    counts: BinaryCounts
    loss: float
    shown: dict[int, np.ndarray] = field(default_factory=dict)


def validate(
    model: keras.Model,
    frames: Frames,
    head: str,
    loss: Any = None,
    batch: int = 1,
    keep: Collection[int] = (),
    check: Callable[[], None] = lambda: None,
) -> Verdict:
    """Run ``model``, which gives logits, over all frames.

    Parameters
    ----------
    head : str
        "sigmoid" or "softmax".
    loss : keras.losses.Loss, optional
        Computed over ``batch`` frames of one size at a time, as in training.
    keep : collection of int
        Frames whose probabilities are returned.
    check : callable
        Called before each frame; it may raise.
    """
    classes = model.output_shape[-1] - (head == "softmax")
    answers = plain_answers(classes) if frames.answers is None else frames.answers
    verdict = Verdict(BinaryCounts.zero(classes), float("nan"))
    losses: list[float] = []
    waiting: list[Pair] = []

    def take_loss() -> None:
        if waiting and loss is not None:
            logits, labels = (np.stack(part) for part in zip(*waiting, strict=True))
            losses.append(float(loss(labels, logits)))
        waiting.clear()

    for number, (image, labels) in enumerate(frames):
        check()
        logits = predict(model, image)
        truth, known = answers[labels] == YES, answers[labels] != OPEN
        verdict.counts += BinaryCounts.of_answers(decide(logits, head), truth, known)
        if number in keep:
            verdict.shown[number] = probabilities(logits, head)
        if waiting and (len(waiting) == batch or waiting[0][1].shape != labels.shape):
            take_loss()
        waiting.append((logits, labels))
    take_loss()
    if losses:
        verdict.loss = float(np.mean(losses))
    return verdict


def predict(model: keras.Model, image: np.ndarray) -> np.ndarray:
    """Return the logits (H, W, C) float32 of one image (H, W, B) float32."""
    # With several devices each predicts the same image; the first answer is taken.
    return np.asarray(model.predict_on_batch(image[None]), np.float32)[0]


def probabilities(logits: np.ndarray, head: str) -> np.ndarray:
    """Return the probabilities of the classes (..., K); of a softmax without "none", channel 0."""
    if head == "softmax":
        power = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return (power / power.sum(axis=-1, keepdims=True))[..., 1:]
    return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))


def decide(logits: np.ndarray, head: str) -> np.ndarray:
    """Return masks (..., K) bool: probability above 0.5, or the most probable of a softmax."""
    if head == "softmax":
        return logits.argmax(axis=-1)[..., None] == np.arange(1, logits.shape[-1])
    return logits > 0


def decided(probability: np.ndarray, head: str) -> np.ndarray:
    """Return the mask (H, W) of probabilities (H, W, K): the most probable class, 0 for none.

    One-vs-rest a class must pass 0.5; a softmax's "none" must have less than the class.
    """
    best = probability.max(axis=-1)
    none = 1.0 - probability.sum(axis=-1) if head == "softmax" else np.float32(0.5)
    return np.where(best > none, probability.argmax(axis=-1) + 1, 0).astype(np.uint8)
