# SPDX-License-Identifier: GPL-2.0-or-later
"""All that happens to one block between reading and writing, as one function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .fuse import binary_mask, class_mask, confidence, places_of_wholes
from .geometry import PixelWindow
from .model_card import NODATA_VALUE, ModelClass, ModelInput
from .predict import calibrate, predict, scale
from .shares import encode_shares
from .staged_network import StagedNetwork

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]

_ROUNDING = 1e-3


@dataclass(frozen=True)
class BlockPixels:
    """A block as it was read.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, C)
        Raster values of the read window.
    valid : ndarray of bool, shape (H, W)
        False where the raster has no data.
    wanted : ndarray of bool, shape of the written window
        Which of the written pixels get a value: valid ones inside the area of interest.
    crop : PixelWindow
        The written window, counted from the first pixel read.
    place : PixelWindow, optional
        The written window on the raster's grid, by which networks in parts know a block.
    """

    pixels: NDArray[np.generic]
    valid: NDArray[np.bool_]
    wanted: NDArray[np.bool_]
    crop: PixelWindow
    place: PixelWindow | None = None


@dataclass(frozen=True)
class BlockResult:
    """What is written for a block; arrays have the shape of the written window.

    Parameters
    ----------
    mask : ndarray of uint8, shape (1, H, W)
        Class values.
    probability : ndarray of uint8 or float32, shape (K, H, W), optional
        Probabilities of the classes.
    confidence : ndarray of uint8 or float32, shape (1, H, W), optional
        Confidence of the decision.
    """

    mask: ByteArray
    probability: NDArray[np.generic] | None = None
    confidence: NDArray[np.generic] | None = None


@dataclass(frozen=True)
class SegmentBlock:
    """Scale, predict, calibrate, decide and crop.

    Parameters
    ----------
    run : callable
        The network: scaled images (N, H, W, C) to probabilities (N, H, W, K). Or one in parts,
        which reads what it needs itself.
    model_input : ModelInput
        The card's scaling.
    classes : tuple of ModelClass
        Classes wanted.
    threshold : float, optional
        Threshold of all classes; None takes each class's own.
    flips : bool
        Test-time augmentation.
    with_probability, with_confidence : bool
        What to make beside the mask.
    probability_type : str
        "uint8" or "float32".
    """

    run: Callable[[FloatArray], FloatArray] | StagedNetwork
    model_input: ModelInput
    classes: tuple[ModelClass, ...]
    threshold: float | None = None
    flips: bool = False
    with_probability: bool = False
    with_confidence: bool = False
    probability_type: str = "uint8"

    def __call__(self, blocks: list[BlockPixels]) -> list[BlockResult]:
        """Results of blocks whose read windows have one shape, in their order.

        Raises
        ------
        ModelError
            If what the network gives are no probabilities of these classes and pixels.
        """
        probabilities = self.probabilities(blocks)
        return [self._decide(p, b.wanted) for b, p in zip(blocks, probabilities, strict=True)]

    def probabilities(self, blocks: list[BlockPixels]) -> list[FloatArray]:
        """Calibrated probabilities (H, W, K) of the written windows of such blocks.

        Raises
        ------
        ModelError
            If what the network gives are no probabilities of these classes and pixels.
        """
        if isinstance(self.run, StagedNetwork):
            return [self._in_parts(self.run, block) for block in blocks]
        scaled = [scale(b.pixels, b.valid, self.model_input) for b in blocks]
        # One image needs no copy, and keeps its planes together in memory.
        images = scaled[0][np.newaxis] if len(scaled) == 1 else np.stack(scaled)
        predicted = predict(images, self.run, flips=self.flips)
        channels = [c.channel for c in self.classes]
        _check_shape(predicted.shape, images.shape, channels)
        calibrations = [c.calibration for c in self.classes]
        return [
            calibrate(_checked(_selected(image[block.crop.slices], channels)), calibrations)
            for block, image in zip(blocks, predicted, strict=True)
        ]

    def _in_parts(self, network: StagedNetwork, block: BlockPixels) -> FloatArray:
        assert block.place is not None
        return np.moveaxis(network.probabilities(block.place, self.classes), 0, -1)

    def empty(self, block: BlockPixels) -> BlockResult:
        """Result of a block without any wanted pixel."""
        shape = (*block.wanted.shape, len(self.classes))
        return self._decide(np.zeros(shape, np.float32), np.zeros(block.wanted.shape, bool))

    def _decide(self, probabilities: FloatArray, wanted: NDArray[np.bool_]) -> BlockResult:
        thresholds = [self._threshold(c) for c in self.classes]
        if len(self.classes) == 1:
            mask = binary_mask(probabilities[..., 0], thresholds[0])
        else:
            values = [c.value for c in self.classes]
            mask = class_mask(probabilities, values, thresholds, self._wholes())
        mask[~wanted] = NODATA_VALUE
        probability = sure = None
        if self.with_probability:
            probability = encode_shares(
                np.moveaxis(probabilities, -1, 0), wanted, self.probability_type
            )
        if self.with_confidence:
            shares = confidence(probabilities, thresholds, self._wholes())
            sure = encode_shares(shares[np.newaxis], wanted, self.probability_type)
        return BlockResult(mask[np.newaxis], probability, sure)

    def _wholes(self) -> tuple[int | None, ...]:
        return places_of_wholes({c.name: c.part_of for c in self.classes})

    def _threshold(self, model_class: ModelClass) -> float:
        return model_class.threshold if self.threshold is None else self.threshold


def _selected(image: FloatArray, channels: list[int]) -> FloatArray:
    """Channels of (H, W, K) as an array of whole planes in memory: fast to go through."""
    return np.moveaxis(np.moveaxis(image, -1, 0)[channels], 0, -1)


def _check_shape(shape: tuple[int, ...], given: tuple[int, ...], channels: list[int]) -> None:
    """Refuse scores that are not of these pixels and classes."""
    if len(shape) != 4 or shape[:3] != given[:3]:
        raise ModelError(
            f"The model gave an array of shape {shape} for images of shape {given}: it must give "
            "a value for each pixel."
        )
    if max(channels) >= shape[3]:
        raise ModelError(
            f"The model gives {shape[3]} channels, but its card names channel {max(channels)}. "
            "Mend the card, or get the model again."
        )


def _checked(probabilities: FloatArray) -> FloatArray:
    """The probabilities, unless they are scores of another kind: the map would be wrong."""
    low, high = float(probabilities.min()), float(probabilities.max())
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        raise ModelError(
            f"The model gives values from {low:g} to {high:g}, which are no probabilities. It must "
            "end with the activation that its card names; get it again, or export it anew."
        )
    return probabilities
