# SPDX-License-Identifier: GPL-2.0-or-later
"""Losses on logits, one-vs-rest per class, with an ignore value. Backend-agnostic (keras.ops)."""

from __future__ import annotations

from typing import Any

from keras import ops

from .datasets.aeroscapes import IGNORE


def one_vs_rest(labels: Any, classes: int) -> tuple[Any, Any]:
    """Return targets (B, H, W, K) and validity (B, H, W, 1), float32, of labels (B, H, W).

    Label ``k + 1`` is positive in channel ``k``; 0 is negative in all; 255 does not count.
    """
    labels = ops.cast(labels, "int32")[..., None]
    targets = ops.cast(ops.equal(labels, ops.arange(1, classes + 1, dtype="int32")), "float32")
    return targets, ops.cast(ops.not_equal(labels, IGNORE), "float32")


def binary_cross_entropy(targets: Any, logits: Any, valid: Any) -> Any:
    """Return the mean over valid pixels and classes."""
    entropy = ops.maximum(logits, 0.0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))
    per_class = ops.sum(entropy * valid, axis=(0, 1, 2)) / (ops.sum(valid) + 1e-6)
    return ops.mean(per_class)


def dice_loss(targets: Any, logits: Any, valid: Any) -> Any:
    """Return 1 - soft Dice over the batch, the mean over the classes present in it.

    A class absent from the batch has Dice 0 whatever is predicted: it would pull at every
    weight for nothing, so it is left to the cross-entropy.
    """
    probability = ops.sigmoid(logits)
    axes = (0, 1, 2)
    shared = ops.sum(probability * targets * valid, axis=axes)
    area = ops.sum((probability + targets) * valid, axis=axes)
    present = ops.cast(ops.sum(targets * valid, axis=axes) > 0, "float32")
    loss = 1.0 - (2.0 * shared + 1.0) / (area + 1.0)
    return ops.sum(loss * present) / ops.maximum(ops.sum(present), 1.0)


def dice_and_cross_entropy(labels: Any, logits: Any) -> Any:
    """Return the sum of both, of labels (B, H, W) and logits (B, H, W, K)."""
    logits = ops.cast(logits, "float32")
    targets, valid = one_vs_rest(labels, logits.shape[-1])
    return dice_loss(targets, logits, valid) + binary_cross_entropy(targets, logits, valid)


LOSSES = {"dice+bce": dice_and_cross_entropy}
