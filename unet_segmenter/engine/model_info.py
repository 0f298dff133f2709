# SPDX-License-Identifier: GPL-2.0-or-later
"""The description of a model, in one wording for the command line and for QGIS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import JobError, ModelError
from .json_values import JsonJob, JsonValues
from .model_card import ModelCard, ModelFile
from .model_library import ModelLibrary, default_library
from .progress import Progress


@dataclass(frozen=True)
class ModelInfoJob(JsonJob):
    """Reading one model: a name of the library, or the path of a model's folder or file."""

    model: str

    def __post_init__(self) -> None:
        """Refuse nothing."""
        if not self.model:
            raise JobError("No model is given; name one.")


@dataclass(frozen=True)
class ModelInfoResult(JsonValues):
    """A model's folder and the content of its card, made from the file where it has none."""

    folder: str
    card: dict[str, Any]


def run_model_info(
    job: ModelInfoJob, progress: Progress, library: ModelLibrary | None = None
) -> ModelInfoResult:
    """Read a model; models made for Deepness are read too, which needs the engine's packages.

    Raises
    ------
    ModelError
        If there is none, or it is broken.
    """
    from .open_model import open_model

    card = open_model(job.model, library or default_library())
    return ModelInfoResult(str(card.folder), card.to_json())


def facts(card: ModelCard) -> dict[str, str]:
    """What a reader wants to know before running a model, each with its heading."""
    gsd = card.input.gsd_range
    low, high = card.input.value_range
    told = {
        "Name": f"{card.name} {card.version}".strip(),
        "Bands, in this order": ", ".join(card.input.bands),
        "Type of raster": f"{', '.join(card.input.data_type)}, values {low:g} to {high:g}",
        "Ground sampling distance": f"{gsd[0]:g} to {gsd[1]:g} m" if gsd else "not told",
        "Overlap of blocks (halo)": f"{card.halo} px (by the receptive field "
        f"{card.theoretical_halo} px)",
        "Windows in multiples of": f"{card.divisor} px",
        "Folder": str(card.folder),
    }
    agreement = card.details.get("tile_versus_whole")
    if isinstance(agreement, dict) and "mask_agreement" in agreement:
        share = 100 * float(agreement["mask_agreement"])
        told["Map in blocks against one piece"] = f"{share:.4f} % equal pixels"
    return told


def file_problems(card: ModelCard) -> dict[str, str]:
    """What is wrong with each of the model's files, by name; an empty text where nothing is.

    A trainable file may be left out of the installed plugin; that is no problem where the file
    for inference is there.
    """
    return {file.name: _problem(card, file) for file in card.files}


def _problem(card: ModelCard, file: ModelFile) -> str:
    is_trainable = file.format == "keras" and card.file("onnx") is not None
    if is_trainable and not (card.folder / file.name).is_file():
        return ""
    try:
        card.checked_path(file)
    except ModelError as error:
        return str(error)
    return ""
