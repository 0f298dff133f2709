# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure how much context a block needs, first by an impulse, then on real images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unet_segmenter.engine.model_card import ModelCard

from .whole_and_tiled import (
    NO_DIFFERENCE,
    Difference,
    Network,
    on_all_cores,
    scaled_and_padded,
    thresholds_of,
    tiled,
    whole,
)

STEP = 1 / 254
"""The step of a probability raster: smaller differences cannot be seen in the output."""
MARGIN = 0.5
"""Share of the step that may show on the images measured, as others may show more."""
AGREEMENT = 0.9999


@dataclass(frozen=True)
class HaloTrial:
    """A halo in px, and how far tiled and whole lay apart with it."""

    halo: int
    difference: Difference

    @property
    def enough(self) -> bool:
        """Whether the difference cannot be seen in the output, with a margin."""
        return self.difference.largest <= MARGIN * STEP and self.difference.agreement >= AGREEMENT


def impulse_reach(network: Network, images: Sequence[np.ndarray], card: ModelCard) -> int:
    """Return how far, in px, a change of one cell sways a probability by more than `STEP`.

    A cell of divisor x divisor px in each image's middle is set to the two ends of the scale.
    """
    reach = 0
    for image in images:
        before = scaled_and_padded(image, card)
        row, col = (side // 2 // card.divisor * card.divisor for side in before.shape[1:3])
        cell = (0, slice(row, row + card.divisor), slice(col, col + card.divisor))
        for end in (before.min(), before.max()):
            after = before.copy()
            after[cell] = end
            moved = np.abs(network(after) - network(before))[0].max(axis=-1) > STEP
            rows, cols = np.nonzero(moved)
            if rows.size:
                last = card.divisor - 1
                reach = max(
                    reach, row - rows.min(), rows.max() - row - last,
                    col - cols.min(), cols.max() - col - last,
                )  # fmt: skip
    return int(reach)


def trial(
    network: Network,
    images: Sequence[np.ndarray],
    wholes: Sequence[np.ndarray],
    card: ModelCard,
    cores: Sequence[int],
    halo: int,
) -> HaloTrial:
    """Compare blocks with one pass; each image is cut with the core of its place in the list."""
    difference, thresholds = NO_DIFFERENCE, thresholds_of(card)
    for number, (image, probabilities) in enumerate(zip(images, wholes, strict=True)):
        blocks = tiled(network, image, card, cores[number % len(cores)], halo)
        difference = difference.worse(Difference.between(blocks, probabilities, thresholds))
    return HaloTrial(halo, difference)


def measure_halo(
    network: Network, images: Sequence[np.ndarray], card: ModelCard, cores: Sequence[int]
) -> list[HaloTrial]:
    """Return trials with growing halos, of which the first that is `enough` is the answer.

    They begin at the impulse's reach and go down as long as it is enough, or up, at most to the
    theoretical halo, until it is.
    """
    wholes = list(on_all_cores(lambda image: whole(network, image, card), images))
    step = card.divisor
    start = min(-(-impulse_reach(network, images[:8], card) // step) * step, card.theoretical_halo)
    trials = [trial(network, images, wholes, card, cores, start)]
    while trials[0].enough and trials[0].halo > step:
        trials.insert(0, trial(network, images, wholes, card, cores, trials[0].halo - step))
    while not trials[-1].enough and trials[-1].halo < card.theoretical_halo:
        trials.append(trial(network, images, wholes, card, cores, trials[-1].halo + step))
    return trials


def smallest_enough(trials: Sequence[HaloTrial]) -> HaloTrial:
    """Return the trial with the smallest halo from which on all are enough; else the largest."""
    best = trials[-1]
    for tried in reversed(trials):
        if not tried.enough:
            break
        best = tried
    return best
