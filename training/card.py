# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes a model's card.json: what is known before anything is measured."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from unet_segmenter.engine.model_card import CARD_NAME, FORMAT, FORMAT_VERSION, ModelCard, sha256_of

from .balance import labelled_share
from .dataset import SPLITS, Dataset, Sample, Scaling
from .identity import Identity
from .starts import start_in_words

FILES = (("model.onnx", "onnx", "nchw"), ("model.keras", "keras", "nhwc"))
LIBRARIES = ("tensorflow", "keras", "numpy", "onnx", "pillow")


def first_card(
    identity: Identity,
    dataset: Dataset,
    scaling: Scaling,
    folder: Path,
    *,
    activation: str,
    divisor: int,
    halo: int,
    channels: int,
) -> dict[str, Any]:
    """Return the content of a card: raw probabilities, threshold 0.5, the theoretical halo.

    Parameters
    ----------
    folder : Path
        Holds the `FILES`.
    halo : int
        Theoretical halo, px.
    channels : int
        Of the network; those before the classes' are a softmax's "none of them".
    """
    gsd, first = identity.gsd_range, channels - len(dataset.classes)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **identity.to_card(),
        "input": {
            "bands": list(dataset.bands),
            "data_type": [dataset.data_type],
            "value_range": list(dataset.value_range),
            "value_scaling": {
                "type": "z-score", "mean": list(scaling.mean), "stddev": list(scaling.stddev),
            },
            "gsd_range": None if gsd is None else list(gsd),
        },
        "output": {
            "activation": activation,
            "classes": [
                {
                    "value": cls.value, "name": cls.name, "color": cls.color, "channel": channel,
                    "threshold": 0.5, "calibration": {"scale": 1.0, "offset": 0.0},
                    **({"part_of": cls.part_of} if cls.part_of and activation == "sigmoid" else {}),
                }
                for channel, cls in enumerate(dataset.classes, first)
            ],
        },
        "divisor": divisor,
        "halo": halo,
        "theoretical_halo": halo,
        "files": files_of(folder),
        "training": {"dataset": told_dataset(dataset), "libraries": libraries()},
    }  # fmt: skip


def files_of(folder: Path) -> list[dict[str, Any]]:
    """Return the card's entries on the files in a folder."""
    return [
        {
            "name": name, "format": kind, "dim_order": order,
            "sha256": sha256_of(folder / name), "size": (folder / name).stat().st_size,
        }
        for name, kind, order in FILES
    ]  # fmt: skip


def told_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return what a card records on the data set that a model learned."""
    return {
        "title": dataset.title,
        "fingerprint": dataset.fingerprint(),
        "images": {name: len(dataset.split(name)) for name in SPLITS},
        "split": dataset.details.get("split", {}),
        **_told_labels(dataset),
        **({"mixed": mixed} if (mixed := dataset.details.get("mixed")) else {}),
    }


def _told_labels(dataset: Dataset) -> dict[str, Any]:
    """Return how much of a data set is labelled, by side, and by how many polygons."""
    balance = dataset.details.get("balance", {})
    sides = {
        side: {
            "labelled_share": round(labelled_share(row), 5),
            **({"polygons": row["polygons"]} if "polygons" in row else {}),
        }
        for side, row in balance.items()
        if "total_px" in row
    }
    if "mixed" in dataset.details or not sides:
        return {}
    return {"labelled": dataset.details.get("labelled", "everything"), "labels": sides}


def told_split(
    dataset: Dataset, samples: Sequence[Sample], training: Mapping[str, Any] | None = None
) -> str:
    """Return in words what the metrics were measured on.

    Parameters
    ----------
    training : mapping, optional
        What the card records on the training; see `training.starts.told_start`.
    """
    groups = {sample.group for sample in samples}
    trained = {sample.group for sample in dataset.split("train")}
    side = samples[0].split if samples else "validation"
    told = f"{dataset.title}, {side}: {len(samples)} images of {len(groups)} groups"
    if groups & trained:
        return f"{told} (some of them also trained on)"
    if not (start := start_in_words(training or {})):
        return f"{told} not trained on"
    return f"{told} not trained on here; {start}"


def libraries() -> dict[str, str]:
    """Return versions by library, of those that are installed."""
    return {"python": platform.python_version()} | {
        name: found for name in LIBRARIES if (found := _version(name))
    }


def write_card(content: dict[str, Any], folder: Path) -> ModelCard:
    """Write card.json, and read it again as the engine does."""
    path = folder / CARD_NAME
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return ModelCard.load(folder)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # another backend of Keras trains as well
        return None
