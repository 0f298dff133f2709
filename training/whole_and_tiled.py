# SPDX-License-Identifier: GPL-2.0-or-later
"""Run an exported model over an image in one pass, or in blocks as the engine cuts them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from unet_segmenter.engine.geometry import Shape2D
from unet_segmenter.engine.model_card import ModelCard
from unet_segmenter.engine.predict import calibrate, scale
from unet_segmenter.engine.predictor import PredictorOptions, available_cores, open_predictor
from unet_segmenter.engine.tiling import Block, BlockGrid

Network = Callable[[np.ndarray], np.ndarray]
"""Scaled images (N, H, W, C) float32 to probabilities (N, H, W, K)."""


Item = TypeVar("Item")
Result = TypeVar("Result")


def on_all_cores(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Map in threads, in order: runtimes compute outside of Python's lock, one call on one core."""
    with ThreadPoolExecutor(available_cores()) as pool:
        yield from pool.map(function, items)


class OpenModel:
    """A model of the library, made ready for the window shape last used."""

    def __init__(self, card: ModelCard, runtime: str = "auto", precision: str = "f32") -> None:
        self.card, self.runtime, self.precision = card, runtime, precision
        self._ready: dict[tuple[int, int], Network] = {}
        self._lock = threading.Lock()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return probabilities (N, H, W, K) of scaled images (N, H, W, C)."""
        shape = images.shape[1], images.shape[2]
        with self._lock:
            if shape not in self._ready:
                options = PredictorOptions(self.precision, Shape2D(*shape), 1, available_cores())
                # One only: each compiled shape holds some hundred MB.
                self._ready = {shape: open_predictor(self.card, self.runtime, options).predict}
            network = self._ready[shape]
        return np.concatenate([network(image[None]) for image in images])


def calibrated(network: Network, card: ModelCard) -> Network:
    """Return the network of the card's classes by channel, calibrated as the card says.

    Channels that the card does not name, such as "none of the classes" of a softmax, fall away.
    """
    ordered = sorted(card.classes, key=lambda cls: cls.channel)
    channels = [cls.channel for cls in ordered]
    calibrations = [cls.calibration for cls in ordered]

    def run(images: np.ndarray) -> np.ndarray:
        probabilities = network(images)
        if channels != list(range(probabilities.shape[-1])):
            probabilities = probabilities[..., channels]
        return calibrate(probabilities, calibrations)

    return run


def scaled_and_padded(image: np.ndarray, card: ModelCard) -> np.ndarray:
    """Return (1, H', W', C) float32, H' and W' multiples of the divisor; what is added is 0."""
    valid = np.ones(image.shape[:2], bool)
    pads = [(0, -side % card.divisor) for side in image.shape[:2]]
    return np.pad(scale(image, valid, card.input), (*pads, (0, 0)))[None]


def whole(network: Network, image: np.ndarray, card: ModelCard) -> np.ndarray:
    """Return probabilities (H, W, K) of an image (H, W, C) in one pass."""
    height, width = image.shape[:2]
    return network(scaled_and_padded(image, card))[0, :height, :width]


def tiled(network: Network, image: np.ndarray, card: ModelCard, core: int, halo: int) -> np.ndarray:
    """Return the same in blocks that write ``core`` px and read ``halo`` px around them."""
    padded = scaled_and_padded(image, card)
    shape = Shape2D(*image.shape[:2])
    probabilities = np.empty((*shape, len(card.classes)), np.float32)
    blocks = list(BlockGrid.cover(shape, core, halo, card.divisor))

    def run(block: Block) -> np.ndarray:
        window = padded[(slice(None), *block.read.slices)]
        return network(np.ascontiguousarray(window))[0][block.crop.slices]

    for block, result in zip(blocks, on_all_cores(run, blocks), strict=True):
        probabilities[block.write.slices] = result
    return probabilities


@dataclass(frozen=True)
class Difference:
    """How far two passes over the same images lie apart.

    Attributes
    ----------
    largest : float
        Largest difference of a probability.
    agreement : float
        Share of the pixels whose decision is the same, in the class where it is smallest.
    """

    largest: float
    agreement: float

    def __str__(self) -> str:
        """Say it in words."""
        return f"differ by {self.largest:.4f} at most, {self.agreement:.4%} of decisions equal"

    @classmethod
    def between(cls, first: np.ndarray, second: np.ndarray, thresholds: np.ndarray) -> Difference:
        """Compare probabilities (..., K) against thresholds (K,)."""
        same = (first >= thresholds) == (second >= thresholds)
        return cls(
            float(np.abs(first - second).max()),
            float(same.reshape(-1, same.shape[-1]).mean(axis=0).min()),
        )

    def worse(self, other: Difference) -> Difference:
        """Return the worse of both in each respect."""
        return Difference(max(self.largest, other.largest), min(self.agreement, other.agreement))


NO_DIFFERENCE = Difference(0.0, 1.0)


def thresholds_of(card: ModelCard) -> np.ndarray:
    """Return the classes' thresholds by channel, (K,) float32."""
    ordered = sorted(card.classes, key=lambda cls: cls.channel)
    return np.array([cls.threshold for cls in ordered], np.float32)
