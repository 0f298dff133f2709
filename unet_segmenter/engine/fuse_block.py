# SPDX-License-Identifier: GPL-2.0-or-later
"""What a fusion makes of one block, and which layers that fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .block_store import Layer
from .fuse_classes import Fusion
from .fuse_methods import (
    confidence,
    conflict,
    entropy,
    exclusive,
    fuse,
    merged,
    renormalised,
    unknown_probability,
)
from .model_card import NODATA_VALUE
from .output_layers import LayerMeaning
from .shares import FloatArray, encode_shares


@dataclass(frozen=True)
class FuseBlock:
    """Merge, decide, and measure how sure that is.

    Parameters
    ----------
    fusion : Fusion
        The classes and the rules.
    layers : tuple of str
        Which of OUTPUT, CONFLICT, PROBABILITY, CONFIDENCE and ENTROPY are wanted.
    share_type : str
        Type of probability, confidence and entropy: "uint8" or "float32".
    """

    fusion: Fusion
    layers: tuple[str, ...]
    share_type: str

    def __call__(
        self, probabilities: FloatArray, valid: NDArray[np.bool_]
    ) -> dict[str, NDArray[Any]]:
        """Layers of a block.

        Parameters
        ----------
        probabilities : ndarray of float32, shape (H, W, C)
            Of all bands or channels, 0-1.
        valid : ndarray of bool, shape (H, W)
            False at nodata.

        Returns
        -------
        dict
            For each layer an array of shape (bands, H, W).
        """
        rules = self.fusion.rules
        p = merged(probabilities, self.fusion.groups)

        def shares(values: FloatArray) -> NDArray[np.generic]:
            return encode_shares(values, valid, self.share_type)

        made: dict[str, NDArray[Any]] = {"OUTPUT": fuse(p, rules, valid)[np.newaxis]}
        if "CONFLICT" in self.layers:
            made["CONFLICT"] = conflict(p, rules)[np.newaxis]
            made["CONFLICT"][:, ~valid] = NODATA_VALUE
        if "PROBABILITY" in self.layers:
            apart = renormalised(exclusive(p, rules), unknown_probability(p, rules))
            made["PROBABILITY"] = shares(np.moveaxis(apart, -1, 0))
        if "CONFIDENCE" in self.layers:
            made["CONFIDENCE"] = shares(confidence(p, rules)[np.newaxis])
        if "ENTROPY" in self.layers:
            made["ENTROPY"] = shares(entropy(exclusive(p, rules))[np.newaxis])
        return made


def layers_of(outputs: Mapping[str, str], fusion: Fusion, share_type: str) -> dict[str, Layer]:
    """Layers that a fusion's blocks fill: those asked for, and the conflicts for their share."""
    bands = {"PROBABILITY": len(fusion.band_names()), "CONFIDENCE": 1, "ENTROPY": 1}
    shares = {name: Layer(n, share_type) for name, n in bands.items() if name in outputs}
    return {"OUTPUT": Layer(1, "uint8"), "CONFLICT": Layer(1, "uint8"), **shares}


def meanings_of(fusion: Fusion) -> dict[str, LayerMeaning]:
    """What the layers of a fusion hold."""
    return {
        "OUTPUT": LayerMeaning(("class",), looks=fusion.looks()),
        "CONFLICT": LayerMeaning(("classes that claim the pixel",)),
        "PROBABILITY": LayerMeaning(fusion.band_names(), is_share=True),
        "CONFIDENCE": LayerMeaning(("confidence",), is_share=True),
        "ENTROPY": LayerMeaning(("entropy",), is_share=True),
    }
