# SPDX-License-Identifier: GPL-2.0-or-later
"""Batches for training, drawn evenly over sites and made ahead in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from .augment import Augmentation, augment
from .encoder_lite import MEAN, STDDEV
from .split import site_of

Sample = tuple[np.ndarray, np.ndarray]


def scaled(image: np.ndarray) -> np.ndarray:
    """Return uint8 pixels as the float32 the network takes: (x - mean) / stddev."""
    return (image.astype(np.float32) - np.float32(MEAN)) / np.float32(STDDEV)


def site_weights(stems: Sequence[str], power: float = 0.5) -> np.ndarray:
    """Return the probability to draw each frame, (N,) float64.

    A site's share grows with its number of frames to ``power``: 1 draws frames evenly (a site
    filmed for long drowns the others), 0 draws sites evenly (ten frames are learned by heart).
    """
    sites = [site_of(stem) for stem in stems]
    share = {site: sites.count(site) ** (power - 1.0) for site in set(sites)}
    weights = np.array([share[site] for site in sites])
    return weights / weights.sum()


def epoch_batches(
    samples: Sequence[Sample],
    weights: np.ndarray,
    steps: int,
    batch: int,
    how: Augmentation,
    seed: tuple[int, ...],
) -> Iterator[Sample]:
    """Yield ``steps`` batches: images (B, S, S, 3) float32 scaled, labels (B, S, S) uint8.

    The same seed gives the same batches, so a resumed epoch repeats itself.
    """
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        picks = rng.choice(len(samples), batch, p=weights)
        crops = [augment(*samples[pick], how, rng) for pick in picks]
        yield scaled(np.stack([image for image, _ in crops])), np.stack([mask for _, mask in crops])


def ahead(batches: Iterator[Sample], depth: int = 3) -> Iterator[Sample]:
    """Yield the same batches, made ahead in a thread; its exceptions are raised here."""
    ready: queue.Queue = queue.Queue(depth)
    end = object()

    def fill() -> None:
        try:
            for item in batches:
                ready.put(item)
            ready.put(end)
        except BaseException as error:  # noqa: BLE001 - handed over to the consumer
            ready.put(error)

    threading.Thread(target=fill, daemon=True).start()
    while (item := ready.get()) is not end:
        if isinstance(item, BaseException):
            raise item
        yield item
