# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be chosen for a training: the names in the tables of `training`.

They are repeated here because neither QGIS's Python nor a quick `--help` can import those tables;
a test keeps both the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .errors import InputError, JobError

AUTO = "auto"
NONE = "none"

# What the images of a data set come as -> the reader of `training`.
READERS = {
    "raster": "geo",
    "folders": "folder",
    "aeroscapes": "aeroscapes",
    "semantic-drone": "semantic-drone",
}
SPLITS = ("blocks", "groups", "clusters", "lists", "random")

PRESETS = {
    "lite0": "a U-Net on EfficientNet-Lite0: for most purposes",
    "lite1": "the same on Lite1: larger, slower",
    "lite2": "the same on Lite2: largest, slowest",
    "unet": "a plain U-Net of any depth and width, from scratch",
    "course": "the course's residual U-Net and its recipe, as a baseline",
}
# What an encoder may begin with besides a file that is named.
ENCODERS = (AUTO, "none")
HEADS = ("sigmoid", "softmax")
LOSSES = (
    *("dice+bce", "dice", "bce", "weighted-bce", "focal", "tversky", "course-dice"),
    *("cross-entropy", "dice+cross-entropy"),
)
OPTIMIZERS = ("adamw", "adam", "rmsprop", "sgd")
SCHEDULES = ("cosine", "ramp", "plateau", "constant")
PRECISIONS = ("float32", "bfloat16", "float16")
CALIBRATIONS = ("platt", "temperature", "none")
KEPT = ("mean_iou", "val_loss", "last")
THRESHOLDS = ("best", "otsu", "fixed", "unchanged")

DEFAULT_STARTS = ("aerial", "aeroscapes")
"""Models to start from where none is named: the first that the library has."""
LABELLED = (AUTO, "everything", "samples")
"""How much of a raster was labelled by polygons."""

DATASET_FILE = "dataset.json"
# The network as it was trained: the other files of a model have its normalisation folded away.
TRAINABLE_FILE = "trainable.keras"
_YES_OR_NO = {AUTO: None, "yes": True, "no": False}


def describe_dataset(folder: Path, parameter: str = "DATASET") -> dict[str, Any]:
    """What dataset.json in the folder says.

    Raises
    ------
    InputError
        If the folder holds no prepared data set.
    """
    path = folder / DATASET_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found["classes"] = [dict(known) for known in found["classes"]]
    except FileNotFoundError as error:
        raise InputError(
            f"{parameter}: {folder} holds no prepared data set (no {DATASET_FILE}); make one with "
            "'Prepare a data set' (preparedataset)."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{parameter}: {path} is damaged ({error}); prepare it again.") from error
    return dict(found)


def yes_or_no(text: str, name: str) -> bool | None:
    """True or False for "yes" and "no", None for "auto".

    Raises
    ------
    JobError
        If it is another word.
    """
    if text not in _YES_OR_NO:
        raise JobError(f"{name} must be auto, yes or no, not {text!r}.")
    return _YES_OR_NO[text]


def or_none(text: str) -> str | None:
    """The text; None for "auto", which leaves the choice to the preset."""
    return None if text in ("", AUTO) else text
