# SPDX-License-Identifier: GPL-2.0-or-later
"""What made a map: models, files of weights, runtimes and bands, written alike into all outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .model_card import ModelCard
from .predictor import file_of


@dataclass(frozen=True)
class Ran:
    """One model, and how it was run.

    Parameters
    ----------
    card : ModelCard
        The model.
    bands : tuple of int
        Bands of the raster, from 1, that it was given.
    runtime, precision : str
        What ran it: never "auto".
    """

    card: ModelCard
    bands: tuple[int, ...]
    runtime: str
    precision: str

    def signature(self) -> list[str]:
        """What decides its probabilities beside the card and the raster."""
        return [self.runtime, self.precision, model_hash(self.card, self.runtime)]


def model_hash(card: ModelCard, runtime: str) -> str:
    """SHA-256 of the file that a runtime runs; empty where the card names none."""
    file = file_of(card, runtime)
    return file.sha256 if file else ""


def provenance(source: str, models: Sequence[Ran]) -> dict[str, str]:
    """Items of a raster's metadata.

    Parameters
    ----------
    source : str
        The raster that was mapped.
    models : sequence of Ran
        What mapped it. Items of several models are joined by "; ", in this order; RUNTIME and
        PRECISION are written once where all have one.
    """
    items = {
        "BANDS": [",".join(map(str, one.bands)) for one in models],
        "MODEL": [one.card.name for one in models],
        "MODEL_VERSION": [one.card.version for one in models],
        "MODEL_SHA256": [model_hash(one.card, one.runtime) for one in models],
        "MODEL_LICENSE": [one.card.license for one in models],
        "RUNTIME": list(dict.fromkeys(one.runtime for one in models)),
        "PRECISION": list(dict.fromkeys(one.precision for one in models)),
    }
    return {"INPUT": Path(source).name, **{key: "; ".join(v) for key, v in items.items()}}
