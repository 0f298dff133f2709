# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters of `preparedataset`: their names, defaults and help."""

from __future__ import annotations

from typing import Any, NamedTuple

from qgis.core import (
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from ..engine.training_choices import AUTO, LABELLED, READERS, SPLITS
from .base_algorithm import BaseAlgorithm
from .compat import DOUBLE, FOLDER, INTEGER, VECTOR_POLYGON
from .label_layer import field_parameter, label_parameter
from .parameters import NODATA_HELP, any_file, nodata_parameter, static_enum

SOURCE = "SOURCE"
RASTER = "RASTER"
LABELS = "LABELS"
FIELD = "FIELD"
AREAS = "AREAS"
SAMPLES = "SAMPLES"
BANDS = "BANDS"
DATA = "FOLDER"
MASKS = "MASKS"
PALETTE = "PALETTE"
LABEL_TABLE = "LABEL_TABLE"
CLASSES = "CLASSES"
IGNORE = "IGNORE"
ONLY = "ONLY"
SPLIT = "SPLIT"
FRACTIONS = "FRACTIONS"
LISTS = "LISTS"
GROUPS = "GROUPS"
CHIP_SIZE = "CHIP_SIZE"
OVERLAP = "OVERLAP"
SPLIT_BLOCK = "SPLIT_BLOCK"
GAP = "GAP"
SCALE = "SCALE"
SIZE = "SIZE"
MIN_LABELLED = "MIN_LABELLED"
MIN_POSITIVE = "MIN_POSITIVE"
SEED = "SEED"
GSD = "GSD"
DATASET_TITLE = "TITLE"
LICENSE = "LICENSE"
CITATION = "CITATION"
OVERWRITE = "OVERWRITE"
OUTPUT = "OUTPUT"

GEO = "raster"


class _Number(NamedTuple):
    """A number that may be left out."""

    name: str
    title: str
    type: Any
    default: float | None
    least: float
    most: float
    help: str
    advanced: bool = True


_NUMBERS = (
    _Number(
        *(CHIP_SIZE, "Chip size in pixels (raster)", INTEGER, 512, 0, 8192),
        "Side of the squares that a raster is cut into, 16 or more. 0: as large as the raster and "
        "its labels allow.",
        advanced=False,
    ),
    _Number(
        *(SCALE, "Scale", DOUBLE, 1.0, 0.01, 8.0),
        "Factor of the images' sides: 0.5 halves them, and doubles the ground sampling distance "
        "that the model is for.",
        advanced=False,
    ),
    _Number(
        *(SEED, "Seed", INTEGER, 2026, 0, 2**31 - 1),
        "The same seed draws the same split again.",
        advanced=False,
    ),
    _Number(
        *(OVERLAP, "Overlap of the chips in pixels (raster)", INTEGER, 0, 0, 8191),
        "By how much neighbouring chips overlap.",
    ),
    _Number(
        *(SPLIT_BLOCK, "Blocks of the split in pixels (raster)", INTEGER, None, 0, 1e6),
        "Side of the squares that stay on one side of the split. Empty takes four chips.",
    ),
    _Number(
        *(GAP, "Gap between the sides of the split in pixels (raster)", INTEGER, 0, 0, 1e6),
        "Width of the strip between training and validation that is left out.",
    ),
    _Number(
        *(MIN_LABELLED, "Least labelled share of a sample", DOUBLE, 0.0, 0, 1),
        "Samples with less, 0 to 1, are left out.",
    ),
    _Number(
        *(MIN_POSITIVE, "Least share of the classes in a sample", DOUBLE, 0.0, 0, 1),
        "Samples with less of all classes to learn, 0 to 1, are left out.",
    ),
    _Number(
        *(GSD, "Ground sampling distance in m", DOUBLE, None, 0, 1000),
        "Of the source's images, where the files do not hold it.",
    ),
)


def declare(algorithm: BaseAlgorithm) -> None:
    """Add every parameter, in the order of the dialog."""
    algorithm.add(
        static_enum(SOURCE, "What the images come as", list(READERS), GEO),
        "raster: one image with polygons or a class raster. folders: images and masks. "
        "aeroscapes, semantic-drone: these data sets as they are published.",
    )
    for part in (_add_raster, _add_folders, _add_classes, _add_split, _add_numbers, _add_about):
        part(algorithm)
    algorithm.add(
        QgsProcessingParameterFolderDestination(OUTPUT, "Prepared data set"),
        "The folder to write: images, masks, lists, dataset.json, the sheet and the report.",
    )


def _add_raster(algorithm: BaseAlgorithm) -> None:
    algorithm.add(
        QgsProcessingParameterRasterLayer(RASTER, "Image (raster)", None, True),
        "The image to cut into chips, where SOURCE is raster.",
    )
    algorithm.add(
        label_parameter(LABELS, "Labels: polygons or class raster (raster)", optional=True),
        "What is what in the image: polygons in any CRS, or a raster of class numbers on the "
        "image's grid.",
    )
    algorithm.add(
        field_parameter(FIELD, "Field of the polygons with their class", LABELS),
        "Holds each polygon's class, as a name or a number. Empty where all are of one class.",
    )
    algorithm.add(
        QgsProcessingParameterFeatureSource(
            AREAS, "Areas that are labelled whole (raster)", [VECTOR_POLYGON], None, True
        ),
        "Polygons within which everything was labelled: there a pixel without a label is none "
        "of the classes. Everything else is ignored.",
    )
    add_samples(algorithm)
    algorithm.add(
        QgsProcessingParameterBand(
            BANDS, "Bands of the image (empty: all but alpha)", None, RASTER, True, True
        ),
        "The bands to train on, in the order in which the model will take them.",
    )
    algorithm.add(nodata_parameter(), NODATA_HELP, advanced=True)


def add_samples(algorithm: BaseAlgorithm) -> None:
    """Ask whether polygons are all there is, or samples of it."""
    algorithm.add(
        static_enum(
            SAMPLES,
            "Did you label everything in these areas, or only samples?",
            list(LABELLED),
            AUTO,
            optional=True,
        ),
        "everything: a pixel without a polygon is none of the classes. samples: nothing is known "
        "of it, so it is ignored; label examples of what each class is not, too. "
        "auto: everything where AREAS are given, within them, and samples otherwise.",
    )


def _add_folders(algorithm: BaseAlgorithm) -> None:
    algorithm.add(
        QgsProcessingParameterFile(DATA, "Folder of the data set", FOLDER, "", None, True),
        "Where the images are, for folders, aeroscapes and semantic-drone: the folder with "
        "images and masks, with JPEGImages, or with training_set.",
    )
    algorithm.add(
        QgsProcessingParameterFile(MASKS, "Folder of the masks", FOLDER, "", None, True),
        "For folders, where the masks do not lie in 'masks' or 'labels' beside the images.",
        advanced=True,
    )
    algorithm.add(
        any_file(PALETTE, "Table of the classes (csv)"),
        "Names of the classes with their colours or numbers, where masks have other values "
        "than the data set's usual ones.",
        advanced=True,
    )
    algorithm.add(
        any_file(LABEL_TABLE, "Table of what the labels say (csv)"),
        "Not for raster. Columns value, is and is_not: which classes each value of the masks is, "
        "and which it is not; the others stay open. Empty: each value is one class.",
        advanced=True,
    )
    algorithm.add(
        any_file(ONLY, "List of the images to use"),
        "A text file with one name a line, without suffix. Empty uses all.",
        advanced=True,
    )


def _add_classes(algorithm: BaseAlgorithm) -> None:
    algorithm.add(
        QgsProcessingParameterString(
            CLASSES, "Classes to learn (empty: the data set's)", None, False, True
        ),
        "Names of classes, or groups of them, separated by semicolons, in the order of the "
        "model's classes: green=grass,vegetation,tree; road. A colour may follow the name: "
        "road#6c7a89. Or the name of a grouping: semantic-drone-six.",
    )
    algorithm.add(
        QgsProcessingParameterString(
            IGNORE, "Classes to ignore in training and scores", None, False, True
        ),
        "Names or numbers separated by commas.",
    )


def _add_split(algorithm: BaseAlgorithm) -> None:
    algorithm.add(
        static_enum(SPLIT, "Split", [AUTO, *SPLITS], AUTO),
        "What stays together on one side. blocks: squares of a raster. groups: sites, "
        "sequences, or a table's. clusters: similar images. lists: files that you have. "
        "random: nothing, which flatters the scores wherever images overlap. auto takes what "
        "suits the source.",
    )
    algorithm.add(
        QgsProcessingParameterString(FRACTIONS, "Shares of training / validation / test", "75/25"),
        "Two or three shares, as 75/25 or 50/25/25.",
    )
    algorithm.add(
        QgsProcessingParameterString(LISTS, "Lists of the split", None, False, True),
        "Files of names as train=FILE; validation=FILE; test=FILE.",
        advanced=True,
    )
    algorithm.add(
        any_file(GROUPS, "Table of the groups (csv)"),
        "Columns name and group: images of one group stay on one side.",
        advanced=True,
    )


def _add_numbers(algorithm: BaseAlgorithm) -> None:
    for number in _NUMBERS:
        parameter = QgsProcessingParameterNumber(
            number.name,
            number.title,
            number.type,
            number.default,
            True,
            number.least,
            number.most,
        )
        algorithm.add(parameter, number.help, advanced=number.advanced)
    algorithm.add(
        QgsProcessingParameterString(SIZE, "Size of the images", None, False, True),
        "Width and height in pixels, as 960x540, that all images are brought to. Empty keeps "
        "theirs.",
        advanced=True,
    )


def _add_about(algorithm: BaseAlgorithm) -> None:
    for name, title in (
        (DATASET_TITLE, "Title"),
        (LICENSE, "Licence of the images"),
        (CITATION, "Citation"),
    ):
        algorithm.add(
            QgsProcessingParameterString(name, title, None, False, True),
            "Goes into the data set's description and into the card of models trained on it.",
            advanced=True,
        )
    algorithm.add(
        QgsProcessingParameterBoolean(OVERWRITE, "Replace an earlier data set", False),
        "Whether a prepared data set in OUTPUT may be replaced. Nothing else ever is.",
        advanced=True,
    )
