# SPDX-License-Identifier: GPL-2.0-or-later
"""Losses on logits, with partial labels and class weights. Backend-agnostic (keras.ops).

One-vs-rest losses take K channels, label ``k + 1`` being positive in channel ``k``. Softmax losses
take K + 1 channels, of which 0 is "none of the classes". What other labels say of each class is
told by an answer table (`training.answers`); an open question is left out.

All sums run over the whole batch: a crop without a class then says nothing against the class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .answers import NO, OPEN, YES, plain_answers


class _Ops:
    """`keras.ops`, imported at the first use: what only lists the losses need not wait for it."""

    def __getattr__(self, name: str) -> Any:
        from keras import ops

        return getattr(ops, name)


ops = _Ops()
PIXELS = (0, 1, 2)
"""Axes of batch, rows and columns."""


def one_vs_rest(labels: Any, answers: np.ndarray) -> tuple[Any, Any]:
    """Return targets and validity, (B, H, W, K) float32 each, of labels (B, H, W).

    Parameters
    ----------
    answers : ndarray, shape (256, K) int8
        What each label says of each class; see `training.answers`. An open answer has target 0
        and validity 0.
    """
    labels = ops.cast(labels, "int32")
    yes, known = (np.float32(part) for part in (answers == YES, answers != OPEN))
    return ops.take(yes, labels, axis=0), ops.take(known, labels, axis=0)


def none_and_classes(labels: Any, answers: np.ndarray) -> tuple[Any, Any]:
    """Return targets and validity, (B, H, W, K + 1) float32 each; channel 0 is "none of them".

    A softmax has one right channel a pixel. A partial label allows several: a channel that is not
    allowed is known to be wrong, and so has target 0 and validity 1. The one allowed channel has
    target 1 and validity 1; of several allowed ones each has target 1 and validity 0.
    """
    allowed = allowed_channels(answers)
    single = allowed.sum(axis=1, keepdims=True) == 1
    labelled = (answers != OPEN).any(axis=1, keepdims=True)
    known = (~allowed | single) & labelled
    labels = ops.cast(labels, "int32")
    return tuple(ops.take(np.float32(part), labels, axis=0) for part in (allowed, known))


def allowed_channels(answers: np.ndarray) -> np.ndarray:
    """Return which of the channels "none" and K classes a label allows, (256, K + 1) bool.

    "None" is allowed where no class is known to be there.
    """
    return np.column_stack([~(answers == YES).any(axis=1), answers != NO])


def binary_cross_entropy(targets: Any, logits: Any, valid: Any, weights: Any = None) -> Any:
    """Return the mean over all answers, (weighted) by class; open questions do not count."""
    return _mean_of_answers(_entropy(targets, logits), valid, weights)


def weighted_cross_entropy(targets: Any, logits: Any, valid: Any, weights: Any = None) -> Any:
    """Return the mean over all answers; positives of a class count by its weight.

    So a weight above 1 buys recall for precision, with one class too.
    """
    per_pixel = 1.0 if weights is None else 1.0 + targets * (weights - 1.0)
    return _mean_of_answers(_entropy(targets, logits) * per_pixel, valid)


def dice_loss(targets: Any, logits: Any, valid: Any, weights: Any = None) -> Any:
    """Return 1 - soft Dice over the batch, the mean over the classes present in it.

    A class absent from the batch has Dice 0 whatever is predicted: it would pull at every
    weight for nothing, so it is left to the cross-entropy.
    """
    return _soft_dice(ops.sigmoid(logits), targets, valid, weights)


def course_dice(targets: Any, logits: Any, valid: Any, _weights: Any = None) -> Any:
    """Return 1 - soft Dice with smoothing 1 over the batch, all classes being one heap of pixels.

    With one class the course's loss; a batch without the class counts too.
    """
    probability = ops.sigmoid(logits) * valid
    targets = targets * valid
    shared, area = ops.sum(probability * targets), ops.sum(probability) + ops.sum(targets)
    return 1.0 - (2.0 * shared + 1.0) / (area + 1.0)


def focal_loss(
    targets: Any,
    logits: Any,
    valid: Any,
    weights: Any = None,
    gamma: float = 2.0,
    alpha: float = 0.25,
) -> Any:
    """Return cross-entropy in which easy pixels fade by ``(1 - p) ** gamma``.

    References
    ----------
    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
    """
    probability = ops.sigmoid(logits)
    wrong = ops.abs(targets - probability)
    share = alpha * targets + (1.0 - alpha) * (1.0 - targets)
    # A power of exactly 0 has no finite gradient below gamma 1.
    faded = share * ops.power(ops.maximum(wrong, 1e-7), gamma) * _entropy(targets, logits)
    return _mean_of_answers(faded, valid, weights)


def tversky_loss(
    targets: Any,
    logits: Any,
    valid: Any,
    weights: Any = None,
    false: float = 0.3,
    missed: float = 0.7,
) -> Any:
    """Return 1 - Tversky index over the batch, the mean over the classes present in it.

    Parameters
    ----------
    false, missed : float
        What a pixel claimed wrongly costs, and one missed; 0.5 each is Dice.

    References
    ----------
    Salehi, Erdogmus and Gholipour, "Tversky loss function for image segmentation using 3D fully
    convolutional deep networks", MLMI 2017.
    """
    probability = ops.sigmoid(logits)
    hit = ops.sum(probability * targets * valid, axis=PIXELS)
    false_sum = ops.sum(probability * (1.0 - targets) * valid, axis=PIXELS)
    missed_sum = ops.sum((1.0 - probability) * targets * valid, axis=PIXELS)
    index = (hit + 1.0) / (hit + false * false_sum + missed * missed_sum + 1.0)
    return _mean_of_present(1.0 - index, targets, valid, weights)


def softmax_cross_entropy(targets: Any, logits: Any, valid: Any, weights: Any = None) -> Any:
    """Return the mean, over labelled pixels, of -log of the sum over the channels allowed.

    Each pixel counts by the weight of its class, or by the mean weight of the channels that its
    partial label allows; "none of them" has weight 1.
    """
    # -30 instead of -inf: a gradient of 0 that is a number.
    hidden = ops.where(targets > 0, logits, ops.full_like(logits, -30.0) + ops.min(logits))
    entropy = ops.logsumexp(logits, axis=-1, keepdims=True) - ops.logsumexp(
        hidden, axis=-1, keepdims=True
    )
    share = ops.max(valid, axis=-1, keepdims=True)
    if weights is not None:
        share = share * _of_pixels(targets, weights)
    return ops.sum(entropy * share) / (ops.sum(share) + 1e-6)


def softmax_dice_loss(targets: Any, logits: Any, valid: Any, weights: Any = None) -> Any:
    """Return 1 - soft Dice over the batch of the classes present; "none" has no area to match."""
    probability = ops.softmax(logits, axis=-1)
    return _soft_dice(probability[..., 1:], targets[..., 1:], valid[..., 1:], weights)


def softmax_dice_and_cross_entropy(
    targets: Any, logits: Any, valid: Any, weights: Any = None
) -> Any:
    """Return the sum of both."""
    dice = softmax_dice_loss(targets, logits, valid, weights)
    return dice + softmax_cross_entropy(targets, logits, valid, weights)


def _entropy(targets: Any, logits: Any) -> Any:
    # Of the forms that do not overflow the one whose gradient is right at a logit of 0 too.
    return ops.softplus(logits) - logits * targets


def _mean_of_answers(loss: Any, valid: Any, weights: Any = None) -> Any:
    """Return the mean of (B, H, W, K) over what is valid, each class by its weight."""
    share = valid if weights is None else valid * weights
    return ops.sum(loss * share) / (ops.sum(share) + 1e-6)


def _soft_dice(probability: Any, targets: Any, valid: Any, weights: Any) -> Any:
    shared = ops.sum(probability * targets * valid, axis=PIXELS)
    area = ops.sum((probability + targets) * valid, axis=PIXELS)
    loss = 1.0 - (2.0 * shared + 1.0) / (area + 1.0)
    return _mean_of_present(loss, targets, valid, weights)


def _mean_of_present(loss: Any, targets: Any, valid: Any, weights: Any) -> Any:
    present = ops.cast(ops.sum(targets * valid, axis=PIXELS) > 0, "float32")
    share = present if weights is None else present * weights
    whole = ops.maximum(ops.sum(present), 1.0) if weights is None else ops.sum(share) + 1e-6
    return ops.sum(loss * share) / whole


def _of_pixels(targets: Any, weights: Any) -> Any:
    none_first = ops.concatenate([ops.ones((1,), "float32"), weights])
    total = ops.sum(targets * none_first, axis=-1, keepdims=True)
    return total / ops.maximum(ops.sum(targets, axis=-1, keepdims=True), 1.0)


@dataclass(frozen=True)
class Loss:
    """A loss of targets, logits, validity and class weights, and the head that it is for.

    Attributes
    ----------
    weighs : str
        What class weights weigh: "classes" against each other, "pixels" of a class against the
        others, or "" for nothing.
    """

    function: Callable[..., Any]
    head: str
    title: str
    weighs: str = "classes"

    def __call__(
        self, labels: Any, logits: Any, weights: Any = None, answers: np.ndarray | None = None
    ) -> Any:
        """Return the loss, a float32 scalar, of labels (B, H, W) and logits (B, H, W, C).

        Parameters
        ----------
        answers : ndarray, shape (256, K) int8, optional
            What each label says of each class; by default there are no partial labels.
        """
        logits = ops.cast(logits, "float32")
        if answers is None:
            answers = plain_answers(logits.shape[-1] - (self.head == "softmax"))
        encode = one_vs_rest if self.head == "sigmoid" else none_and_classes
        targets, valid = encode(labels, answers)
        return self.function(targets, logits, valid, weights)


def _dice_and_bce(targets: Any, logits: Any, valid: Any, weights: Any = None) -> Any:
    dice = dice_loss(targets, logits, valid, weights)
    return dice + binary_cross_entropy(targets, logits, valid, weights)


LOSSES = {
    "dice+bce": Loss(_dice_and_bce, "sigmoid", "soft Dice and cross-entropy, one-vs-rest"),
    "dice": Loss(dice_loss, "sigmoid", "soft Dice of the classes present"),
    "bce": Loss(binary_cross_entropy, "sigmoid", "cross-entropy, one-vs-rest"),
    "weighted-bce": Loss(
        weighted_cross_entropy,
        "sigmoid",
        "cross-entropy, positives counted by class weight",
        "pixels",
    ),
    "focal": Loss(focal_loss, "sigmoid", "focal loss, gamma 2: hard pixels first"),
    "tversky": Loss(tversky_loss, "sigmoid", "Tversky: a missed pixel costs 0.7, a false one 0.3"),
    "course-dice": Loss(course_dice, "sigmoid", "the course's: 1 - soft Dice, smoothed by 1", ""),
    "cross-entropy": Loss(softmax_cross_entropy, "softmax", "softmax cross-entropy", "pixels"),
    "dice+cross-entropy": Loss(
        softmax_dice_and_cross_entropy, "softmax", "soft Dice and softmax cross-entropy", "pixels"
    ),
}
"""What ``--loss`` offers, by name."""

DEFAULT_LOSS = {"sigmoid": "dice+bce", "softmax": "dice+cross-entropy"}


def keras_loss(
    name: str, class_weights: Sequence[float] = (), answers: np.ndarray | None = None
) -> Any:
    """Return a `keras.losses.Loss` of integer labels (B, H, W) and logits (B, H, W, C).

    ``answers``, (256, K) int8, tells what each label says; by default none is partial.

    A class of its own, as Keras drops the channel axis of a single channel before it calls a
    function.
    """
    import keras

    chosen = LOSSES[name]
    given = np.asarray(class_weights, np.float32) if len(class_weights) else None

    class Chosen(keras.losses.Loss):
        def call(self, labels: Any, logits: Any) -> Any:
            # A tensor: PyTorch does not multiply its own by NumPy's arrays.
            weights = None if given is None else ops.convert_to_tensor(given)
            # Of one value, not a scalar, which Keras would not share out among several devices.
            return ops.reshape(chosen(labels, logits, weights, answers), (1,))

    return Chosen(name="loss")
