# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure how much context a block needs, first by an impulse, then on real images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import numpy as np

from unet_segmenter.engine.errors import ModelError
from unet_segmenter.engine.geometry import ceil_to
from unet_segmenter.engine.model_card import ModelCard

from .whole_and_tiled import (
    NO_DIFFERENCE,
    Difference,
    Network,
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
HALO_CORE = 128
PROOF_CORES = (256, 128, 192)


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


def mirrored(image: np.ndarray, side: int) -> np.ndarray:
    """Return the image (H, W, C) continued by its mirror image to ``side`` px at least.

    A receptive field larger than the frames must be measured on something that fills it.
    """
    pads = [(0, max(0, side - length)) for length in image.shape[:2]]
    return np.pad(image, (*pads, (0, 0)), mode="symmetric")


@dataclass(frozen=True)
class _Core:
    """A block in an image's middle, and what the network says of it with all its context."""

    image: np.ndarray  # scaled and padded, (1, H, W, C)
    row: int
    col: int
    side: int
    exact: np.ndarray

    @classmethod
    def of(cls, network: Network, image: np.ndarray, card: ModelCard, side: int) -> _Core:
        reach, step = card.theoretical_halo, card.divisor
        scaled = scaled_and_padded(mirrored(image, side + 2 * reach), card)
        middle = [(length - side) // 2 // step * step for length in scaled.shape[1:3]]
        row, col = (min(max(at, reach), length - side - reach)
                    for at, length in zip(middle, scaled.shape[1:3], strict=True))  # fmt: skip
        blank = cls(scaled, row, col, side, np.zeros(0))
        return replace(blank, exact=blank.predict(network, reach))

    def predict(self, network: Network, halo: int) -> np.ndarray:
        """Return the probabilities (S, S, K) of the block, seen with a halo."""
        rows, cols = (slice(at - halo, at + self.side + halo) for at in (self.row, self.col))
        seen = network(np.ascontiguousarray(self.image[:, rows, cols]))[0]
        return seen[halo : halo + self.side, halo : halo + self.side]


def measure_halo(
    network: Network, images: Sequence[np.ndarray], card: ModelCard, core: int
) -> list[HaloTrial]:
    """Return trials by growing halo, of which the smallest that is `enough` is the answer.

    A block in the middle of each image is predicted with a halo, and compared with what the
    network says with the theoretical halo around it, which is what it says in one pass over any
    larger image. The first trial is the reach of an impulse; then the halo is halved in, as a
    larger one leaves smaller differences. Images are continued by their mirror image where the
    theoretical halo is larger than they are.

    Parameters
    ----------
    core : int
        Side in px of the blocks, a multiple of the divisor.
    """
    step, largest = card.divisor, card.theoretical_halo
    thresholds = thresholds_of(card)
    blocks = [_Core.of(network, image, card, core) for image in images]
    trials: dict[int, HaloTrial] = {largest: HaloTrial(largest, NO_DIFFERENCE)}

    def enough(halo: int) -> bool:
        if halo not in trials:
            difference = NO_DIFFERENCE
            for block in blocks:
                found = block.predict(network, halo)
                difference = difference.worse(Difference.between(found, block.exact, thresholds))
            trials[halo] = HaloTrial(halo, difference)
        return trials[halo].enough

    below, above = -1, largest // step
    probe = min(-(-impulse_reach(network, images[:4], card) // step), above - 1)
    while above - below > 1:
        if enough(probe * step):
            above = probe
        else:
            below = probe
        probe = (below + above) // 2
    return [trials[halo] for halo in sorted(trials)]


def smallest_enough(trials: Sequence[HaloTrial]) -> HaloTrial:
    """Return the trial with the smallest halo from which on all are enough; else the largest."""
    best = trials[-1]
    for tried in reversed(trials):
        if not tried.enough:
            break
        best = tried
    return best


def prove(
    network: Network, images: Sequence[np.ndarray], card: ModelCard, cores: Sequence[int]
) -> Difference:
    """Return how far blocks, cut as the engine cuts them, lie from one pass over whole images.

    Images are continued so that there are blocks in the middle, with context on all sides.
    """
    difference = NO_DIFFERENCE
    for image, core in zip(images, cycle(cores)):
        large = mirrored(image, 2 * (core + card.halo))
        exact = whole(network, large, card)
        blocks = tiled(network, large, card, core, card.halo)
        difference = difference.worse(Difference.between(blocks, exact, thresholds_of(card)))
    return difference


def measured_halo(
    network: Network,
    card: ModelCard,
    images: Sequence[np.ndarray],
    proof_images: int,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Return a card's entries on the halo: the smallest that cannot be seen in the output.

    Raises
    ------
    ModelError
        If blocks with the theoretical halo differ from one pass.
    """
    core = ceil_to(HALO_CORE, card.divisor)
    trials = measure_halo(network, images, card, core)
    for trial in trials:
        report(f"halo {trial.halo}: {trial.difference}")
    cores = [ceil_to(core, card.divisor) for core in PROOF_CORES]
    halo, few = smallest_enough(trials).halo, images[:proof_images]
    proofs: list[HaloTrial] = []
    while halo <= card.theoretical_halo:
        proofs.append(HaloTrial(halo, prove(network, few, replace(card, halo=halo), cores)))
        report(f"blocks against one pass with a halo of {halo}: {proofs[-1].difference}")
        if proofs[-1].enough:
            return _halo_entries(proofs, trials, len(few), cores[: len(few)])
        halo += card.divisor
    raise ModelError(
        f"blocks with all the context that the network {card.name} can see differ from one pass "
        f"by {proofs[-1].difference.largest:.4f}: it cannot be run in blocks"
    )


def _halo_entries(
    proofs: Sequence[HaloTrial], trials: Sequence[HaloTrial], images: int, cores: Sequence[int]
) -> dict[str, Any]:
    def told(tried: HaloTrial) -> dict[str, Any]:
        return {"halo": tried.halo, **told_difference(tried.difference)}

    return {
        "halo": proofs[-1].halo,
        "tile_versus_whole": {
            **told(proofs[-1]), "precision": "f32", "images": images, "cores": list(cores),
            "proofs": list(map(told, proofs)), "trials": list(map(told, trials)),
        },
    }  # fmt: skip


def told_difference(difference: Difference) -> dict[str, float]:
    """Return a difference as a card tells it."""
    return {
        "largest_difference": round(difference.largest, 6),
        "mask_agreement": round(difference.agreement, 6),
    }
