# SPDX-License-Identifier: GPL-2.0-or-later
"""Prove that a network cut at its own scales gives what one pass gives, and tell it the card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_segmenter.engine.errors import ModelError, RuntimeMissingError
from unet_segmenter.engine.geometry import PixelWindow, Shape2D, ceil_to
from unet_segmenter.engine.model_card import ModelCard
from unet_segmenter.engine.predictor import open_staged

from .cuts import find_cuts, with_halos
from .halo import PROOF_CORES, HaloTrial, mirrored, told_difference
from .whole_and_tiled import NO_DIFFERENCE, Difference, Network, thresholds_of, whole

if TYPE_CHECKING:
    import keras

    from unet_segmenter.engine.stages import Cuts

SHARE_STEP = 1 / 16
"""By so much of their context parts get more, where what they have is not enough."""


def in_parts(card: ModelCard, image: np.ndarray, side: int) -> np.ndarray:
    """Return probabilities (H, W, K) of an image (H, W, C) by parts, each in tiles of that side."""
    shape = Shape2D(*image.shape[:2])
    classes = sorted(card.classes, key=lambda cls: cls.channel)

    def read(window: PixelWindow) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.zeros((*window.shape, image.shape[2]), image.dtype)
        valid = np.zeros(window.shape, bool)
        inside = window.intersect(PixelWindow.of_shape(shape))
        if inside is not None:
            there = inside.relative_to(window).slices
            pixels[there], valid[there] = image[inside.slices], True
        return pixels, valid

    everything = PixelWindow.of_shape(shape)
    with open_staged(card, "f32", shape, everything, read, side) as network:
        return np.moveaxis(network.probabilities(everything, classes), 0, -1)


def prove_parts(
    network: Network, images: Sequence[np.ndarray], card: ModelCard, sides: Sequence[int]
) -> Difference:
    """Return how far the card's parts, in tiles of these sides, lie from one pass.

    Images are continued so that each part has tiles in the middle, with context on all sides.

    Parameters
    ----------
    network : callable
        One pass, calibrated.
    """
    assert card.cuts is not None
    difference = NO_DIFFERENCE
    for image, side in zip(images, cycle(sides)):
        large = mirrored(image, 2 * side + 2 * max(part.halo for part in card.cuts.parts))
        exact = whole(network, large, card)
        found = in_parts(card, large, side)
        difference = difference.worse(Difference.between(found, exact, thresholds_of(card)))
    return difference


def proven_cuts(
    model: keras.Model,
    network: Network,
    card: ModelCard,
    images: Sequence[np.ndarray],
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Return a card's entries on the parts of a network; none where it has none.

    Parts have the share of their context that the whole network was measured to need, or more,
    up to all of it, until nothing can be seen in the output.

    Parameters
    ----------
    model : keras.Model
        The network as it was exported.
    network : callable
        One pass, calibrated.
    images : sequence of ndarray, shape (H, W, C)
        What to prove it on.

    Raises
    ------
    ModelError
        If parts with all their context differ from one pass.
    """
    cuts = find_cuts(model)
    if cuts is None or not images:
        reason = "it has no cuts" if cuts is None else "there are no images to prove its parts"
        report(f"the network is run in one pass: {reason}")
        return {}
    sides = [ceil_to(core, card.divisor) for core in PROOF_CORES]
    share = card.halo / max(card.theoretical_halo, 1)
    trials: list[tuple[Cuts, HaloTrial]] = []
    shares = np.append(np.arange(share, 1, SHARE_STEP), 1)
    for tried in dict.fromkeys(with_halos(cuts, float(one)) for one in shares):
        try:
            difference = prove_parts(network, images, replace(card, cuts=tried), sides)
        except RuntimeMissingError as error:
            report(f"the network is run in one pass: {error}")
            return {}
        halos = [part.halo for part in tried.parts]
        report(f"parts with halos of {halos} against one pass: {difference}")
        trial = HaloTrial(max(halos), difference)
        trials.append((tried, trial))
        if trial.enough:
            return {
                "cuts": asdict(tried),
                "parts_versus_whole": {
                    **told_difference(difference), "precision": "f32", "images": len(images),
                    "sides": sides[: len(images)],
                },
            }  # fmt: skip
    raise ModelError(
        f"the parts of the network {card.name} with all their context differ from one pass by "
        f"{trials[-1][1].difference.largest:.4f}: it cannot be cut"
    )
