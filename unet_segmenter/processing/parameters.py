# SPDX-License-Identifier: GPL-2.0-or-later
"""Parameters that several algorithms have, each defined and read once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    NULL,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterString,
    QgsProviderRegistry,
    QgsRasterLayer,
)

from ..engine import spec_texts
from ..engine.errors import InputError, JobError, ModelError
from ..engine.model_card import ModelCard
from ..engine.model_library import DEFAULT_MODEL
from ..engine.rasters import options as source_options
from ..engine.spec_texts import numbers
from . import settings
from .compat import FILE

MODEL = "MODEL"
MODEL_FILE = "MODEL_FILE"

MODEL_HELP = (
    "A model of the library, by name. The library holds the models that come with the plugin and "
    "those in the folder named in Settings > Options > U-Net Segmenter."
)
MODEL_FILE_HELP = (
    "A model that is not in the library: its folder, its card.json, or its ONNX or Keras file. "
    "It wins over MODEL. ONNX files made for the Deepness plugin open as they are."
)


def static_enum(
    name: str, title: str, options: list[str], default: str | None, *, optional: bool = False
) -> QgsProcessingParameterEnum:
    """A choice whose values are texts, so that saved models survive a new option."""
    return QgsProcessingParameterEnum(name, title, options, False, default, optional, True)


def model_enum() -> QgsProcessingParameterEnum:
    """The choice of a model of the library."""
    names = settings.library().names()
    default = DEFAULT_MODEL if DEFAULT_MODEL in names else (names[0] if names else None)
    return static_enum(MODEL, "Model", names, default, optional=True)


def model_file() -> QgsProcessingParameterFile:
    """The path of a model outside the library: a file or a folder."""
    return any_file(MODEL_FILE, "Model file or folder (wins over the model above)")


def any_file(name: str, title: str) -> QgsProcessingParameterFile:
    """An optional path, of a folder too.

    The default filter, all files with a dot in their name, refuses /usr/bin/python3 and folders.
    """
    parameter = QgsProcessingParameterFile(name, title, FILE, "", None, True)
    parameter.setFileFilter("")
    return parameter


NODATA = "NODATA"
NODATA_HELP = f"{source_options.NODATA_HELP[0].upper()}{source_options.NODATA_HELP[1:]}."


def nodata_parameter() -> QgsProcessingParameterString:
    """Values of NODATA."""
    title = "No data values, separated by commas (empty: the file's)"
    return QgsProcessingParameterString(NODATA, title, None, False, True)


def nodata_values(
    algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext
) -> list[float]:
    """Numbers in NODATA.

    Raises
    ------
    JobError
        If a part is no number.
    """
    if not is_given(parameters, NODATA):
        return []
    value = parameters[NODATA]
    if isinstance(value, (list, tuple)):
        return list(numbers([str(part) for part in value], NODATA))
    return list(numbers(algorithm.parameterAsString(parameters, NODATA, context), NODATA))


def is_given(parameters: dict[str, Any], name: str) -> bool:
    """Whether the user gave the parameter a value."""
    value = parameters.get(name)
    return value is not None and value != NULL and value not in ("", [])


def model_reference(
    algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext
) -> str:
    """Name or path of the model that the user chose.

    Raises
    ------
    ModelError
        If there is none of that name or at that path.
    """
    if is_given(parameters, MODEL_FILE):
        path = Path(algorithm.parameterAsFile(parameters, MODEL_FILE, context))
        if not path.exists():
            raise ModelError(f"MODEL_FILE: there is no file or folder {path}.")
        return str(path.absolute())
    if MODEL in parameters and not is_given(parameters, MODEL):
        raise ModelError("Choose a MODEL of the library, or give a MODEL_FILE.")
    name = _enum_text(algorithm, parameters, context)
    names = settings.library().names()
    if name not in names:
        raise ModelError(
            f"There is no model {name!r} in the library; it has: {', '.join(names) or 'none'}. "
            "Name one of them in MODEL, or give a model's folder in MODEL_FILE."
        )
    return name


def without_unused_model(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters without MODEL where MODEL_FILE wins, so that MODEL may be anything."""
    if not is_given(parameters, MODEL_FILE):
        return parameters
    return {name: value for name, value in parameters.items() if name != MODEL}


def _enum_text(
    algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext
) -> str:
    """Text of MODEL, also where it is none of the options, as in a model saved elsewhere."""
    value = parameters.get(MODEL)
    if isinstance(value, str):
        return value
    return str(algorithm.parameterAsEnumString(parameters, MODEL, context) or DEFAULT_MODEL)


def model_card(reference: str) -> ModelCard | None:
    """Card of the model; None for an ONNX file without one, which only the engine can read."""
    path = Path(reference)
    if path.suffix.lower() == ".onnx" and path.is_file():
        try:
            card = ModelCard.load(path)
        except ModelError:
            return None
        return card if path.name in [file.name for file in card.files] else None
    return settings.library().load(reference)


def class_names(
    algorithm: QgsProcessingAlgorithm,
    parameters: dict[str, Any],
    name: str,
    context: QgsProcessingContext,
) -> tuple[str, ...]:
    """Names in a parameter that holds them as a list, or separated; see `name_lists`."""
    value = parameters.get(name)
    if isinstance(value, (list, tuple)):
        return tuple(part for part in (str(item).strip() for item in value) if part)
    return spec_texts.names(algorithm.parameterAsString(parameters, name, context))


def class_entries(
    algorithm: QgsProcessingAlgorithm,
    parameters: dict[str, Any],
    name: str,
    context: QgsProcessingContext,
) -> tuple[str, ...]:
    """Entries such as name=number in a parameter that holds them as a list, or separated."""
    value = parameters.get(name)
    if isinstance(value, (list, tuple)):
        return tuple(map(str, value))
    return spec_texts.words(algorithm.parameterAsString(parameters, name, context))


def raster_path(layer: QgsRasterLayer | None, name: str) -> str:
    """GDAL's path of a layer, without QGIS's decorations.

    Raises
    ------
    InputError
        If the layer cannot be read as a file.
    """
    if layer is None or not layer.isValid():
        raise InputError(f"{name} is no raster that can be opened.")
    if layer.providerType() != "gdal":
        raise InputError(
            f"{name} ({layer.name()}) comes from the source '{layer.providerType()}', not from a "
            "file. Save the part that you need with Layer > Save As..., then segment the file."
        )
    source = str(layer.dataProvider().dataSourceUri() or layer.source())
    parts = QgsProviderRegistry.instance().decodeUri("gdal", source)
    path = source.split("|", 1)[0] if not Path(source).exists() else source
    if parts.get("layerName") and ":" not in Path(path).name:
        raise InputError(
            f"{name} is the table {parts['layerName']} of {path}; save it as a file of its own."
        )
    return str(Path(path).absolute()) if Path(path).exists() else path


def check_bands(bands: list[int], card: ModelCard) -> None:
    """Refuse a choice of bands that the model cannot take.

    Raises
    ------
    JobError
        If there are more or fewer than the model's.
    """
    needed = card.input.bands
    if bands and len(bands) != len(needed):
        raise JobError(
            f"BANDS names {len(bands)} bands, but the model {card.name} takes {len(needed)}: "
            f"{', '.join(needed)}, in this order."
        )
